"""The command `centernet preview-augmentation`: what the network sees, on a contact sheet."""

import argparse
import sys
from collections.abc import Sequence

from beam_preprocess.base import command


def parser() -> command.Parser:
    """The command's flags."""
    made = command.parser(
        "preview-augmentation",
        "Draw real records as the network sees them, on a contact sheet. Each image has a row, with its heatmap below "
        "it; the first column is the record as stored, each other column one step of a training with this seed.",
        examples=[
            "centernet preview-augmentation --records=records/train --config=custom-cpu --output=sheet.jpg",
            "centernet preview-augmentation --records=records/train --config=custom-cpu --output=sheet.jpg "
            "--images=6 --steps 100 101 102 103 --params_override=task.augmentation.hue=0.1",
        ],
        notes="exit codes: 0 written; 2 bad input",
    )
    made.add_argument("--records", required=True, help="folder of training records (with manifest.json)")
    made.add_argument(
        "--config",
        "--config_file",
        dest="config_file",
        required=True,
        metavar="NAME|PATH",
        help="shipped configuration, or YAML file (path or URI)",
    )
    made.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change a key of the configuration"
    )
    made.add_argument("--output", required=True, help="the contact sheet, .jpg or .png")
    made.add_argument("--images", type=int, default=4, help="number of rows (default: %(default)s)")
    made.add_argument("--steps", type=int, nargs="+", default=[0, 1, 2, 3], help="one column each (default: 0 1 2 3)")
    made.add_argument("--seed", type=int, default=0, help="seed of the training (default: %(default)s)")
    made.add_argument("--params_override", default="", help="key=value,… or YAML; wins over the configuration")
    return made


def _call(flags: argparse.Namespace) -> None:
    from beam_preprocess.base import config_text
    from trainer.data.augmentation_preview import preview
    from trainer.data.input_pipeline import load_manifest
    from trainer.training.run import make_experiment

    config = config_text.resolve(flags.config_file, flags.set).text
    manifest = load_manifest(flags.records)
    task = make_experiment(config, flags.params_override, manifest, flags.records, "", flags.seed).task
    preview(task, manifest, output=flags.output, images=flags.images, steps=tuple(flags.steps))
    ranges = ", ".join(f"{name} {value}" for name, value in task.augmentation.as_dict().items())
    print(
        f"result: {flags.output}: {flags.images} images, as stored and at steps {', '.join(map(str, flags.steps))} of "
        f"seed {flags.seed}; {ranges}"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code; see `parser`."""
    return command.run(parser(), argv, _call)


if __name__ == "__main__":
    sys.exit(main())
