"""Profiles: a file of flags under a name, so that `--profile prod` replaces a dozen of them.

    prod:                          # any name; there is no default profile
      target: vertex-gpu           # any flag of `submit`, without its hyphens
      project: my-project
      region: us-central1
      labels: {team: vision}       # a repeatable flag takes names and values, or a list
      only_if_changed: true

A profile becomes flags in front of those that were typed, so that typed ones win. A verb takes the flags that it has.
"""

import argparse
import itertools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from beam_preprocess.base import yaml
from beam_preprocess.base.command import Parser
from beam_preprocess.base.errors import InputError
from beam_preprocess.base.json import described, nearest, shown

FILE = "profiles.yaml"
EXAMPLE = "docs/profiles.example.yaml"
PER_CALL = frozenset({"help", "profile", "profiles", "dry-run", "wait"})
"""Flags that say what one call does: they can't be in a profile."""


def add_profile(parser: Parser, known: Callable[[], Parser]) -> None:
    """Adds --profile and --profiles.

    Args:
      parser: of a verb.
      known: makes a parser with every flag that a profile may hold, so that a typing error isn't taken for the flag of
        another verb.
    """
    group = parser.add_argument_group("profile")
    group.add_argument(
        "--profile", default="", metavar="NAME", help="take the flags of this profile; flags that you give win"
    )
    group.add_argument("--profiles", default=FILE, metavar="FILE", help="file of the profiles; default: %(default)s")
    parser.expand = lambda given: _expanded(parser, known, given)


def _expanded(parser: Parser, known: Callable[[], Parser], given: list[str]) -> list[str]:
    """The arguments with those of the profile that they name in front.

    Raises:
      InputError: no such file or profile, an unknown key, or a value that its flag can't have.
    """
    asked, _ = _asks().parse_known_args(given)
    if not asked.profile or {"-h", "--help"} & set(given):
        return given
    where = f"--profile {asked.profile}: {asked.profiles}"
    allowed = {name: action for name, action in known().flags().items() if name not in PER_CALL}
    words, seen = [], set()
    for key, value in _read(asked.profile, asked.profiles, where).items():
        name = key.replace("_", "-")
        if name not in allowed:
            why = "; it belongs to one call: give it as a flag" if name in PER_CALL else nearest(name, allowed)
            raise InputError(f"{where}: {key}: unknown key{why}")
        if name in seen:
            raise InputError(f"{where}: {key}: given twice, in two spellings; remove one")
        seen.add(name)
        made = _words(name, allowed[name], value, f"{where}: {key}", _names_given(name, given))
        words += made if name in parser.flags() else []
    return [*words, *given]


def _asks() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    made.add_argument("--profile", default="", nargs="?")  # without a value: the verb's own parser complains
    made.add_argument("--profiles", default=FILE, nargs="?")
    return made


def _read(profile: str, path: str, where: str) -> dict[str, Any]:
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{where}: cannot be read ({error!s:.200}); {EXAMPLE} is one to copy") from error
    profiles = yaml.load(text, path)
    if not isinstance(profiles, dict) or not profiles:
        raise InputError(f"{where}: holds no profiles; {EXAMPLE} is one to copy")
    if profile not in profiles:
        close = nearest(profile, profiles)
        known = "" if close.startswith("; known") else f" known are {', '.join(sorted(profiles))}"
        raise InputError(f"{where} has no such profile{close}{known}")
    if not isinstance(profiles[profile], dict):
        raise InputError(f"{where}: is {described(profiles[profile])}; give flags and values")
    return dict(profiles[profile])


def _words(name: str, action: argparse.Action, value: Any, where: str, given: set[str]) -> list[str]:
    """The flag and its value as arguments; `given` are the names that typed ones of a repeatable flag have."""
    if action.nargs == 0:
        if not isinstance(value, bool):
            raise InputError(f"{where}: is {shown(value)}; write true or false")
        return [f"--{name}"] if value else []
    if isinstance(action.default, list):
        if isinstance(value, Mapping):
            pairs = [f"{key}={_text(one, where, inside=True)}" for key, one in value.items()]
        elif isinstance(value, list):
            pairs = [_text(one, where) for one in value]
        else:
            raise InputError(f"{where}: is {shown(value)}; give names and values, or a list")
        return [f"--{name}={pair}" for pair in pairs if pair.partition("=")[0] not in given]
    return [f"--{name}={_text(value, where)}"]


def _text(value: Any, where: str, *, inside: bool = False) -> str:
    if isinstance(value, str):
        return value
    if not inside and (isinstance(value, bool | list | Mapping) or value is None):
        raise InputError(f"{where}: is {shown(value)}, {described(value)}; give a text or a number")
    return json.dumps(value)


def _names_given(name: str, given: list[str]) -> set[str]:
    """The names in typed `--labels name=value`, which win over the profile's."""
    spellings = {f"--{name}", f"--{name.replace('-', '_')}"}
    values = [value for flag, value in itertools.pairwise(given) if flag in spellings]
    values += [word.partition("=")[2] for word in given if word.partition("=")[0] in spellings and "=" in word]
    return {value.partition("=")[0] for value in values}
