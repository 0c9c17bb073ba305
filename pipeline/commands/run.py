"""`centernet run`: runs the whole pipeline on this machine."""

import argparse
from collections.abc import Sequence

from beam_preprocess.base.command import Parser, run
from beam_preprocess.base.command import parser as command_parser

EXAMPLES = (
    "centernet run",
    "centernet run --coco-dir /data/coco --config custom-small",
    "centernet run --train-images D --train-annotations F --val-images D --val-annotations F --seed 1",
    "centernet run --only-if-changed",
    "centernet run --resume runs/latest",
)


def parser() -> Parser:
    """The flags of `centernet run`."""
    made = command_parser(
        "run",
        "Run the whole pipeline on this machine, with kfp's local runner.\n"
        "Without data flags it generates the demo data set and uses that.",
        examples=EXAMPLES,
        notes="exit codes: 0 done (promoted or held), 1 a stage failed, 2 bad input or usage",
    )
    data = made.add_argument_group("data (COCO format)")
    for split in ("train", "val"):
        data.add_argument(f"--{split}-images", default="", metavar="DIR", help=f"folder of the {split} images")
        data.add_argument(f"--{split}-annotations", default="", metavar="FILE", help=f"COCO JSON of the {split} images")
    data.add_argument(
        "--coco-dir", default="", metavar="DIR", help="folder laid out like COCO 2017, instead of the four"
    )
    data.add_argument(
        "--demo-data-dir", default=".demo-data", metavar="DIR", help="demo data set; default: %(default)s"
    )
    made.add_argument("--config", default="", metavar="YAML", help="a file, or the name of a shipped configuration")
    made.add_argument("--max-reject-fraction", type=float, metavar="F", help="maximum fraction of images rejected")
    made.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    made.add_argument("--registry", default="registry", metavar="DIR", help="default: %(default)s")
    made.add_argument("--runs-dir", default="runs", metavar="DIR", help="default: %(default)s")
    made.add_argument("--resume", default="", metavar="RUN", help="folder of an earlier run to resume")
    made.add_argument("--only-if-changed", action="store_true", help="skip training if nothing changed")
    made.add_argument("--no-cache", action="store_true", help="don't reuse results of earlier runs")
    made.add_argument("--notify", default="", metavar="ADDRESS", help="email the outcome (here it is printed)")
    made.add_argument("-v", "--verbose", action="store_true", help="show the whole log")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """`centernet run`; see its help for exit codes."""
    return run(parser(), argv, _call)


def _call(flags: argparse.Namespace) -> int:
    from pipeline.local.run import RunOptions
    from pipeline.local.run import run as run_locally

    return run_locally(RunOptions(**vars(flags)))
