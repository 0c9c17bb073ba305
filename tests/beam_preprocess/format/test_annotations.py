"""Parsing of COCO annotation files."""

import gzip
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_preprocess.base.errors import InputError
from beam_preprocess.format.annotations import _StrictJson, area_range, class_map, load_annotations
from beam_preprocess.format.manifest import Category

IMAGE = {"id": 5, "file_name": "a.jpg", "height": 10, "width": 20}
BOX = {"id": 1, "image_id": 5, "category_id": 3, "bbox": [1, 2, 3.5, 4]}
CATEGORY = {"id": 3, "name": "three"}
VALID: dict[str, Any] = {"images": [IMAGE], "annotations": [BOX], "categories": [CATEGORY]}


def load(folder: Path, text: str | bytes) -> Any:
    path = folder / "annotations.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_annotations(str(path))


def test_reads_the_fields_of_each_section(tmp_path: Path) -> None:
    crowd = {**BOX, "id": 2, "iscrowd": 1, "bbox": [0, 0, 1, 1], "segmentation": {"counts": [1], "size": [10, 20]}}
    coco = load(tmp_path, json.dumps({"info": {"images": [1]}, **VALID, "annotations": [BOX, crowd]}))
    assert coco.image_ids.tolist() == [5]
    assert coco.file_names == ["a.jpg"]
    assert coco.image_sizes.tolist() == [[10, 20]]
    assert coco.annotation_ids.tolist() == [1, 2]
    assert coco.annotation_image_ids.tolist() == [5, 5]
    assert coco.annotation_category_ids.tolist() == [3, 3]
    assert coco.bboxes.tolist() == [[1, 2, 3.5, 4], [0, 0, 1, 1]]
    assert coco.crowd.tolist() == [False, True]
    assert coco.categories == ((3, "three"),)


def test_sections_may_come_in_any_order(tmp_path: Path) -> None:
    coco = load(tmp_path, json.dumps(dict(reversed(VALID.items()))))
    assert (len(coco.image_ids), len(coco.annotation_ids), len(coco.categories)) == (1, 1, 1)


def test_the_content_digest_follows_every_byte(tmp_path: Path) -> None:
    first = load(tmp_path, json.dumps(VALID)).content_digest
    assert load(tmp_path, json.dumps(VALID)).content_digest == first
    assert load(tmp_path, json.dumps(VALID) + " ").content_digest != first


def test_no_annotations_is_a_data_set_without_boxes(tmp_path: Path) -> None:
    coco = load(tmp_path, json.dumps({**VALID, "annotations": []}))
    assert coco.bboxes.shape == (0, 4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("not json", "not valid JSON"),
        (json.dumps(VALID)[:-40], "not valid JSON"),  # truncated
        (json.dumps(VALID).encode("utf-8-sig"), "begins with a byte order mark"),
        (gzip.compress(json.dumps(VALID).encode()), "is a gzip file; decompress it"),
        (json.dumps({**VALID, "annotations": [{**BOX, "iscrowd": "0"}]}), r"annotations\[0\]: 'iscrowd' is '0'"),
        (b"\xff\xd8\xff\xe0 a JPEG", "not valid JSON"),
        (json.dumps([VALID]), "not an object"),
        ("3", "not an object"),
        ("{}", "lacks images, annotations, categories"),
        (json.dumps({k: v for k, v in VALID.items() if k != "annotations"}), "lacks annotations"),
        (json.dumps({k: v for k, v in VALID.items() if k != "categories"}), "lacks categories"),
        (json.dumps({**VALID, "images": []}), "'images' is empty"),
        (json.dumps({**VALID, "categories": []}), "'categories' is empty"),
        (json.dumps({**VALID, "images": {"5": IMAGE}}), "'images' is not a list"),
        (json.dumps({**VALID, "images": ["a.jpg"]}), r"images\[0\]: is 'a.jpg', not an object"),
        (json.dumps({**VALID, "images": [{**IMAGE, "id": "five"}]}), r"images\[0\]: 'id' is 'five'"),
        (json.dumps({**VALID, "images": [{"id": 1, "height": 1, "width": 1}]}), r"'file_name' is missing"),
        (json.dumps({**VALID, "images": [{"id": 1, "file_name": "a"}]}), r"'height' is missing"),
        (json.dumps({**VALID, "annotations": [{**BOX, "image_id": None}]}), "'image_id' is missing"),
        (json.dumps({**VALID, "categories": [{"id": 3}]}), "'name' is missing"),
        (json.dumps({**VALID, "images": [{**IMAGE, "id": 1 << 63}]}), "annotations.json"),
    ],
)
def test_what_is_not_coco_is_an_input_error_of_one_line(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        load(tmp_path, text)
    assert "\n" not in str(error.value)
    assert "annotations.json" in str(error.value)


def test_a_missing_file_and_a_folder_are_input_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such annotation file"):
        load_annotations(str(tmp_path / "nowhere.json"))
    with pytest.raises(InputError, match="cannot be read as a file"):
        load_annotations(str(tmp_path))


@pytest.mark.parametrize(
    ("bbox", "length", "values"),
    [
        ([1, 2, 3, 4], 4, [1, 2, 3, 4]),
        ([1, 2, 3], 3, [0, 0, 0, 0]),
        ([], 0, [0, 0, 0, 0]),
        (None, -1, [0, 0, 0, 0]),
        ("1,2,3,4", -1, [0, 0, 0, 0]),
        ([1, 2, "3", 4], -1, [0, 0, 0, 0]),
        ([1, math.nan, 3, -math.inf], 4, [1, math.nan, 3, math.nan]),  # as Python's json writes them
        ([1, 2, None, 4], 4, [1, 2, math.nan, 4]),
    ],
)
def test_malformed_boxes_are_kept_for_the_validation(tmp_path: Path, bbox: Any, length: int, values: list) -> None:
    coco = load(tmp_path, json.dumps({**VALID, "annotations": [{**BOX, "bbox": bbox}, BOX]}))
    assert coco.bbox_lengths.tolist() == [length, 4]
    np.testing.assert_array_equal(coco.bboxes, [values, [1, 2, 3.5, 4]])


class Trickle:
    """A stream that gives a few bytes at a time."""

    def __init__(self, data: bytes, step: int) -> None:
        self.data, self.step = data, step

    def read(self, size: int) -> bytes:
        out, self.data = self.data[: self.step], self.data[self.step :]
        return out


@given(
    values=st.lists(st.one_of(st.floats(width=32), st.integers(-9, 9), st.text("NaI, f", max_size=9)), max_size=8),
    step=st.integers(1, 12),
    indent=st.sampled_from([None, 3]),
)
def test_non_finite_numbers_become_null_wherever_reads_end(values: list, step: int, indent: int | None) -> None:
    stream = _StrictJson(Trickle(json.dumps({"v": values}, indent=indent).encode(), step))  # type: ignore[arg-type]
    text = b"".join(iter(stream.read, b""))
    expected = [None if isinstance(v, float) and not math.isfinite(v) else v for v in values]
    found = json.loads(text)["v"]
    for value, wanted in zip(found, expected, strict=True):
        # A string may hold ", NaN,": there the replacement is harmless but visible.
        assert value == wanted or (isinstance(wanted, str) and "NaN" in wanted)


@pytest.mark.parametrize(
    ("ids", "mode", "indices", "channels"),
    [
        ([90, 3, 18], "rank", {3: 0, 18: 1, 90: 2}, 3),
        ([90, 3, 18], "id-minus-1", {3: 2, 18: 17, 90: 89}, 90),
        ([0, 5], "rank", {0: 0, 5: 1}, 2),
    ],
)
def test_class_indices(ids: list[int], mode: Any, indices: dict[int, int], channels: int) -> None:
    categories, num_classes = class_map([(i, f"c{i}") for i in ids], mode)
    assert categories == tuple(Category(index=x, id=i, name=f"c{i}") for i, x in sorted(indices.items()))
    assert num_classes == channels


@pytest.mark.parametrize(
    ("ids", "mode", "message"), [([3, 3], "rank", "more than once"), ([0, 1], "id-minus-1", "id 0 has no class")]
)
def test_impossible_class_maps(ids: list[int], mode: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        class_map([(i, "name") for i in ids], mode)


@pytest.mark.parametrize(
    ("box", "name"), [([0, 0, 31, 32], "small"), ([0, 0, 32, 32], "medium"), ([0, 0, 96, 96], "large")]
)
def test_area_ranges(box: list[float], name: str) -> None:
    assert area_range(box) == name
