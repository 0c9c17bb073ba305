"""Boxes on images."""

from itertools import pairwise

import numpy as np
import pytest

from trainer.shared.draw import class_colours, draw_detections

RED = (255, 0, 0)


def blank(height: int = 120, width: int = 160) -> np.ndarray:
    return np.full((height, width, 3), 128, np.uint8)


def test_the_outline_lies_on_the_box_and_the_input_is_untouched():
    image = blank()
    drawn = draw_detections(image, np.array([[40, 30, 90, 110]]), [""], None, RED)
    assert drawn.dtype == np.uint8
    assert drawn.shape == image.shape
    assert (image == 128).all()
    changed = np.argwhere((drawn != image).any(axis=-1))
    assert changed.min(axis=0).tolist() == [40, 30]
    assert changed.max(axis=0).tolist() == [89, 109]
    assert (drawn[45:85, 35:105] == 128).all(), "the inside was painted"
    assert (drawn[40, 30:110] == RED).all()


def test_labels_change_the_picture_at_the_chosen_edge():
    box = np.array([[40, 30, 90, 110]])
    plain = draw_detections(blank(), box, [""], None, RED)
    top = draw_detections(blank(), box, ["cat"], [0.5], RED, "top")
    bottom = draw_detections(blank(), box, ["cat"], [0.5], RED, "bottom")
    assert (top[:40] != plain[:40]).any()
    assert (top[91:] == plain[91:]).all()
    assert (bottom[91:] != plain[91:]).any()
    assert (bottom[:40] == plain[:40]).all()


def test_the_higher_score_is_on_top():
    """Two boxes share their upper left corner, where both labels are: the last drawn is seen."""
    boxes = np.array([[40, 30, 90, 110]] * 2)
    best_first = draw_detections(blank(), boxes, ["aaaa", "bbbb"], [0.9, 0.2])
    best_last = draw_detections(blank(), boxes[::-1], ["bbbb", "aaaa"], [0.2, 0.9])
    assert (best_first == best_last).all()


@pytest.mark.parametrize(
    "box",
    [
        [-50, -50, 500, 500],
        [0, 0, 0, 0],
        [119, 159, 120, 160],
        [60.4, 60.6, 60.5, 60.7],
        [200, 300, 220, 320],
        [90, 110, 40, 30],  # the wrong way round
    ],
    ids=["larger than the image", "empty", "last pixel", "less than a pixel", "outside", "reversed"],
)
@pytest.mark.parametrize("label_at", ["top", "bottom"])
def test_any_box_can_be_drawn(box, label_at):
    assert draw_detections(blank(), np.array([box]), ["a label"], [1.0], RED, label_at).shape == (120, 160, 3)


def test_nothing_to_draw_is_a_copy():
    image = blank()
    drawn = draw_detections(image, np.zeros((0, 4)), [], [])
    assert (drawn == image).all()
    assert drawn is not image
    drawn[0, 0] = 0  # writable


@pytest.mark.parametrize(
    ("image", "boxes", "labels", "scores"),
    [
        (blank().astype(np.float32), np.zeros((0, 4)), [], None),
        (blank()[..., 0], np.zeros((0, 4)), [], None),
        (np.zeros((5, 5, 4), np.uint8), np.zeros((0, 4)), [], None),
        (blank(), np.zeros((1, 4)), [], None),
        (blank(), np.zeros((1, 4)), ["a"], [0.1, 0.2]),
    ],
)
def test_bad_arguments(image, boxes, labels, scores):
    with pytest.raises(ValueError, match="needed"):
        draw_detections(image, boxes, labels, scores)


def test_labels_leave_other_boxes_free():
    """Above the large box is a small one: the label goes elsewhere, and every outline stays whole."""
    boxes = np.array([[60, 40, 110, 140], [40, 40, 58, 90]])
    drawn = draw_detections(blank(), boxes, ["large", ""], [0.9, 0.8], [RED, (0, 0, 255)])
    alone = draw_detections(blank(), boxes[1:], [""], [0.8], (0, 0, 255))
    assert (drawn[40:58, 40:90] == alone[40:58, 40:90]).all()


def test_outlines_are_over_labels():
    """Where no place is free, a label gives way to the lines."""
    boxes = np.array([[0, 0, 120, 160], [5, 5, 115, 155], [10, 10, 110, 150]])
    drawn = draw_detections(blank(), boxes, ["first label", "second label", "third label"], [0.9, 0.8, 0.7], RED)
    for top, left, bottom, right in boxes:
        edges = (drawn[top, left:right], drawn[bottom - 1, left:right], drawn[top:bottom, left])
        assert all((edge == RED).all() for edge in edges)


def test_a_colour_and_an_edge_per_box():
    boxes = np.array([[40, 10, 60, 30], [40, 100, 60, 120]])
    drawn = draw_detections(blank(), boxes, ["", ""], [None, 0.5], [RED, (0, 255, 0)], ["bottom", "top"])
    assert tuple(drawn[40, 20]) == RED
    assert tuple(drawn[40, 110]) == (0, 255, 0)


@pytest.mark.parametrize("count", [0, 1, 3, 80])
def test_class_colours(count):
    colours = class_colours(count)
    assert len({*colours}) == len(colours) == count
    neighbours = [np.abs(np.subtract(a, b)).max() for a, b in pairwise(colours)]
    assert min(neighbours, default=255) > 60
    assert all(0 <= value <= 255 for colour in colours for value in colour)
