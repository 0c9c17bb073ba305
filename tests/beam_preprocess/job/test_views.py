"""What a view keeps of an image's boxes."""

import numpy as np
import pytest

from beam_preprocess.format.config import PreprocessConfig
from beam_preprocess.format.geometry import make_view
from beam_preprocess.job.views import Labels, make_records

SIZE = (64, 64)


@pytest.mark.parametrize("crowd", [False, True])
def test_what_is_left_of_a_crowd_region_stays_and_of_an_object_goes(crowd: bool) -> None:
    """Nothing but a whole box is visible enough here; a crowd region's rest must not become background."""
    config = PreprocessConfig(image_size=SIZE, scale_min=0.6, scale_max=0.6, crop_border=0.5, min_visible=1.0)
    labels = Labels(boxes=np.array([[0.0, 0.0, 64.0, 64.0]]), classes=np.array([0]), crowd=np.array([crowd]))
    pixels = np.zeros((*SIZE, 3), np.uint8)
    _, (cropped, cut_off) = make_records(pixels, labels, image_id=1, views=2, seed=0, config=config)
    assert cropped.targets.object_crowd.tolist() == ([True] if crowd else [])
    assert cut_off == (0 if crowd else 1)


def test_a_crop_border_of_a_half_centres_every_window() -> None:
    for number in range(1, 6):
        view = make_view(
            seed=0, image_id=1, view=number, image_size=SIZE, input_size=SIZE, scale_range=(0.6, 0.9), border=0.5
        )
        top, left, bottom, right = view.source
        assert abs(top - (SIZE[0] - bottom)) <= 1
        assert abs(left - (SIZE[1] - right)) <= 1
