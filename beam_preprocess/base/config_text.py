"""A configuration's text: found by name, path or URI, with its `base:` merged in and `--set` changes applied.

The result is plain YAML that stands alone: it is what runs carry as a parameter and what components parse.
"""

import difflib
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beam_preprocess.base import yaml
from beam_preprocess.base.config_keys import check_names
from beam_preprocess.base.errors import InputError

SHIPPED = Path(__file__).parents[2] / "trainer" / "configs"
"""The configurations that ship with the trainer."""
BASE = "base"
"""The first key of a configuration that changes another one."""
MAX_BASES = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class ConfigText:
    """A configuration that stands alone."""

    text: str
    """YAML."""
    where: str
    """Its origin, for messages: the file, and the changes."""


def resolve(name: str, changes: Sequence[str] = ()) -> ConfigText:
    """Reads a configuration, merges it over its `base:`, and applies the changes.

    Mappings are merged key by key; lists and single values replace. Without a base and changes, the text is returned as
    it is, comments included.

    Args:
      name: a YAML file (path or URI), or the name of a shipped configuration.
      changes: `--set` arguments: dotted.key=value, the value as YAML. Later ones win.

    Raises:
      InputError: there is no such configuration, it cannot be read, it is not YAML, its bases form a circle, or it or a
        change names an unknown key.
    """
    return resolve_text(*_find(name, ""), changes)


def resolve_text(text: str, where: str, changes: Sequence[str] = ()) -> ConfigText:
    """As `resolve`, of a text that is at hand.

    Args:
      text: YAML, which may have a `base:`.
      where: its origin, for messages.
      changes: see `resolve`.
    """
    values, has_base = _merged(text, where, ())
    if not changes:
        return ConfigText(text=yaml.dump(values) if has_base else text, where=where)
    for change in changes:
        values = _over(values, _change(change))
    flags = " ".join(map(_flag, changes))
    return ConfigText(text=yaml.dump(values), where=f"{where} with {flags}")


def changed(changes: Sequence[str]) -> dict[str, Any]:
    """The values that `--set` arguments give, by dotted key.

    Raises:
      InputError: a change names an unknown key.
    """
    values: dict[str, Any] = {}
    for change in changes:
        values = _over(values, _change(change))
    return flat(values)


def flat(values: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """The values of nested mappings by dotted key."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        below = f"{path}.{key}" if path else key
        found |= flat(value, below) if isinstance(value, Mapping) and value else {below: value}
    return found


def _merged(text: str, where: str, above: tuple[str, ...]) -> tuple[dict[str, Any], bool]:
    """The values of a text over those of its bases, and whether it has one. `above` are the files that led here."""
    values = yaml.load(text, where)
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise InputError(f"{where}: expected sections, such as `gate:`, each with keys and values; got {values!r:.80}")
    if BASE not in values:
        check_names(values, where)
        return values, False
    if next(iter(values)) != BASE:
        raise InputError(f"{where}: base: is not the first key; move it to the top")
    base = values.pop(BASE)
    if not isinstance(base, str) or not base:
        raise InputError(f"{where}: base: {base!r} is not a name; give a file or a shipped configuration")
    check_names(values, where)
    try:
        base_text, base_where = _find(base, _folder(where))
    except InputError as error:
        raise InputError(f"{where}: base: {error}") from error
    chain = (*above, where)
    if _identity(base_where) in map(_identity, chain):
        circle = " -> ".join([*chain, base_where])
        raise InputError(f"{where}: base: {base} closes a circle ({circle}); name another configuration")
    if len(chain) > MAX_BASES:
        raise InputError(f"{where}: base: {base} is base number {len(chain)}; at most {MAX_BASES} can be chained")
    return _over(_merged(base_text, base_where, chain)[0], values), True


def _over(below: Mapping[str, Any], values: Mapping[str, Any], *, top: bool = True) -> dict[str, Any]:
    """`values` merged over `below`. An empty section changes nothing; further down, null replaces a mapping."""
    merged = dict(below)
    for key, value in values.items():
        old = merged.get(key)
        if isinstance(value, Mapping):
            merged[key] = _over(old if isinstance(old, Mapping) else {}, value, top=False)
        elif not (top and value is None and key in merged):
            merged[key] = value
    return merged


def _change(change: str) -> dict[str, Any]:
    """The nested mapping that one `--set` argument describes."""
    where = _flag(change)
    path, equals, text = change.partition("=")
    names = path.strip().split(".")
    if not equals or not all(names) or len(names) > yaml.MAX_DEPTH:
        raise InputError(f"{where}: expected dotted.key=value, such as gate.min_ap=0.4")
    if names[0] == BASE:
        raise InputError(f"{where}: base: cannot be set; give that configuration by name instead")
    value: Any = yaml.load(text, where)
    if len(names) == 1 and not isinstance(value, dict):
        check_names({names[0]: value}, where)
        raise InputError(f"{where}: {names[0]} is a section; set one of its keys")
    for name in reversed(names):
        value = {name: value}
    check_names(value, where)
    return dict(value)


def _find(name: str, folder: str) -> tuple[str, str]:
    """The text and the place of a configuration; relative paths start at `folder`."""
    known = sorted(path.stem for path in SHIPPED.glob("*.yaml"))
    # Inside a bucket a shipped name is not looked up: a missing object may answer "no rights".
    if "://" in name or ("://" in folder and name not in known):
        uri = name if "://" in name else posixpath.normpath(posixpath.join(folder.partition("://")[2], name))
        uri = uri if "://" in uri else f"{folder.partition('://')[0]}://{uri}"
        text = _read_uri(uri, needed="://" in name)
        if text is not None:
            return text, uri
    candidates = [Path(folder, name)] if "://" not in folder + name else []
    for path in (*candidates, SHIPPED / name, SHIPPED / f"{name}.yaml"):
        try:
            if path.is_file():
                return path.read_text(encoding="utf-8"), str(path)
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"config {path!s:.200}: cannot be read ({error!s:.200}); give a YAML file") from error
    close = difflib.get_close_matches(name, known, n=1)
    raise InputError(
        f"config {' '.join(name.split()):.200}: no such file; "
        + (f"did you mean {close[0]!r}?" if close else f"give a path or one of {', '.join(known)}")
    )


def _read_uri(uri: str, *, needed: bool) -> str | None:
    """The text at a URI; None if there is no such file and it is not needed."""
    from beam_preprocess.base.storage import file_system, reason, refusals

    fs, path = file_system(uri)
    try:
        return str(fs.cat_file(path).decode("utf-8"))
    except FileNotFoundError as error:
        if not needed:
            return None
        raise InputError(f"config {uri}: no such file; check the address") from error
    except UnicodeDecodeError as error:
        raise InputError(f"config {uri}: cannot be read ({error!s:.200}); give a YAML file") from error
    except refusals() as error:
        raise InputError(f"config {uri}: cannot be read ({reason(error)}); check the address") from error


def _flag(change: str) -> str:
    """An argument as messages show it: on one line, and not longer."""
    return f"--set {' '.join(change.split()):.200}"


def _identity(where: str) -> str:
    return where if "://" in where else str(Path(where).resolve())


def _folder(where: str) -> str:
    return posixpath.dirname(where) if "://" in where else str(Path(where).parent)
