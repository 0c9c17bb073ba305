"""Precision, recall and F1 against the score threshold."""

from itertools import product

import numpy as np
import pytest

from trainer.coco.thresholds import threshold_curve


def curve(detections: list[tuple[float, bool]], objects: int):
    scores, right = (list(column) for column in zip(*detections, strict=True)) if detections else ([], [])
    return threshold_curve(np.array(scores, float), np.array(right, bool), objects)


@pytest.mark.parametrize(
    ("detections", "objects", "best"),
    [
        ([(0.9, True), (0.5, False)], 1, (0.9, 1.0, 1.0, 1.0)),
        ([(0.9, False), (0.5, True)], 1, (0.5, 0.5, 1.0, 2 / 3)),
        ([(0.9, True), (0.8, False), (0.7, False), (0.6, True)], 2, (0.9, 1.0, 0.5, 2 / 3)),  # a tie: the higher score
        ([(0.5, True), (0.5, False), (0.5, True)], 2, (0.5, 2 / 3, 1.0, 0.8)),  # one score passes together
        ([(0.5, False), (0.5, True)], 1, (0.5, 0.5, 1.0, 2 / 3)),
        ([(0.9, False)], 3, None),
        ([], 3, None),
        ([(0.9, False)], 0, None),
        ([], 0, None),
    ],
)
def test_best(detections, objects, best):
    found = curve(detections, objects).best
    assert (found and (found.score, found.precision, found.recall, found.f1)) == (best and pytest.approx(best))


def test_best_is_the_best_of_all_thresholds():
    """Against every threshold that makes a difference, tried one by one."""
    random = np.random.default_rng(0)
    for _ in range(200):
        count, objects = int(random.integers(1, 30)), int(random.integers(1, 12))
        scores = random.integers(1, 12, count) / 12
        right = random.random(count) < 0.5
        right[np.flatnonzero(right)[objects:]] = False  # no more right detections than objects
        found = curve(list(zip(scores.tolist(), right.tolist(), strict=True)), objects).best
        tried = []
        for threshold in sorted({*scores.tolist()}, reverse=True):
            kept = scores >= threshold
            tried.append((2 * int(right[kept].sum()) / (int(kept.sum()) + objects), threshold))
        highest = max(f1 for f1, _ in tried)
        if highest == 0:
            assert found is None
            continue
        assert found is not None
        assert found.f1 == pytest.approx(highest)
        assert found.score == next(threshold for f1, threshold in tried if f1 == highest)


def test_curves_count_what_reaches_each_threshold():
    made = curve([(0.25, False), (0.75, True)], 2)
    for i, (precision, recall) in product([0], [(0.5, 0.5)]):
        assert (made.precision[i], made.recall[i], made.f1[i]) == (precision, recall, 0.5)
    assert (made.precision[25], made.precision[26]) == (0.5, 1.0), "a score that equals the threshold is shown"
    assert (made.precision[75], made.precision[76]) == (1.0, None)
    assert (made.recall[75], made.recall[76], made.f1[76]) == (0.5, 0.0, 0.0)
    assert curve([(0.5, False)], 0).recall == [None] * 101
