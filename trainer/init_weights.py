"""The command `centernet init-weights`: a starting point for training, from a checkpoint."""

import argparse
import sys
from collections.abc import Sequence

from beam_preprocess.base import command

MODULES = ("backbone", "matching", "all")


def parser() -> command.Parser:
    """The command's flags."""
    made = command.parser(
        "init-weights",
        "Make a starting point for training from a checkpoint: a finished or interrupted training, a Model Garden "
        "checkpoint, or an archive of the Object Detection API (ExtremeNet, CenterNet Hourglass-104), packed or "
        "unpacked. Writes a folder for task.init_checkpoint; its init_weights.json is written last and names every "
        "variable.",
        examples=[
            "centernet init-weights --from extremenet.tar.gz --to extremenet "
            "--config_file coco-centernet-hourglass-gpu",
            "centernet init-weights --from runs/coco/train --to init --modules matching --num-classes 6 "
            "--config_file coco-centernet-hourglass-gpu",
        ],
        notes="exit codes: 0 written; 2 bad input",
    )
    made.add_argument("--from", dest="source", required=True, help="folder, checkpoint prefix or .tar.gz")
    made.add_argument("--to", dest="output", required=True, help="folder to write, for task.init_checkpoint")
    made.add_argument("--config_file", required=True, help="shipped configuration, or YAML file (path or URI)")
    made.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change a key of the configuration"
    )
    made.add_argument(
        "--modules",
        default="backbone",
        choices=MODULES,
        help="backbone; matching: also the layers of the head whose shapes match; all (default: %(default)s)",
    )
    made.add_argument("--num-classes", type=int, default=0, help="of the new model, for heads")
    made.add_argument("--records", default="", help="folder of records whose number of classes to use instead")
    return made


def _call(flags: argparse.Namespace) -> None:
    from beam_preprocess.base import config_text
    from beam_preprocess.base.errors import InputError
    from trainer.config.experiment import build_experiment
    from trainer.config.sections import parse_config
    from trainer.data.input_pipeline import load_manifest
    from trainer.model.network import build_model
    from trainer.weights import conversion

    if flags.records and flags.num_classes:
        raise InputError(f"--records {flags.records} and --num-classes {flags.num_classes}: give one of them")
    config = config_text.resolve(flags.config_file, flags.set).text
    transfer = conversion.convert(
        source=flags.source,
        output=flags.output,
        task=build_experiment(parse_config(config)).task,
        build_model=build_model,
        modules=flags.modules,
        num_classes=load_manifest(flags.records).num_classes if flags.records else flags.num_classes,
    )
    print(
        f"result: {flags.output}: {len(transfer.loaded)} variables; set task.init_checkpoint to it and "
        f"task.init_checkpoint_modules to {'backbone' if flags.modules == 'backbone' else 'all'}"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code; see `parser`."""
    return command.run(parser(), argv, _call)


if __name__ == "__main__":
    sys.exit(main())
