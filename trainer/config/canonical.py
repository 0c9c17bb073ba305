"""A configuration's sections as the stages take them: each stage gets what it reads, in canonical form.

A stage's result is cached by its inputs. So its text must not change with what it doesn't read, nor with the order of
keys, comments, or defaults that are written out. No TensorFlow: keys and defaults come from the generated table.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

from beam_preprocess.base import yaml
from beam_preprocess.base.config_keys import Key, check_names, known_keys
from beam_preprocess.base.errors import InputError
from trainer.config.sections import EXPERIMENT_SECTIONS, parse_config

NETWORK_KEYS = ("image_size", "stride")
"""Keys of `preprocess:` that building the network needs."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class StageConfigs:
    """One YAML text per stage, which `parse_config` reads."""

    preprocess: str
    """`preprocess:`, with `max_reject_fraction`: it shapes no record, but decides whether there are any, and a reused
    result would leave a stricter limit unjudged."""
    train: str
    """`task:`, `trainer:` and `runtime:` with the target's, and `NETWORK_KEYS`."""
    export: str
    """`export:`."""
    gate: str
    """`gate:`."""


def stage_configs(text: str, runtime: str = "", where: str = "config") -> StageConfigs:
    """Splits a configuration.

    Args:
      text: YAML that stands alone.
      runtime: the target's keys, in a form that --params_override takes; they win over the configuration's.
      where: the text's origin, for messages.

    Raises:
      InputError: the configuration is wrong, as far as that can be known without TensorFlow.
    """
    config = parse_config(text, where)
    experiment = _merged(config.experiment, _overrides(runtime) if runtime else {})
    check_names(experiment, where)
    views = _plain(config.preprocess)
    train = {
        "preprocess": {key: views[key] for key in NETWORK_KEYS},
        **{name: _canonical(experiment[name], name) for name in EXPERIMENT_SECTIONS},
    }
    return StageConfigs(
        preprocess=yaml.dump({"preprocess": views}),
        train=yaml.dump({name: values for name, values in train.items() if values}),
        export=yaml.dump({"export": _plain(config.export)}),
        gate=yaml.dump({"gate": _plain(config.gate)}),
    )


def _plain(section: Any) -> dict[str, Any]:
    """Every key of a parsed section, sorted, in the types of YAML."""
    values = dataclasses.asdict(section)
    return {key: list(value) if isinstance(value := values[key], tuple) else value for key in sorted(values)}


def _overrides(text: str) -> dict[str, Any]:
    values: Any = None
    with contextlib.suppress(InputError):  # key=value,… need not be YAML
        values = yaml.load(text, "runtime")
    if not isinstance(values, dict):
        from trainer.config.overrides import parse_override  # imports TensorFlow

        values = parse_override(text, "runtime")
    for name, section in values.items():
        if name not in EXPERIMENT_SECTIONS or not isinstance(section, dict):
            raise InputError(
                f"runtime: {name}: use sections {', '.join(EXPERIMENT_SECTIONS)}, such as runtime.num_gpus=1"
            )
    return values


def _merged(below: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in values.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def _canonical(values: Mapping[str, Any], path: str) -> dict[str, Any]:
    """The keys that differ from their defaults, sorted; without the sections that a `type` key doesn't choose."""
    kind = _keys().get(f"{path}.type")
    chosen = values.get("type", kind.default) if kind else None
    unused = [name for name in kind.options if name != chosen] if kind else []
    found = {}
    for name in sorted(set(values).difference(unused)):
        value, below = values[name], f"{path}.{name}"
        key = _keys().get(below)
        if key is not None and key.type == "mapping or null":
            if value is not None:  # an empty one switches something on, so it is written out
                found[name] = _typed(_filled(value, below), below)
        elif key is None and isinstance(value, Mapping):
            if section := _canonical(value, below):
                found[name] = section
        # A key without an entry has no effect; training refuses it.
        elif key is None or not _equal(_typed(value, below), _typed(key.default, below)):
            found[name] = _typed(value, below)
    return found


def _filled(values: Any, path: str) -> Any:
    if not isinstance(values, Mapping):
        return values
    defaults = {
        row.key.removeprefix(f"{path}."): row.default for row in known_keys().keys if row.key.startswith(f"{path}.")
    }
    return dict(sorted((defaults | dict(values)).items()))


def _typed(value: Any, path: str) -> Any:
    """The value with floats where the key takes any number, so that 1 and 1.0 are one value."""
    if isinstance(value, Mapping):
        return {name: _typed(item, f"{path}.{name}") for name, item in value.items()}
    key = _keys().get(path)
    words = key.type.removeprefix("list of ").split(" or ") if key else []
    if "number" not in words and "numbers" not in words:
        return value
    if isinstance(value, list):
        return [float(item) if type(item) is int else item for item in value]
    return float(value) if type(value) is int else value


def _equal(value: Any, other: Any) -> bool:
    """Equal in value and type: true is not 1."""
    return type(value) is type(other) and bool(value == other)


@functools.cache
def _keys() -> dict[str, Key]:
    return {row.key: row for row in known_keys().keys}
