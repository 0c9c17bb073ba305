"""`centernet convert`: an exported model for TFLite or ONNX."""

import argparse
import sys
from collections.abc import Sequence

from beam_preprocess.base import command


def parser() -> command.Parser:
    """The parser of the command."""
    made = command.parser(
        "convert",
        "Convert the image_tensor signature of an exported model to TFLite or ONNX, if the result detects the same.",
        examples=[
            "centernet convert --model saved_model --to tflite --output model.tflite",
            "centernet convert --model saved_model --to onnx --output model.onnx",
        ],
        notes="The converted model takes one image, uint8 [1, H, W, 3], of exactly the network's input size: letterbox "
        "it first\n(aspect ratio kept, image at the top left, black below or to the right). Its boxes are fractions of "
        "that input.\nIt is compared with the SavedModel on synthetic images. If a difference exceeds the bound, "
        "nothing is written (exit\ncode 1).",
    )
    made.add_argument("--model", required=True, metavar="DIR", help="SavedModel folder of `centernet export`")
    made.add_argument("--to", required=True, metavar="FORMAT", help="tflite or onnx")
    made.add_argument("--output", required=True, metavar="FILE", help="file to write")
    made.add_argument(
        "--max-delta",
        type=float,
        default=1e-3,
        help="largest difference of a score, or of a coordinate as a fraction of the input (default: %(default)s)",
    )
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0; 2 for bad input; 1 when the conversion is refused."""
    return command.run(parser(), argv, _call)


def _call(flags: argparse.Namespace) -> None:
    from trainer.saved_model.conversion import convert

    convert(model=flags.model, to=flags.to, output=flags.output, max_delta=flags.max_delta)


if __name__ == "__main__":
    sys.exit(main())
