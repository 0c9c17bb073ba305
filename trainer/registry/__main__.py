"""The command line of a model registry: `python -m trainer.registry list|show|rollback`."""

import argparse
import json
import sys
from dataclasses import asdict

from beam_preprocess.base.errors import InputError
from trainer.registry.base import CHAMPION, ChampionMoved, Registry, RegistryError
from trainer.registry.local import LocalRegistry
from trainer.registry.uri import open_registry


def main(argv: list[str] | None = None) -> int:
    """Exit code 0, 2 bad input, 1 a damaged registry or a champion that moved meanwhile."""
    parser = argparse.ArgumentParser(
        prog="python -m trainer.registry",
        description="Look into a model registry, or make the previous champion the champion again.",
        epilog="""examples:
  python -m trainer.registry list --registry registry
  python -m trainer.registry show champion --registry registry
  python -m trainer.registry show v0003 --registry registry
  python -m trainer.registry rollback --registry registry
  python -m trainer.registry list --registry vertex://my-project/us-central1/centernet""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb, help_text in (
        ("list", "versions with AP and aliases, one a line"),
        ("show", "one version as JSON"),
        ("rollback", "champion and previous change places"),
    ):
        command = verbs.add_parser(verb, help=help_text)
        command.add_argument(
            "--registry",
            default="registry",
            metavar="URI",
            help="its folder, or vertex://PROJECT/REGION/MODEL_ID (default: registry)",
        )
        if verb == "show":
            command.add_argument("name", nargs="?", default=CHAMPION, help="version or alias (default: champion)")
    arguments = parser.parse_args(argv)
    try:
        registry = open_registry(arguments.registry)
        if isinstance(registry, LocalRegistry) and not registry.root.is_dir():
            raise InputError(f"--registry {registry.root}: no such folder; give the folder of a registry")
        if arguments.verb == "list":
            _list(registry)
        elif arguments.verb == "show":
            aliases = registry.aliases()
            print(json.dumps(asdict(registry.version(aliases.get(arguments.name, arguments.name))), indent=1))
        else:
            new, old = registry.rollback()
            print(f"champion is {new} again (was {old})")
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (RegistryError, ChampionMoved) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _list(registry: Registry) -> None:
    aliases = registry.aliases()
    for version in registry.list():
        names = " ".join(sorted(alias for alias, name in aliases.items() if name == version.version))
        ap = version.metadata.get("ap")
        shown = f"AP {ap:.4f}" if isinstance(ap, float) else "AP -"
        print(f"{version.version}  {version.created}  {shown}  {names}".rstrip())
    for name, reason in registry.incomplete().items():
        print(f"{name}  incomplete: {reason}")
    if not registry.list():
        print("no versions")
