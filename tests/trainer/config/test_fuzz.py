"""A damaged configuration, of any kind: `centernet config check` ends in one line or finds it valid."""

import copy
import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings

from beam_preprocess.base import yaml
from beam_preprocess.base.config_keys import known_keys
from beam_preprocess.base.config_text import resolve
from beam_preprocess.base.errors import InputError
from trainer.config.checks import warnings
from trainer.config.experiment import build_experiment
from trainer.config.sections import CONFIGS, parse_config

CASES = 6 * settings().max_examples
SLOT = "SLOT"
SHIPPED = [yaml.load(resolve(path.stem).text, path.stem) for path in sorted(CONFIGS.glob("*.yaml"))]
KEYS = [key.key for key in known_keys().keys]
VALUES = [
    *("1", "0", "-1", "1.5", "1e-3", "1e308", "-1e308", "1e999", ".inf", "-.inf", ".nan", "0x10", "1_000", "1:30"),
    *("9" * 400, "9" * 5000, f"-{'9' * 400}", str(2**63 - 1), str(2**63), "100000000000", "true", "null", "~"),
    *("''", "x", "'1'", "'%s'", "'{x}'", "a.b", "=", "<<", "float16", "dynamic", "gs://x", '"\\ud800"', '"\\0"'),
    *("[]", "[1]", "[1, 2, 3]", "['a']", "[[1]]", "[null]", "[{}]", "[1, x]", "[" * 20 + "]" * 20, "[" * 500),
    *("{}", "{a: 1}", "{1: 2}", "{~: 1}", "{[a]: b}", "{adam: 1}", "{type: adam}", "{type: ''}", "{type: {}}"),
    *("{type: [a]}", "{type: null}", "2024-02-30", "2024-02-03", "!!python/name:os.system x", "!!binary AA==", "!x 1"),
    *("&a [*a]", "&a {b: *a}", "*a", "| x", "> x", "`", "@", "%", "? x"),
]
"""YAML for values and keys: wrong types, dates, tags, aliases to themselves, large numbers, deep nesting."""


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in entries:
        yield from paths(entry, (*path, key))


def damaged(draw: random.Random) -> str:
    """The text of a shipped configuration with another value or key, or with other characters."""
    values = copy.deepcopy(draw.choice(SHIPPED))
    fragment = draw.choice(VALUES)
    kind = draw.choice(("value", "known key", "new key", "text"))
    if kind == "text":
        text = yaml.dump(values)
        at = draw.randrange(len(text))
        end = at + draw.choice((0, 1, 20, len(text)))
        return text[:at] + draw.choice((fragment, "", draw.choice("&*!|>%@`?:-{}[],#'\"\\\x00\t\n ä"))) + text[end:]
    path = tuple(draw.choice(KEYS).split(".")) if kind == "known key" else draw.choice(list(paths(values)))
    place = values
    for key in path[:-1]:
        if kind == "known key" and not isinstance(place.get(key), dict):
            place[key] = {}
        place = place[key]
    if kind == "new key" and isinstance(place, dict):
        place[SLOT] = place.pop(path[-1])
    else:
        place[path[-1]] = SLOT
    return yaml.dump(values).replace(SLOT, fragment)


def check(text: str) -> None:
    """What `centernet config check` does with a file's text."""
    warnings(build_experiment(parse_config(text, "run.yaml")))


def test_a_damaged_configuration_is_refused_in_one_line_or_valid() -> None:
    draw = random.Random(0)
    valid, messages = 0, []
    for _ in range(CASES):
        text = damaged(draw)
        try:
            check(text)
            valid += 1
        except InputError as error:
            messages.append(str(error))
        except Exception as error:
            raise AssertionError(f"not one line, but {error!r} for:\n{text}") from error
    assert valid > CASES // 10
    assert len(messages) > CASES // 10
    assert [m for m in messages if "\n" in m or len(m) > 1000 or not m.startswith("run.yaml: ")] == []


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("trainer.train_steps", "{}", "trainer.train_steps: {} is a mapping; a whole number is needed"),
        ("trainer.optimizer_config.optimizer.type", "[a]", "optimizer.type: ['a']; use one of"),
        ("trainer.optimizer_config.optimizer.type", "{}", "optimizer.type: {}; use one of"),
        ("task.model.head.input_levels", "{}", "input_levels: {} is a mapping; a list"),
        ("task.model.backbone.hourglass.model_id", "{}", "model_id: {} is a mapping; a whole number is needed"),
        ("task.model.backbone.hourglass.num_hourglasses", str(2**63 - 1), "out of range; use 1 to 16"),
        ("runtime.loss_scale", "{}", "runtime.loss_scale: {} is a mapping; a text or a number or null is needed"),
        ("runtime.loss_scale", "[1]", "runtime.loss_scale: [1] is a list"),
        ("trainer.optimizer_config.learning_rate.cosine.decay_steps", "{}", "decay_steps: {} is a mapping"),
    ],
)
def test_kinds_that_ended_in_a_traceback(key: str, value: str, problem: str) -> None:
    values = copy.deepcopy(SHIPPED[0])
    place = values
    *above, name = key.split(".")
    for part in above:
        place = place.setdefault(part, {})
    place[name] = SLOT
    with pytest.raises(InputError) as caught:
        check(yaml.dump(values).replace(SLOT, value))
    assert problem in str(caught.value)
