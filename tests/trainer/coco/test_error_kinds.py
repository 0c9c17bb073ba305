"""Every detection gets one name, and the counts are those of the confusion matrix."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tests.trainer.coco.test_matching import dataset_of, ours, predictions_of
from trainer.coco.analysis import ERROR_NAMES, Analysis
from trainer.coco.error_kinds import analyse

BOX, FAR = (10, 10, 40, 40), (200, 200, 40, 40)
SHIFTED = (10, 30, 40, 40)  # IoU 1/3 with BOX


@pytest.mark.parametrize(
    ("objects", "detections", "counts"),
    [
        ([(5, 7, BOX)], [(5, 7, BOX, 0.9)], {"correct": 1}),
        ([(5, 7, BOX)], [(5, 7, BOX, 0.9), (5, 7, BOX, 0.8)], {"correct": 1, "duplicate": 1}),
        ([(5, 7, BOX)], [(5, 3, BOX, 0.9)], {"confused": 1, "missed": 1}),
        # A second class for an object that was found, before or after the right one.
        ([(5, 7, BOX)], [(5, 7, BOX, 0.9), (5, 3, BOX, 0.8)], {"correct": 1, "duplicate": 1}),
        ([(5, 7, BOX)], [(5, 3, BOX, 0.9), (5, 7, BOX, 0.8)], {"correct": 1, "duplicate": 1}),
        ([(5, 7, BOX)], [(5, 3, BOX, 0.9), (5, 11, BOX, 0.8)], {"confused": 1, "duplicate": 1, "missed": 1}),
        # A duplicate in its own class takes no object of another one.
        (
            [(5, 7, BOX), (5, 3, BOX)],
            [(5, 7, BOX, 0.9), (5, 7, BOX, 0.8)],
            {"correct": 1, "duplicate": 1, "missed": 1},
        ),
        # Hidden, the right detection takes nothing.
        ([(5, 7, BOX)], [(5, 3, BOX, 0.9), (5, 7, BOX, 0.2)], {"confused": 1, "missed": 1}),
        ([(5, 7, BOX)], [(5, 7, SHIFTED, 0.9)], {"mislocalised": 1, "missed": 1}),
        ([(5, 7, BOX)], [(5, 7, FAR, 0.9), (2, 7, BOX, 0.3)], {"background": 2, "missed": 1}),
        ([(5, 7, BOX)], [(5, 7, BOX, 0.29)], {"missed": 1}),  # below the score threshold
        ([], [], {}),
    ],
)
def test_each_detection_has_one_name(tmp_path: Path, objects, detections, counts) -> None:
    dataset = dataset_of([(*entry, False, None) for entry in objects])
    analysis = analyse(ours(dataset, predictions_of(detections), tmp_path))
    assert {name: count for name, count in analysis.errors.items() if count} == counts
    assert_matrix_holds_the_counts(analysis)
    # An object counts in one row, a detection in one column.
    matrix = analysis.confusion.matrix
    assert sum(map(sum, matrix[:-1])) == len(objects)
    assert sum(sum(row[:-1]) for row in matrix) == sum(score >= 0.3 for *_, score in detections)


def assert_matrix_holds_the_counts(analysis: Analysis) -> None:
    matrix, errors = np.array(analysis.confusion.matrix), analysis.errors
    classes = matrix[:-1, :-1]
    assert np.trace(classes) == errors["correct"]
    assert classes.sum() - np.trace(classes) == errors["confused"]
    assert matrix[-1].sum() == errors["duplicate"] + errors["mislocalised"] + errors["background"]
    assert matrix[:-1, -1].sum() + errors["confused"] == errors["missed"]
    for name in ("correct", "missed", "confused"):
        assert sum(getattr(image, name) for image in analysis.images) == errors[name]


def test_counts_are_those_of_the_confusion_matrix(tmp_path: Path) -> None:
    """Crowded images: every object and detection overlaps many others."""
    rng = np.random.default_rng(0)
    total: Counter[str] = Counter()

    def place() -> tuple[int, int, tuple[int, ...]]:
        return int(rng.choice([5, 2])), int(rng.choice([3, 7, 11])), (*rng.integers(0, 60, 2).tolist(), 40, 40)

    for _ in range(10):
        objects = [(*place(), bool(rng.random() < 0.2), None) for _ in range(12)]
        detections = [(*place(), round(float(rng.random()), 1)) for _ in range(60)]
        analysis = analyse(ours(dataset_of(objects), predictions_of(detections), tmp_path))
        assert_matrix_holds_the_counts(analysis)
        total.update(analysis.errors)
    assert set(+total) == set(ERROR_NAMES), "not every kind occurred"


def test_crowds_are_neither_right_nor_wrong(tmp_path: Path) -> None:
    dataset = dataset_of([(5, 7, BOX, True, None)])
    analysis = analyse(ours(dataset, predictions_of([(5, 7, BOX, 0.9), (5, 7, BOX, 0.8)]), tmp_path))
    assert set(analysis.errors.values()) == {0}
    assert sum(entry.count for entry in analysis.calibration) == 0


def test_confusion_calibration_images_and_curves(tmp_path: Path) -> None:
    dataset = dataset_of([(5, 7, BOX, False, None), (9, 3, BOX, False, None), (9, 3, FAR, False, None)])
    detections = [(5, 7, BOX, 0.95), (9, 7, BOX, 0.91), (4, 11, BOX, 0.5), (2, 7, BOX, 0.05)]
    analysis = analyse(ours(dataset, predictions_of(detections), tmp_path))
    assert analysis.confusion.classes == [3, 7, 11]
    assert analysis.confusion.matrix == [[0, 1, 0, 1], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0]]
    counts = [(entry.image_id, entry.correct, entry.missed, entry.false, entry.confused) for entry in analysis.images]
    assert counts == [(5, 1, 0, 0, 0), (2, 0, 0, 0, 0), (9, 0, 2, 1, 1), (4, 0, 0, 1, 0)], "in the file's order"
    high = analysis.calibration[9]
    assert (high.count, high.precision, high.mean_score) == (2, 0.5, pytest.approx(0.93))
    assert [entry.count for entry in analysis.calibration] == [1, 0, 0, 0, 0, 1, 0, 0, 0, 2]
    curves = {entry.category_id: entry.precision50 for entry in analysis.per_class}
    assert curves == {3: [0.0] * 101, 7: [pytest.approx(1.0)] * 101, 11: None}
    assert analysis.precision_recall.precision["mean"] == pytest.approx([0.5] * 101)
