"""Trains CenterNet on records: Model Garden's loop and flags, our task.

    python -m trainer.train --model_dir=OUT --records=DIR --config_file=trainer/configs/custom-small.yaml
    python -m trainer.train --model_dir=OUT --records=DIR --val_records=DIR --mode=train_and_eval \\
        --config_file=trainer/configs/demo.yaml --params_override=task.augmentation.hue=0.05
    python -m trainer.train --model_dir=OUT --val_records=DIR --mode=eval --config_file=trainer/configs/demo.yaml

A folder that was trained with the same records, configuration and seed is left alone; one that was
interrupted goes on from its newest checkpoint.
"""

import argparse
import json
import os
import sys

if __name__ == "__main__":
    # Before TensorFlow is imported: it speaks of missing drivers on every start.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from beam_preprocess.base.errors import InputError
from trainer.config.overrides import with_runtime
from trainer.config.records import configured_folders
from trainer.config.sections import find_config, parse_config
from trainer.data import input_pipeline
from trainer.training import checkpoints, distribution, loop, preemption
from trainer.training.checkpoint_evaluation import validate
from trainer.training.preemption import Preempted
from trainer.training.run import make_experiment, train

EXPERIMENT = "centernet_hourglass_coco"
MODES = ("train", "train_and_eval", "eval", "continuous_eval")


def _run_mode(flags: argparse.Namespace) -> None:
    config = find_config(flags.config_file).read_text()
    override = flags.params_override
    if flags.tpu:
        override = with_runtime(override, distribution_strategy="tpu", tpu=flags.tpu)
    needs = {"records": "train" in flags.mode, "val_records": "eval" in flags.mode}
    configured = configured_folders(parse_config(config), override)
    for name, needed in needs.items():
        if needed and not getattr(flags, name):
            setattr(flags, name, configured[name])
        value = getattr(flags, name)
        if needed != bool(value):
            raise InputError(f"--{name} {value!r}: mode {flags.mode} {'needs' if needed else 'reads no'} such folder")
    if "train" in flags.mode:
        train(
            records=flags.records,
            output=flags.model_dir,
            config=config,
            seed=flags.seed,
            val_records=flags.val_records,
            params_override=override,
        )
        return
    manifest = input_pipeline.load_manifest(flags.val_records)
    experiment = make_experiment(config, override, manifest, flags.val_records, flags.val_records, flags.seed)
    row = validate(
        experiment,
        model_dir=flags.model_dir,
        val_records=flags.val_records,
        continuous=flags.mode == "continuous_eval",
    )
    print(f"result: {json.dumps(row)}")


def main(argv: list[str] | None = None) -> int:
    """Exit code 0; 1: the loss isn't finite; 2: bad input; 75: asked to stop, saved, the same command goes on."""
    parser = argparse.ArgumentParser(
        prog="python -m trainer.train",
        description="Train CenterNet on records made by beam_preprocess.",
        epilog=__doc__.split("\n\n", 1)[1] if __doc__ else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model_dir", required=True, help="folder for checkpoints and the final weights")
    parser.add_argument("--records", default="", help="folder of training records (with manifest.json)")
    parser.add_argument("--val_records", default="", help="folder of validation records (all modes but train)")
    parser.add_argument("--tpu", default="", help="train on this TPU: local on a TPU VM, or an address")
    parser.add_argument("--config_file", required=True, help="YAML file, or the name of a shipped config")
    parser.add_argument("--experiment", default=EXPERIMENT, choices=[EXPERIMENT], help="default: %(default)s")
    parser.add_argument("--mode", default="train", choices=MODES, help="default: %(default)s")
    parser.add_argument("--params_override", default="", help="key=value,… or YAML, over the file's values")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    flags = parser.parse_args(argv)
    try:
        _run_mode(flags)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except Preempted as stop:
        print(f"preempted: {stop}", file=sys.stderr)
        return preemption.EXIT_CODE
    except (loop.NonFiniteLoss, checkpoints.SaveError, distribution.WorkerLost) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
