"""YAML with a comment above each chosen key."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from beam_preprocess.base import yaml
from beam_preprocess.base.config_text import flat
from pipeline.recommend.choices import Choice

WIDTH = 100


def with_base(base: str, choices: Sequence[Choice], header: str) -> str:
    """The file for `--config`: the chosen keys over a base."""
    return f"{_comment(header, 0)}base: {base}\n{_sections(_nested(choices), choices)}"


def standing_alone(values: Mapping[str, Any], choices: Sequence[Choice], header: str) -> str:
    """All values of a configuration. Each chosen key that still has the chosen value has its comment."""
    have = flat(values)
    kept = [choice for choice in choices if have.get(choice.key) == choice.value]
    return _comment(header, 0) + _sections(values, kept)


def _nested(choices: Sequence[Choice]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for choice in choices:
        *above, last = choice.key.split(".")
        section = values
        for name in above:
            section = section.setdefault(name, {})
        section[last] = choice.value
    return values


def _sections(values: Mapping[str, Any], choices: Sequence[Choice]) -> str:
    why = {choice.key: choice.why for choice in choices}
    return "".join(_lines(values, why, "", 0))


def _lines(values: Mapping[str, Any], why: Mapping[str, str], path: str, depth: int) -> list[str]:
    found = []
    for key, value in values.items():
        below = f"{path}.{key}" if path else key
        if below in why:
            found.append(_comment(why[below], depth))
        if isinstance(value, Mapping) and value:
            found += [f"{'  ' * depth}{key}:\n", *_lines(value, why, below, depth + 1)]
        else:
            found.append(textwrap.indent(_one(key, value), "  " * depth))
    return found


def _one(key: str, value: Any) -> str:
    if isinstance(value, list):
        inner = ", ".join(yaml.dump([entry]).strip().removeprefix("- ") for entry in value)
        if "\n" not in inner:
            return f"{key}: [{inner}]\n"
    return yaml.dump({key: value})


def _comment(text: str, depth: int) -> str:
    indent = f"{'  ' * depth}# "
    return textwrap.fill(text, WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False) + "\n"
