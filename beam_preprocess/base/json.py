"""Strict reading of JSON and YAML values into frozen dataclasses: every key known, every value of its field's type."""

import dataclasses
import difflib
import functools
import json
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from beam_preprocess.base.errors import InputError

T = TypeVar("T")


def parse(text: str, where: str, fix: str) -> Any:
    """Parses JSON text. Python's NaN and Infinity are accepted: it is the reader's rules that judge them.

    Args:
      text: the content.
      where: its origin, for messages.
      fix: what the user can do about it, likewise.

    Raises:
      InputError: not JSON, nested too deeply, or with a number of too many digits.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: not JSON ({' '.join(str(error).split())}); {fix}") from error


def read(kind: type[T], text: str, where: str, fix: str, *, schema_version: int | None = None) -> T:
    """Reads a JSON object into the dataclass `kind`, which must hold exactly its keys.

    Args:
      kind: a dataclass.
      text: the file's content.
      where: its path, for messages.
      fix: what the user can do about a file that cannot be read, likewise.
      schema_version: the value that the object's key `schema_version` must have; None: it has no such key, or it is a
        field of `kind`.

    Raises:
      InputError: not JSON, another schema version, an unknown or missing key, or a value of another type.
    """
    values = parse(text, where, fix)
    if schema_version is not None:
        values = checked_version(values, schema_version, where, fix)
    return build(kind, values, where, fix)


def checked_version(values: Any, schema_version: int, where: str, fix: str) -> dict[str, Any]:
    """The object without its key `schema_version`.

    Raises:
      InputError: not an object, or of another version.
    """
    if not isinstance(values, dict):
        raise InputError(f"{where}: is {described(values)}, not an object; {fix}")
    found = values.get("schema_version")
    if type(found) is not int or found != schema_version:
        raise InputError(f"{where}: schema_version is {found!r}, this code reads {schema_version}; {fix}")
    return {key: value for key, value in values.items() if key != "schema_version"}


def build(kind: type[T], values: Any, where: str, fix: str, *, partial: bool = False) -> T:
    """Builds the dataclass `kind` from parsed values.

    Whole numbers are taken where the field is a float, lists where it is a tuple; nothing else is converted.

    Args:
      kind: a dataclass.
      values: a mapping; nested dataclasses, lists, tuples and mappings are built likewise.
      where: the origin, for messages.
      fix: what the user can do, likewise.
      partial: keys may be left out where the field has a default.

    Raises:
      InputError: names the key and the value that are wrong.
    """
    if not isinstance(values, Mapping):
        raise InputError(f"{where}: is {described(values)}, not an object; {fix}")
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for key in values:
        if key not in fields:
            raise InputError(f"{where}: unknown key {key!r}{nearest(key, fields)}; {fix}")
    wanted = [name for name, field in fields.items() if not (partial and _has_default(field))]
    missing = [name for name in wanted if name not in values]
    if missing:
        raise InputError(f"{where}: lacks {', '.join(missing)}; {fix}")
    hints = _hints(typing.cast(type, kind))
    return kind(**{key: convert(hints[key], value, f"{where}: {key}", fix) for key, value in values.items()})


def convert(hint: Any, value: Any, where: str, fix: str) -> Any:
    """The value as the type `hint` has it.

    Raises:
      InputError: it is of another type.
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        return _any_of(arguments, value, where, fix)
    if origin is typing.Literal:
        if value in arguments and type(value) in {type(argument) for argument in arguments}:
            return value
        raise InputError(f"{where}: is {shown(value)}; use one of {', '.join(map(repr, arguments))}; {fix}")
    if origin in (tuple, list):
        return _sequence(origin, arguments, value, where, fix)
    if origin in (dict, Mapping) and isinstance(value, dict):
        return {k: convert(arguments[1], v, f"{where}.{k}", fix) for k, v in value.items()}
    if dataclasses.is_dataclass(hint):
        return build(typing.cast(type, hint), value, where, fix)
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is (origin or hint) or (hint is types.NoneType and value is None):
        return value
    raise InputError(f"{where}: is {shown(value)}, {described(value)}; {named(hint)} is needed; {fix}")


def nearest(key: Any, known: Sequence[str] | Mapping[str, Any]) -> str:
    """The end of a message about an unknown key: the known name that it comes close to, or all known names."""
    close = difflib.get_close_matches(str(key), list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(sorted(known))}"


def described(value: Any) -> str:
    """The kind of a parsed value, in words."""
    return _WORDS.get(type(value), f"a {type(value).__name__}")


def named(hint: Any) -> str:
    """The kind that a field's type asks for, in words."""
    return _WORDS.get(typing.get_origin(hint) or hint, str(hint))


def shown(value: Any) -> str:
    """The value as a message shows it: at most 80 characters."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


_WORDS: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    list: "a list",
    tuple: "a list",
    dict: "an object",
    type(None): "null",
}


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _has_default(field: dataclasses.Field[Any]) -> bool:
    return field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING


def _any_of(kinds: Sequence[Any], value: Any, where: str, fix: str) -> Any:
    for kind in kinds:  # an exact type first: 1 stays whole in `int | float`
        if type(value) is kind:
            return value
    for kind in kinds:
        try:
            return convert(kind, value, where, fix)
        except InputError as error:
            refusal = error
            if dataclasses.is_dataclass(kind) and isinstance(value, dict):
                raise  # its own message says which key is wrong
    wanted = " or ".join(map(named, kinds))
    raise InputError(f"{where}: is {shown(value)}, {described(value)}; {wanted} is needed; {fix}") from refusal


def _sequence(origin: type, arguments: Sequence[Any], value: Any, where: str, fix: str) -> Any:
    if not isinstance(value, list | tuple):
        raise InputError(f"{where}: is {shown(value)}, {described(value)}; a list is needed; {fix}")
    if origin is list or arguments[-1:] == (Ellipsis,):
        kinds: Sequence[Any] = [arguments[0]] * len(value)
    else:
        kinds = arguments
    if len(value) != len(kinds):
        raise InputError(f"{where}: {shown(value)} has {len(value)} entries; {len(kinds)} are needed; {fix}")
    built = (convert(kind, v, f"{where}[{i}]", fix) for i, (kind, v) in enumerate(zip(kinds, value, strict=True)))
    return origin(built)
