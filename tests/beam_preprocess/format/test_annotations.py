"""Parsing of COCO annotation files."""

import gzip
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from beam_preprocess.base.errors import InputError
from beam_preprocess.format.annotations import (
    area_range,
    class_map,
    load_annotations,
    of_images,
    scorable,
)
from beam_preprocess.format.manifest import Category
from beam_preprocess.format.reasons import UnusableFile

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
        (gzip.compress(json.dumps(VALID).encode(), mtime=0), "is a gzip file; decompress it"),
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
        (
            json.dumps({**VALID, "images": [{"id": 1, "height": 1, "width": 1}]}),
            r"images\[0\]: 'file_name' is missing \(the keys are id, height, width\); write",
        ),
        (json.dumps({**VALID, "images": [{"id": 1, "file_name": "a"}]}), r"'height' is missing"),
        (json.dumps({**VALID, "annotations": [{**BOX, "image_id": None}]}), "'image_id' is null"),
        (json.dumps({**VALID, "categories": [{"id": 3}]}), "'name' is missing"),
        (json.dumps({**VALID, "images": [{**IMAGE, "id": 1 << 63}]}), r"images\[0\]: a whole number is beyond 64 bits"),
        (
            json.dumps({**VALID, "images": [{**IMAGE, "id": 1e300}]}),
            r"images\[0\]: 'id' is 1e\+300, not a whole number",
        ),
        (json.dumps({**VALID, "images": [IMAGE, {**IMAGE, "id": 1.5}]}), r"images\[1\]: 'id' is 1.5, not a whole"),
        (json.dumps({**VALID, "annotations": [{**BOX, "id": "b7"}]}), r"annotations\[0\]: 'id' is 'b7', .*; number"),
        (
            json.dumps({**VALID, "images": [{**IMAGE, "height": "10"}]}),
            "'height' is '10', .* write the pixels as a number",
        ),
        (json.dumps({**VALID, "categories": [{"id": True, "name": "x"}]}), r"categories\[0\]: 'id' is True"),
        (json.dumps({**VALID, "images": [{**IMAGE, "x": "é"}]}, ensure_ascii=False).encode("latin-1"), "not UTF-8"),
        (json.dumps({**VALID, "é": []}, ensure_ascii=False).encode("latin-1"), "not valid JSON .the key"),
        (
            json.dumps({**VALID, "annotations": [{"id": 1, "image_id": 5, "category_id": 3, "segmentation": []}]}),
            "lacks",
        ),
        (
            json.dumps({**VALID, "annotations": [{**BOX, "bbox": ["1", "2", "3", "4"]}]}),
            r"has bbox \['1', '2', '3', '4'\]",
        ),
    ],
)
def test_what_is_not_coco_is_an_input_error_of_one_line(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        load(tmp_path, text)
    assert "\n" not in str(error.value)
    assert "annotations.json" in str(error.value)


def test_whole_floats_are_ids_and_sizes(tmp_path: Path) -> None:
    """As pandas writes a column that once held a gap."""
    image = IMAGE | {"id": 5.0, "height": 10.0, "width": 20.0}
    box = BOX | {"id": 1.0, "image_id": 5.0, "category_id": 3.0}
    text = json.dumps({"images": [image], "annotations": [box], "categories": [{"id": 3.0, "name": "three"}]})
    floats, whole = load(tmp_path, text), load(tmp_path, json.dumps(VALID))
    for name in ("image_ids", "image_sizes", "annotation_ids", "annotation_image_ids", "annotation_category_ids"):
        np.testing.assert_array_equal(getattr(floats, name), getattr(whole, name))
    assert floats.categories == whole.categories


def test_annotations_without_ids_get_new_ones(tmp_path: Path) -> None:
    without = {key: value for key, value in BOX.items() if key != "id"}
    coco = load(tmp_path, json.dumps({**VALID, "annotations": [without, {**BOX, "id": 2}, {**BOX, "id": None}]}))
    assert coco.annotation_ids.tolist() == [1, 2, 3]


def test_a_deep_segmentation_takes_no_time(tmp_path: Path) -> None:
    deep = json.dumps(VALID).replace('"bbox"', '"segmentation": ' + "[" * 90 + "]" * 90 + ', "bbox"')
    assert len(load(tmp_path, deep).bboxes) == 1
    started = time.process_time()
    with pytest.raises(UnusableFile, match="nests more than 100 brackets"):
        load(tmp_path, deep.replace("[" * 90, "[" * 100_000))
    assert time.process_time() - started < 5  # a minute when every bracket reached ijson


@pytest.mark.parametrize(
    ("area", "kept"), [(7, 7.0), (7.5, 7.5), (None, math.nan), ("7", math.nan), (True, math.nan), (math.inf, math.nan)]
)
def test_areas(tmp_path: Path, area: Any, kept: float) -> None:
    coco = load(tmp_path, json.dumps({**VALID, "annotations": [{**BOX, "area": area}, BOX]}))
    np.testing.assert_array_equal(coco.areas, [kept, math.nan])


@pytest.mark.parametrize(
    ("change", "counted"),
    [
        ({}, True),
        ({"bbox": [25, 3, -4, 0]}, True),  # outside, without a positive side: pycocotools counts it
        ({"id": 1}, True),
        ({"bbox": None}, False),
        ({"bbox": [1, 2, 3]}, False),
        ({"bbox": [1, 2, "3", 4]}, False),
        ({"bbox": [1, 2, math.nan, 4]}, False),
        ({"image_id": 6}, False),
        ({"category_id": 4}, False),
    ],
)
def test_scorable_is_what_pycocotools_counts(tmp_path: Path, change: dict[str, Any], counted: bool) -> None:
    crowd = {**BOX, "iscrowd": 1}
    coco = load(tmp_path, json.dumps({**VALID, "annotations": [BOX, {**BOX, "id": 2, **change}, crowd]}))
    assert scorable(coco).tolist() == [True, counted, True]


def test_the_part_of_some_images(tmp_path: Path) -> None:
    images = [{**IMAGE, "id": i, "file_name": f"{i}.jpg", "height": i} for i in (5, 6, 7)]
    boxes = [{**BOX, "id": 10 + i, "image_id": i, "area": i} for i in (7, 6, 5, 7)]
    part = of_images(load(tmp_path, json.dumps({**VALID, "images": images, "annotations": boxes})), [2, 0])
    assert (part.image_ids.tolist(), part.file_names) == ([7, 5], ["7.jpg", "5.jpg"])
    assert part.image_sizes[:, 0].tolist() == [7, 5]
    assert part.areas.tolist() == [7, 5, 7]


@pytest.mark.parametrize(
    ("value", "count", "message"),
    [
        ("9", 5000, r"annotations\[0\]: a whole number is beyond 64 bits"),
        ("[", 1500, r"annotations\[0\]: 'bbox' nests more than 100 brackets"),
        ("[", 100_000, r"annotations\[0\]: 'bbox' nests more than 100 brackets"),
    ],
)
def test_a_value_without_end_is_an_input_error_of_one_line(
    tmp_path: Path, value: str, count: int, message: str
) -> None:
    with pytest.raises(InputError, match=message) as error:
        load(tmp_path, json.dumps(VALID).replace("3.5", value * count))
    assert len(str(error.value).splitlines()) == 1


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
    ("ids", "mode", "message"),
    [
        ([3, 3], "rank", "more than once"),
        ([0, 1], "id-minus-1", "id 0 has no class"),
        ([1, 1 << 31], "rank", "2147483648 has more than 32 bits"),  # detection_classes is int32
        ([-(1 << 31) - 1, 1], "rank", "-2147483649 has more than 32 bits"),
    ],
)
def test_impossible_class_maps(ids: list[int], mode: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        class_map([(i, "name") for i in ids], mode)


@pytest.mark.parametrize(
    ("box", "name"), [([0, 0, 31, 32], "small"), ([0, 0, 32, 32], "medium"), ([0, 0, 96, 96], "large")]
)
def test_area_ranges(box: list[float], name: str) -> None:
    assert area_range(box) == name
