"""The preprocess: section."""

import argparse
from pathlib import Path
from typing import Any

import pytest

from beam_preprocess.base.errors import InputError
from beam_preprocess.flags import add_config_flags, config_of
from beam_preprocess.format.config import PreprocessConfig, from_mapping


def test_defaults_and_conversions() -> None:
    assert from_mapping(PreprocessConfig, "preprocess", None) == PreprocessConfig()
    config = from_mapping(PreprocessConfig, "preprocess", {"image_size": [128, 256], "min_visible": 1})
    assert config.image_size == (128, 256)
    assert config.map_size == (32, 64)
    assert isinstance(config.min_visible, float)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"image_sise": [1, 1]}, "preprocess.image_sise: unknown key; did you mean 'image_size'"),
        ([], "expected a mapping"),
        ({"sigma": 1}, "preprocess.sigma: unknown key; known are .*image_size"),
        ({3: 1}, "preprocess.3: unknown key"),
        ({"image_size": [64]}, "preprocess.image_size: \\[64\\] has 1 entries; 2 are needed"),
        ({"image_size": 64}, "preprocess.image_size: is 64, a whole number; a list is needed"),
        ({"image_size": [64, "64"]}, "preprocess.image_size\\[1\\]: is '64', a text; a whole number is needed"),
        ({"image_size": [63, 64]}, "multiple"),
        ({"image_size": [0, 64]}, "multiple"),
        ({"stride": 0}, "multiple"),
        ({"stride": 4.0}, "preprocess.stride: is 4.0, a number; a whole number is needed"),
        ({"train_views": 0}, "train_views"),
        ({"train_views": True}, "is True, true or false; a whole number is needed"),
        ({"scale_min": 2.0}, "scale_min"),
        ({"min_visible": 1.5}, "min_visible"),
        ({"jpeg_quality": 0}, "jpeg_quality"),
        ({"gaussian_iou": 1.0}, "gaussian_iou"),
        ({"heatmap_cutoff": 0.0}, "heatmap_cutoff"),
        ({"class_index": "id"}, "preprocess.class_index: is 'id'; use one of 'rank', 'id-minus-1'"),
        ({"max_reject_fraction": -0.1}, "max_reject_fraction"),
    ],
)
def test_bad_values_are_input_errors_that_name_the_key(values: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        from_mapping(PreprocessConfig, "preprocess", values)


def config_from(path: Path, text: str) -> PreprocessConfig:
    path.write_text(text)
    command = argparse.ArgumentParser()
    add_config_flags(command)
    return config_of(command.parse_args(["--config", str(path)]))


def test_a_file_is_read_as_the_trainer_reads_it(tmp_path: Path) -> None:
    """PyYAML alone takes 1e-3 for a text, and the last of two equal keys."""
    assert config_from(tmp_path / "c.yaml", "preprocess: {heatmap_cutoff: 1e-3}").heatmap_cutoff == 0.001
    with pytest.raises(InputError, match="duplicate key 'stride'"):
        config_from(tmp_path / "c.yaml", "preprocess:\n  stride: 4\n  stride: 8")
