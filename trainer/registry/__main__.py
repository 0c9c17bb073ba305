"""The command line of a model registry: `centernet registry list|show|rollback|prune`."""

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from beam_preprocess.base import command
from beam_preprocess.base.errors import InputError

if TYPE_CHECKING:
    from trainer.registry.base import Registry


KEEP = 5
"""Default of `prune --keep`."""


def parser() -> command.Parser:
    """The parser of `centernet registry`."""
    made = command.parser(
        "registry",
        "Inspect a model registry, make the previous champion the champion again, or remove old versions.",
        examples=(
            "centernet registry list --registry registry",
            "centernet registry show champion --registry registry",
            "centernet registry show v0003 --registry registry",
            "centernet registry rollback --registry registry",
            "centernet registry prune --registry registry --keep 10 --dry-run",
            "centernet registry list --registry vertex://my-project/us-central1/centernet",
        ),
        notes="exit codes: 0 done, 2 bad input, 1 the registry is damaged or unreachable, or the champion changed",
    )
    verbs = made.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb, help_text in (
        ("list", "list versions with AP and aliases, one per line"),
        ("show", "show one version as JSON"),
        ("rollback", "swap champion and previous"),
        ("prune", "remove old versions that have no alias and no link and aren't waiting for approval"),
    ):
        subparser = verbs.add_parser(verb, help=help_text, description=f"{help_text[0].upper()}{help_text[1:]}.")
        if verb == "show":
            subparser.add_argument("name", nargs="?", default="champion", help="version or alias (default: champion)")
        if verb == "prune":
            subparser.add_argument(
                "--keep",
                type=int,
                default=KEEP,
                metavar="N",
                help="number of newest versions to keep as well (default: %(default)s)",
            )
            subparser.add_argument("--dry-run", action="store_true", help="print what would be removed")
        subparser.add_argument(
            "--registry",
            default="registry",
            metavar="URI",
            help="local folder or vertex://PROJECT/REGION/MODEL_ID (default: registry)",
        )
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """`centernet registry`: 0 done, 2 bad input, 1 a damaged registry or a champion that changed."""
    return command.run(parser(), argv, _call)


def _call(flags: argparse.Namespace) -> None:
    from trainer.registry.local import LocalRegistry
    from trainer.registry.uri import open_registry

    registry = open_registry(flags.registry)
    if isinstance(registry, LocalRegistry) and not registry.root.is_dir():
        raise InputError(f"--registry {registry.root}: no such folder; give the folder of a registry")
    if flags.verb == "list":
        _list(registry)
    elif flags.verb == "show":
        _show(registry, flags.name)
    elif flags.verb == "prune":
        _prune(registry, flags.keep, dry_run=flags.dry_run)
    else:
        new, old = registry.rollback()
        print(f"champion is {new} again (was {old})")


def _list(registry: "Registry") -> None:
    from trainer.registry.approval import PENDING, is_pending
    from trainer.registry.base import CHAMPION

    aliases = registry.aliases()
    versions = registry.list()
    for version in versions:
        names = " ".join(sorted(alias for alias, name in aliases.items() if name == version.version))
        ap = version.metadata.get("ap")
        shown = f"AP {ap:.4f}" if isinstance(ap, float) else "AP -"
        waits = PENDING if is_pending(version.notes, aliases.get(CHAMPION)) else ""
        print(f"{version.version}  {version.created}  {shown}  {names}  {waits}".rstrip())
    for name, reason in registry.incomplete().items():
        print(f"{name}  incomplete: {reason}")
    if not versions:
        print("no versions")


def _prune(registry: "Registry", keep: int, *, dry_run: bool) -> None:
    from trainer.registry.prune import plan

    freed = removed = 0
    for entry in plan(registry, keep=keep):
        size = "" if entry.size is None else f"  {entry.size / 1e6:.1f} MB"
        if entry.kept:
            print(f"{entry.version}{size}  stays: {entry.kept}")
            continue
        if not dry_run:
            registry.remove(entry.version)
        removed, freed = removed + 1, freed + (entry.size or 0)
        print(f"{entry.version}{size}  {'would be removed' if dry_run else 'removed'}", flush=True)
    for name, reason in registry.incomplete().items():
        print(f"{name}  stays: incomplete, look at it: {reason}")
    done = "would be removed" if dry_run else "removed"
    print(f"{removed} version{'' if removed == 1 else 's'} {done}, {freed / 1e6:.1f} MB")


def _show(registry: "Registry", name: str) -> None:
    import json
    from dataclasses import asdict

    print(json.dumps(asdict(registry.version(registry.aliases().get(name, name))), indent=1))


if __name__ == "__main__":
    sys.exit(main())
