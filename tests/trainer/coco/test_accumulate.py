"""Precision and recall by hand; test_matching.py compares all arrays with pycocotools."""

from pathlib import Path

import numpy as np
import pytest

from tests.trainer.coco.test_matching import A, dataset_of, ours, predictions_of
from trainer.coco.accumulate import mean, objects_needed
from trainer.coco.matching import RECALL_THRESHOLDS

FAR = (200, 200, 9, 9)


def test_a_false_detection_above_a_right_one_halves_the_precision(tmp_path: Path) -> None:
    objects = [(5, 7, A, False, None), (2, 7, A, False, None)]
    curves = ours(dataset_of(objects), predictions_of([(5, 7, FAR, 0.9), (5, 7, A, 0.8)]), tmp_path).curves
    place = 1  # class 7 of 3, 7, 11
    assert curves.precision[0, :, place, 0, -1].tolist() == pytest.approx([0.5] * 51 + [0.0] * 50)
    assert curves.recall[0, place, 0, -1] == 0.5
    assert curves.scores[0, 1, place, 0, -1] == 0.8
    assert set(curves.precision[0, :, 0, 0, -1].tolist()) == {-1.0}, "a class without objects"


def test_order(tmp_path: Path) -> None:
    detections = [(5, 7, A, 0.5), (2, 7, A, 0.5), (9, 3, A, 0.1), (4, 7, A, 0.9)]
    matches = ours(dataset_of([]), predictions_of(detections), tmp_path).matches
    assert matches.detection[matches.by_class].tolist() == [2, 3, 1, 0], "ties by image id"


@pytest.mark.parametrize(("values", "expected"), [([0.5, -1, 0.25], 0.375), ([-1, -1], -1), ([], -1)])
def test_mean_ignores_what_has_no_ground_truth(values: list[float], expected: float) -> None:
    assert mean(np.array(values)) == expected


def test_objects_needed_are_those_of_pycocotools_search() -> None:
    counts = np.r_[0:1500, 36_781, 100_000]
    for count, needed in zip(counts.tolist(), objects_needed(counts), strict=True):
        recall = np.arange(count + 1) / max(count, 1)
        assert np.array_equal(needed, np.searchsorted(recall, RECALL_THRESHOLDS, side="left"))
