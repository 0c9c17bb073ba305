"""What a model usually does on a data set."""

import numpy as np
import pytest

from tests.trainer.made_coco import parsed
from trainer.coco.habits import Habits, annotated, detected


def image(objects, detections):
    dataset = {
        "images": [{"id": 0, "file_name": "0.jpg", "width": 640, "height": 640}],
        "categories": [{"id": 1, "name": "disc"}, {"id": 2, "name": "bar"}],
        "annotations": [{"image_id": 0, "category_id": c, "bbox": box} for c, box in objects],
    }
    truth = annotated(parsed(dataset), np.arange(len(objects)))
    found = detected([(i, {"category_id": c, "bbox": box, "score": s}) for i, (c, box, s) in enumerate(detections)])
    return truth, found


BOX, FAR = [10.0, 10.0, 40.0, 40.0], [200.0, 200.0, 40.0, 40.0]


def test_trust_rises_with_the_score():
    random = np.random.default_rng(1)
    images = {}
    for i in range(300):
        score = float(random.random())
        images[i] = image([(1, BOX)], [(1, BOX if random.random() < score else FAR, score)])
    habits = Habits.of(images)
    assert habits is not None
    assert (np.diff(habits.trust_values) >= 0).all()
    _, found = image([], [(1, BOX, 0.1), (1, BOX, 0.5), (1, BOX, 0.9)])
    assert habits.trust(found) == pytest.approx([0.1, 0.5, 0.9], abs=0.15)


def test_scores_are_relative_to_their_class():
    """Class 2 never scores above 0.3: there, 0.3 is as sure as 0.9 of class 1."""
    images = {i: image([(1, BOX), (2, FAR)], [(1, BOX, 0.9), (2, FAR, 0.3)]) for i in range(50)}
    habits = Habits.of(images)
    assert habits is not None
    _, found = image([], [(1, BOX, 0.9), (2, BOX, 0.3), (1, BOX, 0.3)])
    hints = habits.hint(found)
    assert hints[0] == hints[1] == 1
    assert hints[2] < 0.7


def test_recall_by_class_and_size():
    small, large = [10.0, 10.0, 20.0, 20.0], [100.0, 100.0, 150.0, 150.0]
    images = {i: image([(1, small), (1, large)], [(1, large, 0.8)]) for i in range(50)}
    habits = Habits.of(images)
    assert habits is not None
    truth, _ = image([(1, small), (1, large)], [])
    assert habits.recall(truth)[0] < 0.05
    assert habits.recall(truth)[1] > 0.95


def test_without_a_found_object_there_are_no_habits():
    assert Habits.of({0: image([(1, BOX)], [(1, FAR, 0.9)])}) is None
    assert Habits.of({0: image([], [])}) is None
