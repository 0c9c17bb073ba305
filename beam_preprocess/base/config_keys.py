"""The keys that a configuration may have, read from a generated table: no section's classes are imported.

`trainer/config/keys.json` describes every key of every section, Model Garden's included, whose classes take seconds to
import. `python -m trainer.config.key_table` (`make configuration`) rewrites it.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beam_preprocess.base import json
from beam_preprocess.base.errors import InputError

TABLE = Path(__file__).parents[2] / "trainer" / "config" / "keys.json"
TABLE_FIX = "run python -m trainer.config.key_table"


@dataclass(frozen=True, kw_only=True, slots=True)
class Key:
    """One key."""

    key: str
    """Its dotted name, such as gate.min_ap."""
    type: str
    """The kind of its values, in words."""
    default: Any
    unit: str
    """"" for a key without a unit."""
    meaning: str
    """Its first sentence stands alone."""
    options: tuple[str, ...] = ()
    """The sections next to a `type` key, of which its value chooses one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyTable:
    """The content of `keys.json`."""

    sections: dict[str, str]
    """The sections in order, with their meanings."""
    keys: tuple[Key, ...]
    """The keys that have an effect, grouped by section."""
    without_effect: tuple[str, ...]
    """Keys of Model Garden's classes that nothing here reads: known, and refused with a reason when they are set."""


@functools.cache
def known_keys() -> KeyTable:
    """The committed table."""
    return json.read(KeyTable, TABLE.read_text(encoding="utf-8"), str(TABLE), TABLE_FIX)


def check_names(values: Mapping[str, Any], where: str) -> None:
    """Refuses keys that no section has.

    Args:
      values: sections, or a part of them.
      where: their origin, for the message.

    Raises:
      InputError: names the first unknown key and the nearest known one.
    """
    _check(values, _tree(), where, "")


def _check(values: Mapping[str, Any], known: Mapping[str, Any], where: str, parent: str) -> None:
    for key, value in values.items():
        path = f"{parent}.{key}" if parent else key
        if key not in known:
            thing = f"{path}: unknown key" if parent else f"unknown section {key!r}"
            useful = [name for name in known if f"{parent}.{name}" not in known_keys().without_effect]
            raise InputError(f"{where}: {thing}{json.nearest(key, useful)}")
        if isinstance(value, Mapping) and known[key]:
            _check(value, known[key], where, path)


@functools.cache
def _tree() -> dict[str, Any]:
    """Nested names; a key without keys below it has an empty mapping."""
    tree: dict[str, Any] = {section: {} for section in known_keys().sections}
    for path in (*(row.key for row in known_keys().keys), *known_keys().without_effect):
        branch = tree
        for name in path.split("."):
            branch = branch.setdefault(name, {})
    return tree
