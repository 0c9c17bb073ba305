"""What the commands that score images share: checks of their flags. Imports nothing heavy."""

import argparse
from collections.abc import Sequence

from beam_preprocess.base.errors import InputError


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
