"""Streaming the lists of a JSON object."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_preprocess.format.json_sections import JsonProblem, Sections
from beam_preprocess.format.reasons import Reason


class Trickle:
    """A stream that gives a few bytes at a time."""

    def __init__(self, data: bytes, step: int) -> None:
        self.data, self.step = data, step

    def read(self, size: int) -> bytes:
        out, self.data = self.data[: self.step], self.data[self.step :]
        return out


def lists(text: str | bytes, step: int = 1 << 20, wanted: tuple[str, ...] = ("a", "b")) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {section: [] for section in wanted}
    for section, entry in Sections(Trickle(text if isinstance(text, bytes) else text.encode(), step), wanted):
        found[section].append(entry)
    return found


awkward = st.text('"\\[]{},:ab é', max_size=6)
value = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-99, 99), awkward),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(awkward, inner, max_size=3)),
    max_leaves=8,
)


@given(
    a=st.lists(value, max_size=4),
    b=st.lists(value, max_size=4),
    other=value,
    step=st.integers(1, 40),
    form=st.sampled_from([{}, {"indent": 2}, {"ensure_ascii": False}, {"separators": (",", ":")}]),
)
def test_the_entries_are_those_of_json_wherever_reads_end(a: list, b: list, other: Any, step: int, form: dict) -> None:
    text = json.dumps({"x": other, "a": a, "[": other, "b": b, '"\\': other}, **form)
    assert lists(text, step) == {"a": a, "b": b}


@given(cut=st.integers(1, 50), step=st.integers(1, 40))
def test_a_cut_file_is_truncated_wherever_it_is_cut(cut: int, step: int) -> None:
    text = json.dumps({"a": [{"x": [1, "]}"]}, 2], "b": [{"y": "\\"}], "c": 1})
    with pytest.raises(JsonProblem) as problem:
        lists(text[:-cut], step)
    assert problem.value.reason is Reason.TRUNCATED_FILE


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("no json", Reason.NOT_JSON),
        ("no json" * 300_000, Reason.NOT_JSON),
        (b"\xff\xd8\xff\xe0", Reason.NOT_JSON),
        ('{"a": [1 2], "b": []}', Reason.NOT_JSON),
        ('{"a": [1}, "b": []}', Reason.NOT_JSON),
        ('{"a": [1]], "b": []}', Reason.NOT_JSON),
        ('{"a": []} {"b": []}', Reason.NOT_JSON),
        ('{"a": [], "b": [], }', Reason.NOT_JSON),
        ('{"a": [], "b" []}', Reason.NOT_JSON),
        (b'{"a": ["\xff"], "b": []}', Reason.NOT_JSON),
        (b'{"\xe9": [], "a": [], "b": []}', Reason.NOT_JSON),
        ("[]", Reason.MALFORMED_FILE),
        ("3", Reason.MALFORMED_FILE),
        ('{"a": [], "b": 3}', Reason.MALFORMED_FILE),
        ('{"a": [], "b": {}}', Reason.MALFORMED_FILE),
        ('{"a": [], "b": [], "a": []}', Reason.MALFORMED_FILE),
        ('{"a": [], "c": {"b": []}}', Reason.MISSING_SECTION),
        ("{}", Reason.MISSING_SECTION),
    ],
)
def test_what_is_wrong_has_a_reason(text: str | bytes, reason: Reason) -> None:
    with pytest.raises(JsonProblem) as problem:
        lists(text)
    assert problem.value.reason is reason
    assert len(str(problem.value)) < 200


@pytest.mark.parametrize("step", [1, 7, 1 << 20])
def test_an_error_names_the_entry_and_the_key(step: int) -> None:
    deep = '{"a": [], "b": [1, {"x": 2}, {"y": ' + "[" * 150 + "]" * 150 + "}]}"
    with pytest.raises(JsonProblem, match=r"b\[2\]: ('y' )?nests more than 100 brackets"):
        lists(deep, step)
    with pytest.raises(JsonProblem, match=r"b\[1\]: "):
        lists('{"a": [3, 4], "b": [1, {"x": 2 3}]}', step)


def test_other_lists_may_be_deep() -> None:
    assert lists('{"other": ' + "[" * 5000 + "]" * 5000 + ', "a": [1], "b": []}') == {"a": [1], "b": []}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ('{"a": [%s], "b": []}', Reason.NOT_JSON),
        ('{"a": [], "b": [], "c": %s}', Reason.NOT_JSON),
    ],
)
def test_a_number_of_too_many_digits(value: str, reason: Reason) -> None:
    with pytest.raises(JsonProblem) as problem:
        lists(value % ("9" * 5000))
    assert problem.value.reason is reason
    assert len(str(problem.value)) < 200
