"""The command `centernet train`: Model Garden's flags, our task."""

import argparse
import sys
from collections.abc import Sequence

from beam_preprocess.base import command

EXPERIMENT = "centernet_hourglass_coco"
MODES = ("train", "train_and_eval", "eval", "continuous_eval")


def parser() -> command.Parser:
    """The command's flags."""
    made = command.parser(
        "train",
        "Train CenterNet on records made by centernet preprocess, or evaluate the checkpoints of a training. A folder "
        "that was already trained with the same records, configuration and seed is left alone; an interrupted training "
        "resumes from its newest checkpoint.",
        examples=[
            "centernet train --model_dir=OUT --records=DIR --config_file=custom-cpu",
            "centernet train --model_dir=OUT --records=DIR --val-records=DIR --mode=train_and_eval "
            "--config_file=demo --params_override=task.augmentation.hue=0.05",
            "centernet train --model_dir=OUT --val-records=DIR --mode=eval --config_file=demo",
        ],
        notes="exit codes: 0 done; 1 the loss is not finite, a checkpoint can't be written, or a worker was lost; "
        "2 bad input; 75 asked to stop and saved: rerun the same command to resume",
    )
    made.add_argument("--model_dir", required=True, help="folder for checkpoints and the final weights")
    made.add_argument("--records", default="", help="folder of training records (with manifest.json)")
    made.add_argument(
        "--val-records",
        default="",
        help="folder of validation records (all modes except train, which measures on training images)",
    )
    made.add_argument("--tpu", default="", help="train on this TPU: local on a TPU VM, or an address")
    made.add_argument(
        "--config_file",
        "--config",
        required=True,
        metavar="NAME|PATH",
        help="shipped configuration, or YAML file (path or URI)",
    )
    made.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change a key of the configuration"
    )
    made.add_argument("--experiment", default=EXPERIMENT, choices=[EXPERIMENT], help="default: %(default)s")
    made.add_argument("--mode", default="train", choices=MODES, help="default: %(default)s")
    made.add_argument("--params_override", default="", help="key=value,… or YAML; wins over the configuration")
    made.add_argument(
        "--seed", type=int, default=0, help="seed of weights, order and augmentation (default: %(default)s)"
    )
    return made


def _call(flags: argparse.Namespace) -> None:
    from beam_preprocess.base import config_text
    from trainer.training import modes

    modes.run(
        flags.mode,
        model_dir=flags.model_dir,
        config=config_text.resolve(flags.config_file, flags.set).text,
        records=flags.records,
        val_records=flags.val_records,
        params_override=flags.params_override,
        tpu=flags.tpu,
        seed=flags.seed,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code; see `parser`."""
    return command.run(parser(), argv, _call)


if __name__ == "__main__":
    sys.exit(main())
