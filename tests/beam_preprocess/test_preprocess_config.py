"""The preprocess: section."""

from typing import Any

import pytest

from beam_preprocess.config import PreprocessConfig, from_mapping
from beam_preprocess.errors import InputError


def test_defaults_and_conversions() -> None:
    assert from_mapping(PreprocessConfig, "preprocess", None) == PreprocessConfig()
    config = from_mapping(PreprocessConfig, "preprocess", {"image_size": [128, 256], "min_visible": 1})
    assert config.image_size == (128, 256)
    assert config.map_size == (32, 64)
    assert isinstance(config.min_visible, float)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"image_sise": [1, 1]}, "image_sise: unknown key; known keys are .*image_size"),
        ([], "expected a mapping"),
        ({"image_size": [64]}, "2 are needed"),
        ({"image_size": [64, "64"]}, "a int is needed"),
        ({"image_size": [63, 64]}, "multiple"),
        ({"image_size": [0, 64]}, "multiple"),
        ({"stride": 0}, "multiple"),
        ({"stride": 4.0}, "a int is needed"),
        ({"train_views": 0}, "train_views"),
        ({"train_views": True}, "a int is needed"),
        ({"scale_min": 2.0}, "scale_min"),
        ({"min_visible": 1.5}, "min_visible"),
        ({"jpeg_quality": 0}, "jpeg_quality"),
        ({"gaussian_iou": 1.0}, "gaussian_iou"),
        ({"heatmap_cutoff": 0.0}, "heatmap_cutoff"),
        ({"class_index": "id"}, "class_index"),
        ({"max_reject_fraction": -0.1}, "max_reject_fraction"),
    ],
)
def test_bad_values_are_input_errors_that_name_the_key(values: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        from_mapping(PreprocessConfig, "preprocess", values)
