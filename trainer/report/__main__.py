"""The command line of the report: `centernet report` writes the page of a run again."""

import argparse
import sys
from collections.abc import Sequence

from beam_preprocess.base import command


def parser() -> command.Parser:
    """The parser of `centernet report`."""
    made = command.parser(
        "report",
        "Write the self-contained HTML report of a run.",
        examples=(
            "centernet report --run runs/latest/summary.json --predictions runs/latest/predictions.json "
            "--images val2017 --annotations annotations/instances_val2017.json --output report.html "
            "--analysis runs/latest/stages/evaluate-candidate/analysis.json",
        ),
    )
    made.add_argument("--run", required=True, metavar="URI", help="summary.json of the run")
    made.add_argument("--predictions", required=True, metavar="URI", help="predictions in COCO results format")
    made.add_argument("--images", required=True, metavar="DIR", help="folder of the validation images")
    made.add_argument("--annotations", required=True, metavar="URI", help="validation annotations in COCO format")
    made.add_argument("--output", required=True, metavar="URI", help="the page to write")
    made.add_argument(
        "--analysis", default="", metavar="URI", help="analysis.json of centernet evaluate, for curves and errors"
    )
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """`centernet report`: 0 written, 2 bad input."""
    return command.run(parser(), argv, _call)


def _call(flags: argparse.Namespace) -> None:
    from trainer.promotion.summary import read_summary
    from trainer.report.page import write_report

    write_report(
        run=read_summary(flags.run),
        predictions=flags.predictions,
        annotations=flags.annotations,
        images=flags.images,
        output=flags.output,
        analysis=flags.analysis,
    )
    print(flags.output)


if __name__ == "__main__":
    sys.exit(main())
