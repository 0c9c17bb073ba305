"""The command `centernet init-weights`: a starting point for training, from a checkpoint."""

import argparse
import glob
import sys
from collections.abc import Sequence

from beam_preprocess.base import command

MODULES = ("backbone", "matching", "all")


def parser() -> command.Parser:
    """The command's flags."""
    made = command.parser(
        "init-weights",
        "Make initial weights for a training: from published weights by name, or from a checkpoint: a finished or "
        "interrupted training, a run, a registry's version, a Model Garden checkpoint, or an archive of the Object "
        "Detection API (ExtremeNet, CenterNet Hourglass-104), packed or unpacked. Writes a folder for "
        "task.init_checkpoint; its init_weights.json is written last and names every variable and the licence. A name "
        "can be a task.init_checkpoint itself: see --init of centernet run.",
        examples=[
            "centernet init-weights --list",
            "centernet init-weights --from od-api:hg104 --config coco-centernet-hourglass-published",
            "centernet init-weights --from extremenet.tar.gz --to init --config coco-centernet-hourglass-gpu",
            "centernet init-weights --from runs/coco/train --to init --modules matching --num-classes 6 "
            "--config coco-centernet-hourglass-gpu",
        ],
        notes="exit codes: 0 written; 2 bad input",
    )
    made.add_argument("--list", action="store_true", help="list the published weights with source, licence and size")
    made.add_argument("--json", action="store_true", help="with --list: as JSON")
    made.add_argument("--from", dest="source", default="", help="name, folder, checkpoint prefix or .tar.gz")
    made.add_argument(
        "--to", dest="output", default="", help="folder to write; without it, only check that the weights fit"
    )
    made.add_argument(
        "--config",
        "--config_file",
        dest="config_file",
        default="",
        metavar="NAME|PATH",
        help="shipped configuration, or YAML file (path or URI)",
    )
    made.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change a key of the configuration"
    )
    made.add_argument(
        "--modules",
        default="backbone",
        choices=MODULES,
        help="backbone; matching: also the layers of the head whose shapes match; all (default: %(default)s)",
    )
    made.add_argument("--num-classes", type=int, default=0, help="number of classes of the new model, for its heads")
    made.add_argument("--records", default="", help="folder of records whose number of classes to use instead")
    return made


def _call(flags: argparse.Namespace) -> None:
    from beam_preprocess.base.errors import InputError
    from trainer.weights import catalogue

    if flags.list:
        import json

        entries = [catalogue.as_dict(entry) for entry in catalogue.CATALOGUE]
        print(json.dumps(entries, indent=1) if flags.json else catalogue.listing())
        return
    for flag, value in (("--from", flags.source), ("--config", flags.config_file)):
        if not value:
            raise InputError(f"{flag}: not given; give it, or --list")
    if flags.records and flags.num_classes:
        raise InputError(f"--records {flags.records} and --num-classes {flags.num_classes}: give one of them")
    # A misspelt name or path, before TensorFlow is imported, which takes seconds.
    local = catalogue.find(flags.source) is None and "://" not in flags.source
    if local and not glob.glob(f"{glob.escape(flags.source)}*"):
        raise InputError(f"{flags.source}: no checkpoint there; give a folder or a checkpoint's prefix")
    _convert(flags)


def _convert(flags: argparse.Namespace) -> None:
    from beam_preprocess.base import config_text
    from trainer.config.experiment import build_experiment
    from trainer.config.sections import parse_config
    from trainer.data.input_pipeline import load_manifest
    from trainer.model.network import build_model
    from trainer.weights import conversion
    from trainer.weights.starts import class_names

    config = config_text.resolve(flags.config_file, flags.set).text
    manifest = load_manifest(flags.records) if flags.records else None
    transfer = conversion.convert(
        source=flags.source,
        output=flags.output,
        task=build_experiment(parse_config(config)).task,
        build_model=build_model,
        modules=flags.modules,
        num_classes=manifest.num_classes if manifest else flags.num_classes,
        class_names=class_names(manifest) if manifest else (),
    )
    if not flags.output:
        print(f"result: {flags.source} fits: {len(transfer.loaded)} variables (nothing written: no --to)")
        return
    print(
        f"result: {flags.output}: {len(transfer.loaded)} variables; set task.init_checkpoint to it and "
        f"task.init_checkpoint_modules to {'backbone' if flags.modules == 'backbone' else 'all'}"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code; see `parser`."""
    return command.run(parser(), argv, _call)


if __name__ == "__main__":
    sys.exit(main())
