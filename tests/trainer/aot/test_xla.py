from pathlib import Path

import numpy as np
import pytest

from trainer.aot import xla

DESCRIPTION = {
    "inputs": [
        {"name": "image", "shape": [2, 4, 4, 3], "dtype": "uint8", "low": 0, "high": 256},
        {"name": "valid", "shape": [2, 4], "dtype": "int32", "low": 0, "high": 1, "rows": [0, 0, 4, 4]},
        {"name": "mask", "shape": [2, 3], "dtype": "float32", "low": 1, "high": 1},
    ],
    "variables": [
        {"shape": [500], "dtype": "float32", "mean": 3.0, "deviation": 0.5},
        {"shape": [], "dtype": "int64", "mean": 7, "deviation": 0.0},
    ],
}


def test_arguments_follow_their_rules(tmp_path: Path) -> None:
    image, valid, mask, weights, counter = xla.synthetic_arguments(tmp_path, DESCRIPTION)
    assert (image.shape, image.dtype) == ((2, 4, 4, 3), np.uint8)
    assert len(np.unique(image)) > 10
    assert valid.tolist() == [[0, 0, 4, 4]] * 2
    assert mask.tolist() == [[1.0] * 3] * 2
    assert (weights.mean(), weights.std()) == (pytest.approx(3, abs=0.1), pytest.approx(0.5, abs=0.1))
    assert (counter.shape, counter.dtype, int(counter)) == ((), np.int64, 7)


def test_values_replace_the_rules_of_variables(tmp_path: Path) -> None:
    np.savez(tmp_path / xla.VALUES, np.arange(5), np.int64(9))
    *_, weights, counter = xla.synthetic_arguments(tmp_path, DESCRIPTION)
    assert (weights.tolist(), int(counter)) == ([0, 1, 2, 3, 4], 9)
