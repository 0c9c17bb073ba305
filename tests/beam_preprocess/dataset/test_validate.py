"""Reason codes of images and boxes, and the limits."""

import contextlib
import math
from typing import Any

import numpy as np
import pytest

from beam_preprocess.base.errors import InputError
from beam_preprocess.dataset.validate import check_limits, validate_boxes, validate_images
from beam_preprocess.format.annotations import CocoAnnotations
from beam_preprocess.format.image_entries import MAX_PIXELS
from beam_preprocess.format.images import size_problem
from beam_preprocess.format.reasons import Reason


def coco(images: list[tuple[int, str, int, int]], boxes: list[dict[str, Any]]) -> CocoAnnotations:
    """images: (id, file name, height, width); boxes: changes to a good box of image 1."""
    good = {"image": 1, "category": 3, "bbox": [1, 1, 4, 4], "length": 4}
    full = [{"id": 10 + i, **good, **box} for i, box in enumerate(boxes)]
    return CocoAnnotations(
        uri="annotations.json",
        content_digest="",
        image_ids=np.array([i[0] for i in images], np.int64),
        file_names=[i[1] for i in images],
        image_sizes=np.array([i[2:] for i in images], np.int64).reshape(-1, 2),
        annotation_ids=np.array([b["id"] for b in full], np.int64),
        annotation_image_ids=np.array([b["image"] for b in full], np.int64),
        annotation_category_ids=np.array([b["category"] for b in full], np.int64),
        bboxes=np.array([b["bbox"] for b in full], np.float64).reshape(-1, 4),
        bbox_lengths=np.array([b["length"] for b in full], np.int64),
        areas=np.full(len(full), math.nan),
        crowd=np.zeros(len(full), bool),
        categories=((3, "three"),),
    )


GOOD = (1, "a.jpg", 20, 30)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ((1, "b.jpg", 20, 30), Reason.DUPLICATE_IMAGE_ID),
        ((2, "a.jpg", 20, 30), Reason.DUPLICATE_FILE_NAME),
        ((2, "./sub/../a.jpg", 20, 30), Reason.DUPLICATE_FILE_NAME),
        ((2, "../b.jpg", 20, 30), Reason.PATH_OUTSIDE_FOLDER),
        ((2, "/etc/passwd", 20, 30), Reason.PATH_OUTSIDE_FOLDER),
        ((2, "b.jpg", 0, 30), Reason.ZERO_SIZE),
        ((2, "b.jpg", 20, -1), Reason.ZERO_SIZE),
        ((2, "b.jpg", MAX_PIXELS, 2), Reason.TOO_MANY_PIXELS),
    ],
)
def test_image_entries(bad: tuple[int, str, int, int], reason: Reason) -> None:
    keep, rejects = validate_images(coco([GOOD, bad], []))
    assert keep.tolist() == [True, False]
    assert [(r.reason, r.image_id, r.file_name) for r in rejects] == [(reason, bad[0], bad[1])]


def test_a_dropped_image_says_how_many_boxes_go_with_it() -> None:
    annotations = coco([GOOD, (2, "b.jpg", 0, 0)], [{"image": 2}, {"image": 2}, {}])
    keep, (reject,) = validate_images(annotations)
    assert reject.detail.endswith("drops its 2 boxes")
    kept, _, box_rejects = validate_boxes(annotations, keep, 1.0)
    assert kept.tolist() == [False, False, True]
    assert box_rejects == []


def test_no_usable_image_is_all_rejects() -> None:
    """The caller turns them into one error, see `format.sources.usable_names`."""
    entries = [(i, f"https://tool.example/{i}.jpg", 20, 30) for i in (1, 2, 3)]
    keep, rejects = validate_images(coco(entries, []))
    assert not keep.any()
    assert {reject.reason for reject in rejects} == {Reason.PATH_OUTSIDE_FOLDER}


@pytest.mark.parametrize("change", [{"category": 4}, {"image": 99}])
def test_what_cannot_be_scored_counts_as_such_even_when_it_is_repeated(change: dict[str, Any]) -> None:
    _, _, rejects = validate_boxes(coco([GOOD], [change, change]), np.array([True]), 1.0)
    assert {r.reason for r in rejects} <= {Reason.UNKNOWN_CATEGORY, Reason.UNKNOWN_IMAGE}
    assert len(rejects) == 2


@pytest.mark.parametrize(
    ("stored", "orientation", "reason"),
    [
        ((20, 30), 1, None),
        ((20, 30), 6, None),  # EXIF is not applied, so it does not matter
        ((30, 20), 6, Reason.SIZE_MATCHES_ONLY_AFTER_EXIF),
        ((30, 20), 1, Reason.SIZE_DIFFERS),
        ((30, 20), 3, Reason.SIZE_DIFFERS),  # a half turn keeps the axes
        ((20, 31), 1, Reason.SIZE_DIFFERS),
        ((0, 30), 1, Reason.ZERO_SIZE),
        ((MAX_PIXELS, 2), 1, Reason.TOO_MANY_PIXELS),
    ],
)
def test_stored_size_against_the_annotations(stored: tuple[int, int], orientation: int, reason: Reason | None) -> None:
    problem = size_problem(stored, (20, 30), orientation)
    assert (problem and problem[0]) == reason


@pytest.mark.parametrize(
    ("box", "reason", "result"),
    [
        ({}, None, [1, 1, 5, 5]),
        ({"bbox": [0, 0, 30, 20]}, None, [0, 0, 20, 30]),  # the whole image
        ({"bbox": [28, 18, 2.0005, 2]}, None, [18, 28, 20, 30]),  # float noise: clipped, not counted
        ({"length": 3}, Reason.WRONG_LENGTH, None),
        ({"length": -1}, Reason.WRONG_LENGTH, None),
        ({"bbox": [1, math.nan, 3, 3]}, Reason.NOT_FINITE, None),
        ({"bbox": [1, 1, math.inf, 3]}, Reason.NOT_FINITE, None),
        ({"image": 99}, Reason.UNKNOWN_IMAGE, None),
        ({"category": 4}, Reason.UNKNOWN_CATEGORY, None),
        ({"bbox": [1, 1, 0, 3]}, Reason.NON_POSITIVE_SIDE, None),
        ({"bbox": [5, 5, 3, -3]}, Reason.NON_POSITIVE_SIDE, None),
        ({"bbox": [30, 1, 4, 4]}, Reason.OUTSIDE_IMAGE, None),
        ({"bbox": [-9, 1, 4, 4]}, Reason.OUTSIDE_IMAGE, None),
        ({"bbox": [1, 1, 0.9, 4]}, Reason.BOX_TOO_SMALL, None),
        ({"bbox": [29.5, 1, 4, 4]}, Reason.BOX_TOO_SMALL, None),  # what is left after clipping
        ({"bbox": [28, -1, 4, 4]}, Reason.CLIPPED_TO_IMAGE, [0, 28, 3, 30]),
    ],
)
def test_boxes(box: dict[str, Any], reason: Reason | None, result: list[float] | None) -> None:
    annotations = coco([(7, "z.jpg", 9, 9), GOOD], [{"bbox": [2, 2, 9, 9]}, box])
    keep, boxes, rejects = validate_boxes(annotations, np.array([True, True]), 1.0)
    assert keep.tolist() == [True, result is not None]
    if result is not None:
        np.testing.assert_allclose(boxes[1], result)
    assert [(r.reason, r.annotation_id) for r in rejects] == ([(reason, 11)] if reason else [])


def test_annotation_ids_may_repeat() -> None:
    keep, _, rejects = validate_boxes(
        coco([GOOD], [{"id": 5}, {"id": 5, "bbox": [3, 3, 4, 4]}, {"id": 5, "bbox": [9, 9, 4, 4]}]),
        np.array([True]),
        1.0,
    )
    assert keep.tolist() == [True, True, True]
    assert rejects == []


@pytest.mark.parametrize(
    ("change", "repeats"),
    [({}, True), ({"category": 4}, False), ({"bbox": [1, 1, 4, 4.5]}, False), ({"image": 2}, False)],
)
def test_the_same_box_under_another_id_keeps_the_first(change: dict[str, Any], repeats: bool) -> None:
    annotations = coco([GOOD, (2, "b.jpg", 20, 30)], [{"bbox": [9, 9, 4, 4]}, {}, change])
    keep, _, rejects = validate_boxes(annotations, np.array([True, True]), 1.0)
    assert keep.tolist() == [True, True, not repeats and "category" not in change]
    assert (Reason.DUPLICATE_ANNOTATION in [r.reason for r in rejects]) == repeats


def test_boxes_of_a_repeated_image_id_belong_to_its_first_entry() -> None:
    annotations = coco([GOOD, (1, "b.jpg", 2, 2)], [{"bbox": [10, 10, 5, 5]}])
    keep_images, _ = validate_images(annotations)
    keep, _, rejects = validate_boxes(annotations, keep_images, 1.0)
    assert keep.tolist() == [True]
    assert rejects == []


@pytest.mark.parametrize(
    ("split", "rejects", "outcome"),
    [
        ("train", {}, contextlib.nullcontext()),
        ("train", {"missing_image": 1}, contextlib.nullcontext()),  # exactly the limit
        ("train", {"missing_image": 2}, pytest.raises(InputError, match="2 of 100 training images")),
        ("train", {"missing_image": 1, "size_differs": 1}, pytest.raises(InputError, match="size_differs 1")),
        ("train", {"not_finite": 2}, contextlib.nullcontext()),
        ("train", {"not_finite": 3}, pytest.raises(InputError, match="3 of 200 training boxes")),
        ("train", {"clipped_to_image": 200, "converted_gray": 100}, contextlib.nullcontext()),  # repaired
        ("val", {"not_finite": 200, "converted_gray": 100}, contextlib.nullcontext()),
        ("val", {"missing_image": 1}, pytest.raises(InputError, match="1 of 100 validation images")),
    ],
)
def test_limits(split: str, rejects: dict[str, int], outcome: Any) -> None:
    with outcome:
        check_limits(split, images=100, boxes=200, rejects=rejects, max_fraction=0.01, where="listed")
