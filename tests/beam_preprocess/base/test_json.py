"""Strict reading into dataclasses."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from beam_preprocess.base import json as strict
from beam_preprocess.base.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Inner:
    name: str
    counts: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class Outer:
    size: tuple[int, int]
    scale: float
    value: float | int | str | None
    inner: Inner | None
    many: tuple[Inner, ...] = ()
    flag: bool = False
    kind: Literal["a", "b"] = "a"
    free: dict[str, Any] = field(default_factory=dict)


GOOD = '{"size": [1, 2], "scale": 3, "value": null, "inner": {"name": "x", "counts": {"a": 1}}}'


def test_values_are_built_to_their_types() -> None:
    read = strict.build(Outer, strict.parse(GOOD, "f", "fix"), "f", "fix", partial=True)
    assert read == Outer(size=(1, 2), scale=3.0, value=None, inner=Inner(name="x", counts={"a": 1}))
    assert type(read.scale) is float


@pytest.mark.parametrize(("value", "kind"), [("1", int), ("1.5", float), ('"x"', str), ("null", type(None))])
def test_a_union_keeps_the_exact_type(value: str, kind: type) -> None:
    text = GOOD.replace('"value": null', f'"value": {value}')
    assert type(strict.build(Outer, strict.parse(text, "f", "fix"), "f", "fix", partial=True).value) is kind


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"scale": 3', '"scale": "3"', "f: scale: is '3', a text; a number is needed; fix"),
        ('"scale": 3', '"scale": true', "f: scale: is True, true or false; a number is needed"),
        ('"scale": 3', '"scal": 3', r"f: unknown key 'scal'; did you mean 'scale'\?; fix"),
        ('"scale": 3, ', "", "f: lacks scale; fix"),
        ("[1, 2]", "[1]", r"f: size: \[1\] has 1 entries; 2 are needed"),
        ("[1, 2]", "[1, 2.5]", r"f: size\[1\]: is 2.5, a number; a whole number is needed"),
        ("[1, 2]", "{}", "f: size: is {}, an object; a list is needed"),
        ('{"a": 1}', '{"a": "b"}', "f: inner: counts.a: is 'b', a text; a whole number is needed"),
        ('"value": null', '"value": []', r"f: value: is \[\], a list; a number or a whole number or a text or null is"),
        ('"value": null', '"value": null, "kind": "c"', "f: kind: is 'c'; use one of 'a', 'b'; fix"),
        ('"value": null', '"value": null, "flag": 1', "f: flag: is 1, a whole number; true or false is needed"),
        (
            '{"name": "x", "counts": {"a": 1}}',
            "[]",
            r"f: inner: is \[\], a list; (an object|.*Inner.*) or null is needed",
        ),
    ],
)
def test_a_wrong_value_is_named(old: str, new: str, message: str) -> None:
    assert old in GOOD
    with pytest.raises(InputError, match=message):
        strict.build(Outer, strict.parse(GOOD.replace(old, new), "f", "fix"), "f", "fix", partial=True)


@pytest.mark.parametrize(
    "text", ["", "{", "[" * 100_000, '{"a": ' + "1" * 5000 + "}"], ids=["empty", "cut", "deep", "long"]
)
def test_text_that_is_not_json_is_one_line(text: str) -> None:
    with pytest.raises(InputError, match=r"^f: not JSON \([^\n]+\); fix$"):
        strict.parse(text, "f", "fix")


def test_nan_is_read() -> None:
    assert math.isnan(strict.parse("NaN", "f", "fix"))


@pytest.mark.parametrize("found", ["2", '"1"', "true", "null"])
def test_another_schema_version_is_refused(found: str) -> None:
    with pytest.raises(InputError, match="this code reads 1"):
        strict.read(Inner, f'{{"schema_version": {found}, "name": "x", "counts": {{}}}}', "f", "fix", schema_version=1)


def test_whole_files_are_read() -> None:
    text = '{"schema_version": 1, "name": "x", "counts": {}}'
    assert strict.read(Inner, text, "f", "fix", schema_version=1) == Inner(name="x", counts={})
    with pytest.raises(InputError, match="f: is a list, not an object; fix"):
        strict.read(Inner, "[]", "f", "fix", schema_version=1)
