"""What the commands that score images share: their flags and the checks of them. Imports nothing heavy."""

import argparse
from collections.abc import Sequence

from beam_preprocess.base.errors import InputError


def add_input(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that name the images and the model."""
    parser.add_argument(
        "--images", required=True, metavar="URI", help="folder (all images in it and below) or glob pattern"
    )
    parser.add_argument(
        "--model",
        default="champion",
        metavar="NAME|DIR",
        help="alias or version of the registry, or a SavedModel folder (default: %(default)s)",
    )
    parser.add_argument(
        "--registry",
        default="registry",
        metavar="URI",
        help="local folder or vertex://PROJECT/REGION/MODEL_ID (default: %(default)s)",
    )


def add_machine(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that say where and how the images are scored."""
    parser.add_argument("--on", choices=("local", "dataflow"), default="local", help="where it runs (default: local)")
    parser.add_argument("--batch-size", type=int, default=8, help="images per call of the model (default: %(default)s)")
    parser.add_argument("--num-threads", type=int, help="threads of this process (default: one per core)")
    parser.add_argument(
        "--num-workers", type=int, default=1, help="local processes instead, each with a copy of the model (default: 1)"
    )


def beam_arguments(flags: argparse.Namespace, given: Sequence[str]) -> list[str]:
    """The options for Beam.

    Args:
      flags: with `num_workers`, `num_threads` and `on`.
      given: the arguments that the command does not know.

    Raises:
      InputError: a number below 1, or two runners.
    """
    for name, value in (("--num-workers", flags.num_workers), ("--num-threads", flags.num_threads)):
        if value is not None and value < 1:
            raise InputError(f"{name} {value}: use 1 or more")
    if flags.on != "dataflow":
        return list(given)
    if any(word.split("=")[0] == "--runner" for word in given):
        raise InputError("--runner: --on dataflow is the same as --runner DataflowRunner; give one of the two")
    return ["--runner=DataflowRunner", *given]
