from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from beam_preprocess.base.errors import InputError
from tests.trainer.made_records import SIZE
from trainer.config.experiment import build_experiment
from trainer.config.sections import parse_config
from trainer.model import network, tta
from trainer.weights import finished


@pytest.fixture(scope="module")
def model(trained: Path) -> network.CenterNetModel:
    task = build_experiment(parse_config((trained / "config.yaml").read_text())).task
    task.model.num_classes = 3
    built = network.build_model(task)
    built(tf.zeros([1, *SIZE, 3]), training=False)
    finished.restore_weights(str(trained), built)
    return built


@pytest.fixture(scope="module")
def pictures() -> list[tf.Tensor]:
    """Two images at scales 1 and 1.5."""
    rng = np.random.default_rng(0)
    return [tf.constant(rng.normal(size=(2, round(32 * s), round(64 * s), 3)), tf.float32) for s in (1, 1.5)]


def maps(model: network.CenterNetModel, batch: tf.Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    raw = model(batch, training=False)["raw_output"]
    return (
        tf.sigmoid(raw["ct_heatmaps"][-1]).numpy(),
        raw["ct_size"][-1].numpy(),
        raw["ct_offset"][-1].numpy(),
    )


def found(averaged: dict[str, list[tf.Tensor]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    heatmap = tf.sigmoid(averaged["ct_heatmaps"][0]).numpy()
    return heatmap, averaged["ct_size"][0].numpy(), averaged["ct_offset"][0].numpy()


def test_without_augmentation_nothing_changes(model: network.CenterNetModel, pictures: list[tf.Tensor]) -> None:
    plain, detected = model(pictures[0], training=False), tta.detect(model, pictures[:1], flip=False)
    for name in ("boxes", "confidence", "classes"):
        np.testing.assert_array_equal(detected[name], plain[name])


def test_flip_averages_heatmap_and_size_and_keeps_the_offset(
    model: network.CenterNetModel, pictures: list[tf.Tensor]
) -> None:
    """xingyizhou/CenterNet, detectors/ctdet.py, computed with numpy."""
    own, mirrored = maps(model, pictures[0]), maps(model, pictures[0][:, :, ::-1])
    heatmap, size, offset = found(tta.averaged_maps(model, pictures[:1], flip=True))
    np.testing.assert_allclose(heatmap, (own[0] + mirrored[0][:, :, ::-1]) / 2, atol=1e-5)
    np.testing.assert_allclose(size, (own[1] + mirrored[1][:, :, ::-1]) / 2, atol=1e-4)
    np.testing.assert_allclose(offset, own[2], atol=1e-4)


def test_an_image_and_its_mirror_score_the_same_with_flip(
    model: network.CenterNetModel, pictures: list[tf.Tensor]
) -> None:
    sides = [pictures, [batch[:, :, ::-1] for batch in pictures]]
    for flip in (False, True):
        scores = [tta.detect(model, side, flip=flip)["confidence"].numpy() for side in sides]
        assert np.allclose(*scores, atol=1e-5) == flip


def test_scales_are_averaged_on_the_plain_grid(model: network.CenterNetModel, pictures: list[tf.Tensor]) -> None:
    # First: only then does the model take the other size.
    heatmap, size, offset = found(tta.averaged_maps(model, pictures, flip=False))
    plain, larger = maps(model, pictures[0]), maps(model, pictures[1])
    assert larger[0].shape == (2, 12, 24, 3)
    spread = tf.nn.max_pool2d(larger[0], 3, 1, "SAME")
    resized = tf.image.resize(spread, (8, 16)).numpy(), tf.image.resize(larger[1], (8, 16)).numpy() / 1.5
    np.testing.assert_allclose(heatmap, (plain[0] + resized[0]) / 2, atol=1e-5)
    np.testing.assert_allclose(size, (plain[1] + resized[1]) / 2, atol=1e-4)
    np.testing.assert_allclose(offset, plain[2], atol=1e-5)


@pytest.mark.parametrize("scale", [0.5, 0.75, 1.25, 1.5, 2.0])
def test_a_peak_of_another_scale_lands_in_its_cell(scale: float) -> None:
    """One object, seen at two scales: its peak is the highest of the cells, and its size the same."""
    grid, centre, side = (32, 48), (14.3, 21.6), (6.0, 9.0)
    rows, columns = round(grid[0] * scale), round(grid[1] * scale)
    heatmap, size = np.zeros((1, rows, columns, 1), np.float32), np.zeros((1, rows, columns, 2), np.float32)
    heatmap[0, int(centre[0] * scale), int(centre[1] * scale)] = 1
    size[:] = np.array(side) * scale
    moved, cells = tta._to_grid(tf.constant(heatmap), tf.constant(size), grid)
    y, x = np.unravel_index(np.argmax(moved), grid)
    # No better than half a cell of the coarser grid, and half of the plain one.
    error = 0.5 + 0.5 / min(scale, 1) + 1e-6
    assert abs(y + 0.5 - centre[0]) <= error
    assert abs(x + 0.5 - centre[1]) <= error
    assert moved.numpy().max() >= 0.35, "a peak is not stepped over"
    np.testing.assert_allclose(cells[0, y, x], side, rtol=1e-5)


@pytest.mark.parametrize(
    ("size", "scales", "multiple", "expected"),
    [
        ((512, 512), (1.0,), 128, ((512, 512),)),
        ((512, 512), (1.0, 0.5, 0.75, 1.25), 128, ((512, 512), (256, 256), (384, 384), (640, 640))),
        ((32, 64), (1.0, 1.5), 8, ((32, 64), (48, 96))),
        ((100, 100), (1.0,), 8, ((100, 100),)),  # the plain one was trained with: no objection
        ((512, 512), (1.0, 1.3), 128, "1.3 makes the input 665.6x665.6; this network needs multiples of 128: use 1.25"),
        ((512, 384), (1.0, 1.25), 128, "use 1$"),
        ((128, 128), (1.0, 0.1), 16, "use 0.125"),
    ],
)
def test_scaled_sizes(
    size: tuple[int, int], scales: tuple[float, ...], multiple: int, expected: tuple[tuple[int, int], ...] | str
) -> None:
    if isinstance(expected, str):
        with pytest.raises(InputError, match=expected):
            tta.scaled_sizes(size, scales, multiple)
    else:
        assert tta.scaled_sizes(size, scales, multiple) == expected
