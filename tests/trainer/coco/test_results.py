"""Detections as columns: read piece by piece, written, and refused when an entry is odd."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_preprocess.base.errors import InputError
from trainer.coco import results
from trainer.coco.results import Results, from_entries, joined, read_results

ENTRIES = [
    {"image_id": 5 + i // 3, "category_id": i % 4, "bbox": [i / 3, 0.1, 7.0, 1e-7], "score": 1 / (i + 1)}
    for i in range(9)
]
NESTED = [
    entry | {"segmentation": {"size": [1, 2], "counts": '}, {"a": ["'}, "parts": [{"x": 1}, {"x": [{}, {}]}]}
    for entry in ENTRIES
]


def read(path: Path, text: str) -> Results:
    path.write_text(text)
    return read_results(str(path), "write it again")


@pytest.mark.parametrize("piece", [1, 150, 1 << 16])
@pytest.mark.parametrize("entries", [ENTRIES, NESTED, ENTRIES[:1], []], ids=["plain", "nested", "one", "none"])
@pytest.mark.parametrize("layout", [{}, {"separators": (",", ":")}, {"indent": 2}], ids=["spaces", "compact", "lines"])
def test_a_file_is_read_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int, entries: list[Any], layout: dict[str, Any]
) -> None:
    monkeypatch.setattr(results, "PIECE", piece)
    assert read(tmp_path / "a.json", f" {json.dumps(entries, **layout)}\n").entries() == ENTRIES[: len(entries)]


ODD = [
    7,
    -0.0,
    1 << 63,
    1 << 1024,
    5.0,
    1.5,
    True,
    None,
    "1",
    "é",
    [],
    [1, 2, 3],
    [1, 2, 3, 4.5],
    [{"a": 1}, {}],
    "}, {",
]


@given(
    odd=st.lists(
        st.tuples(
            st.sampled_from([*ENTRIES[0], "note"]),
            st.sampled_from(ODD),
            st.integers(0, len(ENTRIES) - 1),
            st.booleans(),
        ),
        max_size=3,
    ),
    piece=st.sampled_from([1, 80, 300]),
    layout=st.sampled_from([{}, {"separators": (",", ":")}, {"indent": 1, "ensure_ascii": False}]),
)
def test_a_file_means_what_its_list_means(odd: list[Any], piece: int, layout: dict[str, Any]) -> None:
    """Whether entries are plain or odd, and wherever the file is cut."""
    entries = [dict(entry) for entry in ENTRIES]
    for key, value, i, there in odd:
        entries[i] = {**entries[i], key: value} if there else {k: v for k, v in entries[i].items() if k != key}
    uri = "memory://results/a.json"
    fsspec.filesystem("memory").pipe_file(uri, json.dumps(entries, **layout).encode())

    def outcome(read: Callable[[], Results]) -> Any:
        try:
            return repr(read().entries())
        except InputError as error:
            return str(error)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(results, "PIECE", piece)
        assert outcome(lambda: read_results(uri, "")) == outcome(lambda: from_entries(entries))


def test_a_broken_file_is_not_parsed_once_per_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A comma too many in the first of 5,000 entries: every later end of an entry is one at which to try again."""
    tries = []
    parsed = results._parsed
    monkeypatch.setattr(results, "_parsed", lambda text, first: tries.append(len(text)) or parsed(text, first))
    monkeypatch.setattr(results, "PIECE", 1)
    text = json.dumps(ENTRIES[:1] * 5000).replace('"score": 1.0', '"score": 1.0,', 1)
    with pytest.raises(InputError, match="not a JSON list of predictions"):
        read(tmp_path / "a.json", text)
    assert sum(tries) < 5 * len(text)


@pytest.mark.parametrize("rows", [2, 3, 100])
def test_what_is_written_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    monkeypatch.setattr(results, "ROWS", rows)
    found = from_entries(ENTRIES)
    assert json.loads(found.to_json()) == ENTRIES
    assert read(tmp_path / "a.json", found.to_json().decode()).entries() == ENTRIES
    assert json.loads(joined([]).to_json()) == []


@pytest.mark.parametrize("text", ["", "{}", '{"a": []}', "[", "[{}", '[{"image_id": 1,]', "[] []", "[NaN]", "7"])
def test_what_is_not_a_json_list_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match=r"a\.json: not a JSON list of predictions .*write it again"):
        read(tmp_path / "a.json", text)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bbox": [1, 2, 3]}, "prediction 7: bbox .* not all finite"),
        ({"bbox": [1, 2, 3, "4"]}, "prediction 7: bbox"),
        ({"score": None}, "prediction 7: bbox"),
        ({"image_id": "7"}, "prediction 7: image_id is '7'"),
        ({"image_id": 1.5}, r"prediction 7: image_id is 1\.5"),
        ({"category_id": math.inf}, "prediction 7: category_id is inf"),
        ({"category_id": 1 << 64}, "prediction 7: category_id is"),
        ({"image_id": True}, "prediction 7: image_id is True"),
        ({"image_id": [1, 2]}, r"prediction 7: image_id is \[1, 2\]"),
        ({"score": [1.0]}, "prediction 7: bbox"),
        ({"score": 1 << 1024}, "prediction 7: bbox"),
    ],
)
def test_an_odd_entry_is_named(change: dict[str, Any], message: str) -> None:
    entries = [entry | change if i == 7 else entry for i, entry in enumerate(ENTRIES)]
    with pytest.raises(InputError, match=message):
        from_entries(entries)
    with pytest.raises(InputError, match=message):
        from_entries(entries[4:], first=4)


def test_an_entry_without_a_key_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "PIECE", 1)
    with pytest.raises(InputError, match=r"prediction 9: .* lacks"):
        read(tmp_path / "a.json", json.dumps([*ENTRIES, {"image_id": 1}]))
    with pytest.raises(InputError, match="prediction 0: 7 lacks"):
        read(tmp_path / "a.json", "[7]")


def test_whole_numbers_as_floats_are_ids() -> None:
    floats = [entry | {"image_id": float(entry["image_id"])} for entry in ENTRIES]
    found = from_entries(floats)
    assert found.image_id.dtype == np.int64
    assert found.entries() == ENTRIES


def test_renumbered() -> None:
    found = from_entries(ENTRIES).renumbered({3: 30, 0: 2})
    assert found.entries() == [
        entry | {"category_id": {3: 30, 0: 2}[entry["category_id"]]}
        for entry in ENTRIES
        if entry["category_id"] in (0, 3)
    ]
    assert len(from_entries(ENTRIES).renumbered({})) == 0
