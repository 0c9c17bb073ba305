"""`python -m beam_preprocess …`: the command `centernet preprocess`, or with a verb first, `check` or `inspect`."""

import sys
from collections.abc import Sequence

from beam_preprocess import check, inspect_records, preprocess
from beam_preprocess.base import command
from beam_preprocess.base.errors import InputError

_VERBS = {"preprocess": preprocess.main, "check": check.main, "inspect": inspect_records.main}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments and arguments[0] in _VERBS:
        return _VERBS[arguments[0]](arguments[1:])
    if arguments and not arguments[0].startswith("-"):
        return command.ended(lambda: _unknown(arguments[0]))
    return preprocess.main(arguments)


def _unknown(verb: str) -> int:
    raise InputError(f"{verb}: unknown verb; use {', '.join(_VERBS)}, or flags alone (preprocess); see --help")


if __name__ == "__main__":
    sys.exit(main())
