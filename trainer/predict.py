"""`centernet predict`: an exported model's detections on image files, printed and drawn."""

import argparse
import sys
from collections.abc import Sequence

from beam_preprocess.base import command
from beam_preprocess.base.errors import InputError


def parser() -> command.Parser:
    """The parser of the command."""
    made = command.parser(
        "predict",
        "Print an exported model's detections on image files and draw them.",
        examples=[
            "centernet predict --model runs/latest/saved_model photo.jpg other.png",
            "centernet predict --model saved_model --threshold 0.5 --output drawn photo.jpg",
            "centernet predict --model registry/versions/v0001 --json found.json photos 'more/**/*.png'",
        ],
        notes="A file that can't be read or decoded is reported in one line, and the others are still processed; the "
        "exit\ncode is then 2.",
    )
    made.add_argument("--model", required=True, metavar="DIR", help="SavedModel folder of `centernet export`")
    made.add_argument(
        "images", nargs="+", metavar="IMAGE", help="image files, folders (with all images below them) and patterns"
    )
    made.add_argument(
        "--output", default="predictions", metavar="DIR", help="folder for the pictures (default: %(default)s)"
    )
    made.add_argument(
        "--threshold",
        type=float,
        help="minimum score shown (default: each class's in the model's serving.json, else the export's)",
    )
    made.add_argument("--json", default="", metavar="FILE", help="file for all detections (default: none)")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0, or 2 when the model or a file can't be read."""
    return command.run(parser(), argv, _call)


def _call(flags: argparse.Namespace) -> int:
    from trainer.saved_model.pictures import predict

    failures = predict(
        model=flags.model,
        images=flags.images,
        output=flags.output,
        threshold=flags.threshold,
        json_file=flags.json,
    )
    for failure in failures:
        print(f"{InputError.label}: {failure}", file=sys.stderr)
    return InputError.exit_code if failures else 0


if __name__ == "__main__":
    sys.exit(main())
