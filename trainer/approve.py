"""Approves a challenger that passed the gate: it becomes the champion.

centernet approve v0002 --registry registry
"""

import argparse
import sys
from collections.abc import Sequence

from beam_preprocess.base import command
from beam_preprocess.base.errors import InputError


def parser() -> command.Parser:
    """The parser of `centernet approve`."""
    made = command.parser(
        "approve",
        "Make a version that is waiting for approval (gate.approval: required) the champion, or list such versions.",
        examples=(
            "centernet approve --list --registry registry",
            "centernet approve v0002 --registry registry",
            "centernet approve 2 --registry vertex://my-project/us-central1/centernet --by me@example.org",
        ),
        notes="exit codes: 0 done, 2 bad input, 1 the champion has moved since, the version is not waiting for\n"
        "approval, or the registry is damaged or cannot be reached",
    )
    made.add_argument("version", nargs="?", default="", metavar="VERSION", help="the version that becomes champion")
    made.add_argument("--list", action="store_true", help="list the versions that are waiting, one per line")
    made.add_argument(
        "--registry",
        default="registry",
        metavar="URI",
        help="local folder or vertex://PROJECT/REGION/MODEL_ID (default: %(default)s)",
    )
    made.add_argument(
        "--by",
        default="",
        metavar="NAME",
        help="who approves, for the record; default: the account of Google's credentials, or this machine's user",
    )
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """`centernet approve`: 0 done, 2 bad input, 1 refused."""
    return command.run(parser(), argv, _call)


def _call(flags: argparse.Namespace) -> None:
    from trainer.registry.local import LocalRegistry
    from trainer.registry.uri import open_registry

    if flags.list == bool(flags.version):
        raise InputError("VERSION: give the version to approve, or --list")
    store = open_registry(flags.registry)
    if isinstance(store, LocalRegistry) and not store.root.is_dir():
        raise InputError(f"--registry {store.root}: no such folder; give the folder of a registry")
    if flags.list:
        _list(flags.registry)
        return
    from trainer.promotion.approve import approve
    from trainer.promotion.approver import account_of

    account = account_of(flags.registry)
    print(approve(store, flags.version, by=flags.by or account, account=account))


def _list(registry: str) -> None:
    from trainer.promotion.approve import pending
    from trainer.promotion.outcome import REPORT
    from trainer.registry.uri import open_registry

    found = pending(open_registry(registry))
    for one in found:
        champion = f"champion {one.asked.champion}" if one.asked.champion else "no champion yet"
        report = f"  {one.version.notes[REPORT]}" if REPORT in one.version.notes else ""
        print(f"{one.version.version}  since {one.asked.since}  AP {one.asked.ap:.4f}  {champion}{report}")
    if not found:
        print("no version waits for approval")


if __name__ == "__main__":
    sys.exit(main())
