"""Rewrites `keys.json` and docs/configuration.md from the configuration classes and their docstrings.

    python -m trainer.config.key_table

A test runs it and fails when either file is stale.
"""

import ast
import dataclasses
import inspect
import itertools
import json
import textwrap
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from official.modeling import hyperparams

from beam_preprocess.base.config_keys import TABLE, Key, KeyTable
from beam_preprocess.base.files import write_text
from beam_preprocess.format.config import PreprocessConfig
from trainer.config.checks import hints_of, optional_section
from trainer.config.deploy_config import DeployConfig
from trainer.config.experiment import default_experiment
from trainer.config.export_config import ExportConfig
from trainer.config.gate_config import GateConfig
from trainer.config.key_page import page
from trainer.config.live_keys import LIVE_KEYS, MEANINGS, OPTIONS, UNITS, UNRELEASED_OPTIMIZERS, by_longest_end
from trainer.config.sections import EXPERIMENT_SECTIONS, SECTIONS

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"
OWN = {"preprocess": PreprocessConfig, "export": ExportConfig, "gate": GateConfig, "deploy": DeployConfig}
WORDS: dict[Any, str] = {
    bool: "true or false",
    int: "whole number",
    float: "number",
    str: "text",
    types.NoneType: "null",
}


def build_table() -> KeyTable:
    """The table, from the classes."""
    experiment = default_experiment()
    keys: list[Key] = []
    without_effect: list[str] = []
    for section in SECTIONS:
        if section in EXPERIMENT_SECTIONS:
            for found in _experiment_keys(getattr(experiment, section), section):
                if isinstance(found, Key):
                    keys.append(found)
                else:
                    without_effect.append(found)
        else:
            keys += _own_keys(OWN[section], section)
    return KeyTable(sections=dict(SECTIONS), keys=tuple(keys), without_effect=tuple(sorted(without_effect)))


def table_text(table: KeyTable) -> str:
    """The content of `keys.json`: one key per line, so that a change is one line of a diff."""
    rows = ",\n".join(f"    {json.dumps(dataclasses.asdict(key), ensure_ascii=False)}" for key in table.keys)
    dead = ",\n".join(f"    {json.dumps(key)}" for key in table.without_effect)
    sections = json.dumps(table.sections, ensure_ascii=False)
    return f'{{\n  "sections": {sections},\n  "keys": [\n{rows}\n  ],\n  "without_effect": [\n{dead}\n  ]\n}}\n'


def main() -> None:
    """Rewrites both files."""
    table = build_table()
    write_text(str(TABLE), table_text(table))
    write_text(str(PAGE), page(table))
    print(f"wrote {TABLE} and {PAGE}: {len(table.keys)} keys")


def _own_keys(kind: type, section: str) -> list[Key]:
    """The keys of a section that is a plain dataclass."""
    meanings, hints, defaults = docstrings(kind), typing.get_type_hints(kind), kind()
    return [
        _key(f"{section}.{field.name}", hints[field.name], getattr(defaults, field.name), meanings[field.name])
        for field in dataclasses.fields(kind)
    ]


def _experiment_keys(config: hyperparams.Config, path: str) -> Iterator[Key | str]:
    """The keys of a section of Model Garden's; just the name of one without effect."""
    meanings, live = docstrings(type(config)), LIVE_KEYS.get(path)
    hints = hints_of(config)
    options: list[str] = []
    if isinstance(config, hyperparams.OneOfConfig):
        options = [name for name in hints if name != "type"]
        unsupported = {name for name in options if not _supported(path, name)}
        yield from (f"{path}.{name}" for name in unsupported)
        options = [name for name in options if name not in unsupported]
        hints = {name: hint for name, hint in hints.items() if name == "type" or name in options}
    for name in sorted(hints, key=lambda name: name != "type"):
        below, value = f"{path}.{name}", getattr(config, name)
        if live is not None and name not in live:
            yield below
            continue
        section = value if isinstance(value, hyperparams.Config) else optional_section(hints[name])
        if not isinstance(value, hyperparams.Config):
            meaning = meanings.get(name) or by_longest_end(MEANINGS, below)
            if meaning is None:
                raise LookupError(f"{below} has no meaning: give it a docstring, or a row in live_keys.MEANINGS")
            hint = "mapping or null" if section is not None else hints[name]
            yield _key(below, hint, value, meaning, tuple(options) if name == "type" else ())
        if section is not None:
            yield from _experiment_keys(section, below)


def _supported(path: str, option: str) -> bool:
    """Whether an option of a section with a `type` works here."""
    if path in OPTIONS:
        return option in OPTIONS[path]
    return not (path.endswith("optimizer") and option in UNRELEASED_OPTIMIZERS)


def _key(path: str, hint: Any, default: Any, meaning: str, options: tuple[str, ...] = ()) -> Key:
    return Key(
        key=path,
        type=hint if isinstance(hint, str) else kind_of(hint),
        default=list(default) if isinstance(default, tuple | list) else default,
        unit=by_longest_end(UNITS, path) or "",
        meaning=meaning,
        options=options,
    )


def kind_of(hint: Any) -> str:
    """The values that a type hint allows, in words."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return " or ".join(arguments)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(map(kind_of, arguments))
    if origin is tuple and arguments[-1] is not Ellipsis:
        return f"list of {len(arguments)} {kind_of(arguments[0])}s"
    if origin in (list, tuple):
        return f"list of {kind_of(arguments[0])}s"
    return WORDS[hint]


def docstrings(kind: type) -> dict[str, str]:
    """The texts below the fields of a class, base classes included, each as one line."""
    found: dict[str, str] = {}
    for owner in reversed(kind.__mro__[:-1]):
        if dataclasses.is_dataclass(owner):
            body = typing.cast(ast.ClassDef, ast.parse(textwrap.dedent(inspect.getsource(owner))).body[0]).body
            for field, text in itertools.pairwise(body):
                if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
                    value = typing.cast(ast.Constant, text.value).value
                    found[typing.cast(ast.Name, field.target).id] = " ".join(str(value).split())
    return found


if __name__ == "__main__":
    main()
