"""Views: rectangles, boxes, and their agreement with rendered pixels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_preprocess.format.geometry import View, clip_to_valid, letterbox, make_view, to_input, to_original
from beam_preprocess.format.images import render_view

SIDES = st.integers(1, 700)
SIZES = st.tuples(SIDES, SIDES)
INPUTS = st.tuples(st.sampled_from([32, 96, 192, 512]), st.sampled_from([32, 96, 192, 512]))
SCALES = (0.6, 1.3)


def views(size: tuple[int, int], input_size: tuple[int, int], number: int, seed: int = 0) -> View:
    return make_view(seed=seed, image_id=12, view=number, image_size=size, input_size=input_size, scale_range=SCALES)


@given(size=SIZES, input_size=INPUTS, number=st.integers(0, 9), seed=st.integers(0, 1 << 40))
def test_a_view_lies_inside_image_and_input(
    size: tuple[int, int], input_size: tuple[int, int], number: int, seed: int
) -> None:
    view = views(size, input_size, number, seed)
    for (ymin, xmin, ymax, xmax), (height, width) in ((view.source, size), (view.valid, input_size)):
        assert 0 <= ymin < ymax <= height
        assert 0 <= xmin < xmax <= width


@given(
    size=SIZES,
    input_size=INPUTS,
    number=st.integers(0, 9),
    boxes=st.lists(st.tuples(*[st.floats(-50, 800)] * 4), max_size=5),
)
def test_boxes_come_back(
    size: tuple[int, int], input_size: tuple[int, int], number: int, boxes: list[tuple[float, ...]]
) -> None:
    view = views(size, input_size, number)
    array = np.array(boxes, np.float64).reshape(-1, 4)
    np.testing.assert_allclose(to_original(view, to_input(view, array)), array, atol=1e-6)


@given(size=SIZES, input_size=INPUTS)
def test_the_plain_view_shows_everything_at_the_top_left(size: tuple[int, int], input_size: tuple[int, int]) -> None:
    view = letterbox(size, input_size)
    assert view.source == (0, 0, *size)
    assert view.valid[:2] == (0, 0)
    assert view.valid[2] == input_size[0] or view.valid[3] == input_size[1]
    boxes, keep = clip_to_valid(view, to_input(view, np.array([[0, 0, *size]])), 1.0 - 1e-9)
    assert keep.all()
    np.testing.assert_allclose(boxes[0], view.valid, atol=1e-9)


@given(size=st.tuples(st.integers(60, 700), st.integers(60, 700)), number=st.integers(1, 20))
def test_random_views_keep_the_aspect(size: tuple[int, int], number: int) -> None:
    """Up to the rounding of both rectangles to whole pixels."""
    view = views(size, (512, 512), number)
    (_, sx0, _, sx1), (vy0, vx0, vy1, vx1) = view.source, view.valid
    width = sx1 - sx0
    width_by_height = (vx1 - vx0) / view.scale[0]
    assert abs(width_by_height - width) <= 1 + width / (vy1 - vy0) + width / (vx1 - vx0)


def test_views_depend_on_seed_image_and_number_alone() -> None:
    def sources(seed: int, image_id: int) -> list[View]:
        return [
            make_view(
                seed=seed, image_id=image_id, view=v, image_size=(480, 640), input_size=(512, 512), scale_range=SCALES
            )
            for v in range(1, 5)
        ]

    assert sources(0, 1) == sources(0, 1)
    assert len({*sources(0, 1), *sources(1, 1), *sources(0, 2), *sources(0, 1 + (1 << 32))}) == 16


def test_random_scales_cover_the_range() -> None:
    zooms = [views((500, 500), (512, 512), v, seed=3).scale[0] * 500 / 512 for v in range(1, 400)]
    assert 1 / 1.31 < min(zooms) < 1 / 1.25
    assert 1 / 0.63 < max(zooms) < 1 / 0.595


@pytest.mark.parametrize(
    ("box", "kept"),
    [
        ([10, 10, 20, 20], True),
        ([-10, 10, 10, 20], True),  # half visible
        ([-30, 10, 10, 20], True),  # exactly a quarter
        ([-31, 10, 10, 20], False),
        ([-30, -30, 10, 10], False),
        ([100, 10, 110, 20], False),  # touches the edge only
        ([200, 10, 210, 20], False),
    ],
)
def test_a_box_stays_when_enough_of_it_is_visible(box: list[float], kept: bool) -> None:
    view = View(source=(0, 0, 100, 100), valid=(0, 0, 100, 100))
    clipped, keep = clip_to_valid(view, np.array([box]), 0.25)
    assert keep.tolist() == [kept]
    assert (clipped >= 0).all() and (clipped <= 100).all()


@pytest.mark.parametrize("number", range(8))
def test_boxes_follow_the_rendered_pixels(number: int) -> None:
    """A white rectangle on black: what is rendered is where the box says, to a pixel."""
    size, box = (300, 400), (60, 90, 210, 260)
    pixels = np.zeros((*size, 3), np.uint8)
    pixels[box[0] : box[2], box[1] : box[3]] = 255
    view = views(size, (256, 256), number)
    (expected,), keep = clip_to_valid(view, to_input(view, np.array([box])), 0.0)
    assert keep.all()
    bright = render_view(pixels, view, (256, 256))[..., 0] > 127
    rows, columns = np.flatnonzero(bright.any(axis=1)), np.flatnonzero(bright.any(axis=0))
    found = [rows[0], columns[0], rows[-1] + 1, columns[-1] + 1]
    np.testing.assert_allclose(found, expected, atol=0.75)
