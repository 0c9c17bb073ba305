"""The fast way to read annotations: whatever it takes, the way entry by entry takes too, and finds the same values."""

import hashlib
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beam_preprocess.base.errors import InputError
from beam_preprocess.format import annotation_stream, annotations, json_sections, plain_lists
from beam_preprocess.format.annotations import load_annotations
from beam_preprocess.format.plain_lists import NotPlain

URI = "memory://plain_lists/annotations.json"
IMAGE = {"id": "5", "file_name": '"a.jpg"', "height": "10", "width": "20"}
BOX = {"id": "1", "image_id": "5", "category_id": "3", "bbox": "[1, 2.25, 3.5, 4e-7]"}
CATEGORY = {"id": "3", "name": '"three"'}
OTHER_KEYS = {"area": "7.5", "iscrowd": "1", "segmentation": "[[1, 2, 3.5], [4]]", "note": '"}, {"'}
NUMBERS = ["-0", "-0.0", "1e3", "0.1", "5e-324", "1e-400", "9007199254740993", "123456789012345678", "1e22", "8.5e99"]
TEXTS = ['"no, NaN"', '"\\u00e9\\ud83d\\ude00\\u0000"', '"é"', '"\\""', '"\\\\"']
NESTED = [
    '"\\"}, {"',
    "[]",
    "{}",
    '[{"a": 1}, {"id": [2]}]',
    "[1, 2, 3]",
    "[1, 2, 3, null]",
    "[1, 2, 3, 4, 5]",
    '[1, 2, 3, "4"]',
]
ODD = [
    "NaN",
    "-Infinity",
    "null",
    "true",
    "2",
    "7.0",
    "1.5",
    '"1"',
    *("9" * n for n in (19, 25, 400)),
    "1e400",
    "1E+99",
]
BROKEN = ["01", "1.", "[1,]", '{"a": 1,}', '"\\x"', '"\\ud800"', '"\t"', "1 2", "1]", "[1", '"', "\x0b1"]


def content(sections: dict[str, list[dict[str, str]]], between: str = ", ") -> str:
    """A file of entries whose values are JSON text, valid or not."""
    lists = []
    for name, entries in sections.items():
        objects = between.join("{" + between.join(f'"{key}": {entry[key]}' for key in entry) + "}" for entry in entries)
        lists.append(f'"{name}": [{objects}]')
    return "{" + between.join(lists) + "}"


def entry_like(plain: dict[str, str], other: dict[str, str]) -> st.SearchStrategy[dict[str, str]]:
    """An entry in any order of keys, in which at most one value is of another kind, and a key may be missing."""
    values = st.sampled_from([*NUMBERS, *TEXTS, *NESTED, *ODD, *BROKEN])
    keys = st.permutations([*plain, *other]).flatmap(lambda keys: st.integers(2, len(keys)).map(lambda n: keys[:n]))
    whole = st.permutations(list(plain)).map(lambda keys: {key: plain[key] for key in keys})
    changed = st.builds(
        lambda keys, value: {**{key: {**plain, **other}[key] for key in keys}, keys[0]: value}, keys, values
    )
    extended = st.builds(lambda key, value: {**plain, key: value}, st.sampled_from(sorted(other) or ["x"]), values)
    return st.one_of(whole, extended, changed)


def outcome(data: bytes, step: int, fast: bool) -> tuple[str | list[Any], bool]:
    """The arrays or the message, and whether the fast way reached its end."""
    fsspec.filesystem("memory").pipe_file(URI, data)
    reached = False

    def watched(uri: str, digest: Any) -> Any:
        nonlocal reached
        if not fast:
            raise NotPlain
        yield from plain_lists.plain_lists(uri, digest)
        reached = True

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(annotations, "plain_lists", watched)
        patch.setattr(json_sections, "CHUNK", step)
        patch.setattr(annotation_stream, "_CHUNK", step)
        try:
            found = load_annotations(URI)
        except InputError as error:
            return str(error), reached
    values = (getattr(found, field.name) for field in fields(found))
    return [(v.dtype, v.shape, v.tobytes()) if isinstance(v, np.ndarray) else v for v in values], reached


@settings(max_examples=150)
@given(
    images=st.lists(entry_like(IMAGE, {}), min_size=1, max_size=3),
    boxes=st.lists(entry_like(BOX, OTHER_KEYS), max_size=5),
    categories=st.lists(entry_like(CATEGORY, {}), min_size=1, max_size=2),
    order=st.permutations(["images", "annotations", "categories"]),
    between=st.sampled_from([", ", ",", ",\n  ", " ,"]),
    step=st.sampled_from([9, 40, 1 << 16]),
    cut=st.one_of(st.none(), st.integers(0, 600)),
)
def test_both_ways_agree(
    images: list, boxes: list, categories: list, order: list, between: str, step: int, cut: int | None
) -> None:
    sections = {"images": images, "annotations": boxes, "categories": categories}
    data = content({name: sections[name] for name in order}, between).encode()[:cut]
    assert outcome(data, step, fast=True)[0] == outcome(data, step, fast=False)[0]


@pytest.mark.parametrize("step", [9, 40, 1 << 16])
@pytest.mark.parametrize("between", [", ", ",", " ,\n "])
def test_what_is_plain_is_read_the_fast_way(step: int, between: str) -> None:
    boxes = [{**BOX, "area": number, "segmentation": f"[[{number}]]"} for number in NUMBERS]
    boxes += [{**BOX, "bbox": f"[{', '.join(NUMBERS[i : i + 4])}]", "note": TEXTS[i], "iscrowd": "1"} for i in range(4)]
    images = [{**IMAGE, "file_name": text} for text in TEXTS]
    data = content({"images": images, "annotations": boxes, "categories": [CATEGORY] * 3}, between).encode()
    found, reached = outcome(data, step, fast=True)
    assert (found, reached) == (outcome(data, step, fast=False)[0], True)


def plain(path: Path, data: bytes) -> list[tuple[str, list[Any]]]:
    path.write_bytes(data)
    return list(plain_lists.plain_lists(str(path), hashlib.sha256()))


@pytest.mark.parametrize(
    "value", [b"9" * 19, b"[1, -" + b"9" * 30 + b"]", b"1e400", b"[2.5E+0308]", b'"\xff"', b"1e1000"]
)
def test_skipped_values_are_looked_at_too(tmp_path: Path, value: bytes) -> None:
    """The way entry by entry refuses these, in whatever key they are."""
    data = content({"images": [IMAGE], "annotations": [{**BOX, "note": "0"}], "categories": [CATEGORY]}).encode()
    assert len(plain(tmp_path / "a.json", data)) == 3
    with pytest.raises(NotPlain):
        plain(tmp_path / "b.json", data.replace(b'"note": 0', b'"note": ' + value))


def test_entries_are_not_gathered_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_lists, "_LONGEST", 1 << 19)
    data = {"images": [], "categories": [], "annotations": [{"segmentation": [1] * 500_000}]}
    with pytest.raises(NotPlain):
        plain(tmp_path / "a.json", json.dumps(data).encode())
