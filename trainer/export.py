"""`centernet export`: a finished training becomes a SavedModel."""

import argparse
import os
import sys
from collections.abc import Sequence

from beam_preprocess.base import command
from beam_preprocess.base.errors import InputError


def parser() -> command.Parser:
    """The parser of the command."""
    made = command.parser(
        "export",
        "Export a finished training as a SavedModel that takes original encoded images.",
        examples=[
            "centernet export --checkpoint runs/latest/checkpoint --config runs/latest/config.yaml "
            "--output saved_model --images val2017 --annotations annotations/instances_val2017.json",
            "centernet export --checkpoint runs/latest/checkpoint --output augmented --flip --scales 1,1.25",
            "centernet export --checkpoint runs/latest/checkpoint --config runs/latest/config.yaml "
            "--output saved_model --set export.max_score_delta=0.02",
        ],
        notes="With images, the export and the checkpoint must detect the same on them, or nothing is exported (exit "
        "code 1).\nThe export options are those of the training's configuration, unless you give --config or --set. A "
        "run's training has none: its configuration is config.yaml in the run's folder.",
    )
    made.add_argument("--checkpoint", required=True, metavar="DIR", help="model folder of `centernet train`")
    made.add_argument("--output", required=True, metavar="DIR", help="folder of the SavedModel")
    made.add_argument("--images", default="", metavar="DIR", help="folder of validation images, to measure parity")
    made.add_argument("--annotations", default="", metavar="FILE", help="COCO annotation file of these images")
    made.add_argument(
        "--config",
        default="",
        metavar="NAME|PATH",
        help="configuration whose export: section is used (default: the training's own)",
    )
    made.add_argument(
        "--set", action="append", default=[], metavar="export.KEY=VALUE", help="change one option; repeatable"
    )
    made.add_argument(
        "--flip",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="average over the image and its mirror image (default: export.flip)",
    )
    made.add_argument("--scales", metavar="1,S,...", help="average over these scales (default: export.scales)")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0; 2 for bad input; 1 when the export is refused."""
    return command.run(parser(), argv, _call)


def _call(flags: argparse.Namespace) -> None:
    from beam_preprocess.base.config_text import resolve
    from trainer.saved_model.building import export

    scales = _scales(flags.scales)
    config = ""
    if flags.config or flags.set:
        config = resolve(flags.config or os.path.join(flags.checkpoint, "config.yaml"), flags.set).text
    if not flags.config:
        _warn_of_defaults(flags.checkpoint)
    export(
        checkpoint=flags.checkpoint,
        output=flags.output,
        config=config,
        images=flags.images,
        annotations=flags.annotations,
        flip=flags.flip,
        scales=scales,
    )


def _warn_of_defaults(checkpoint: str) -> None:
    """A run's training knows nothing of the run's export options, so the defaults apply: say so."""
    from beam_preprocess.base import yaml
    from trainer.weights.finished import CONFIG, read_config

    if "export" not in (yaml.load(read_config(checkpoint), checkpoint) or {}):
        print(
            f"warning: {os.path.join(checkpoint, CONFIG)} has no export: section, so its defaults apply; give --config "
            "for others (a run's options are in its config.yaml)",
            file=sys.stderr,
        )


def _scales(text: str | None) -> tuple[float, ...] | None:
    try:
        return None if text is None else tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"--scales {text}: not a list of numbers; use 1,1.25") from error


if __name__ == "__main__":
    sys.exit(main())
