"""`centernet evaluate`: COCO metrics of an exported model on original images."""

import argparse
import sys
from collections.abc import Sequence

from beam_preprocess.base import command


def parser() -> command.Parser:
    """The parser of the command."""
    made = command.parser(
        "evaluate",
        "Score an exported model on the images of a COCO annotation file.",
        examples=[
            "centernet evaluate --model runs/latest/saved_model --images .demo-data/val2017 "
            "--annotations .demo-data/annotations/instances_val2017.json --output evaluation",
            "centernet evaluate --model registry/versions/v0001 --images .demo-data/val2017 "
            "--annotations .demo-data/annotations/instances_val2017.json --output champion --latency-calls 0",
        ],
        notes="Writes predictions.json (COCO results format), analysis.json (where AP is lost), matches.npz (what the "
        "gate\ncomputes from) and, last, evaluation.json. The model's classes are matched to the file's by name.\n"
        "The examples work as they are after make demo.",
    )
    made.add_argument("--model", required=True, metavar="DIR", help="SavedModel folder of `centernet export`")
    made.add_argument("--images", required=True, metavar="DIR", help="folder of the images")
    made.add_argument("--annotations", required=True, metavar="FILE", help="COCO annotation file")
    made.add_argument("--output", required=True, metavar="DIR", help="folder to write")
    made.add_argument("--batch-size", type=int, default=8, help="images per call (default: %(default)s)")
    made.add_argument(
        "--latency-calls", type=int, default=10, help="single-image calls to time; 0 for none (default: %(default)s)"
    )
    made.add_argument(
        "--signature",
        default="serving_default",
        help="signature to score; image_bytes_augmented is the one with test-time augmentation of a model that serves "
        "without it (export.augmented_apart), which the gate holds (default: %(default)s)",
    )
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0, or 2 for bad input."""
    return command.run(parser(), argv, _call)


def _call(flags: argparse.Namespace) -> None:
    from trainer.saved_model.accuracy import evaluate, score_table

    evaluation = evaluate(
        model=flags.model,
        images=flags.images,
        annotations=flags.annotations,
        output=flags.output,
        batch_size=flags.batch_size,
        signature_name=flags.signature,
        latency_calls=flags.latency_calls,
    )
    print(score_table(evaluation))


if __name__ == "__main__":
    sys.exit(main())
