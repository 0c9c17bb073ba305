import numpy as np
import pytest
import tensorflow as tf

from beam_preprocess.format.targets import assign_targets, code_table, dense_heatmap
from tests.trainer.made_records import CLASSES, CUTOFF, MAP, SIZE, make_objects
from trainer.data import heatmap


def _labels(boxes: np.ndarray, classes: np.ndarray, crowd: np.ndarray, pad: int = 3) -> heatmap.Labels:
    """A batch of one image, padded as the input pipeline does."""
    targets = assign_targets(boxes, classes, crowd, image_size=SIZE, stride=4, cutoff=CUTOFF)
    value = code_table(MAP, CUTOFF).values[targets.cell_code] * ~targets.cell_crowd

    def padded(array: np.ndarray, dtype: type) -> tf.Tensor:
        return tf.constant(np.pad(array.astype(dtype), [(0, pad)] + [(0, 0)] * (array.ndim - 1))[None])

    return heatmap.Labels(
        image_id=tf.constant([1], tf.int64),
        image_weight=tf.constant([1.0]),
        valid=tf.constant([[0, 0, SIZE[0] - 4, SIZE[1] - 8]]),
        cell_index=padded(targets.cell_index, np.int32),
        cell_class=padded(targets.cell_class, np.int32),
        cell_value=padded(value, np.float32),
        object_cell=padded(targets.object_cell, np.int32),
        object_class=padded(targets.object_class, np.int32),
        object_offset=padded(targets.object_offset, np.float32),
        object_size=padded(targets.object_size, np.float32),
        object_mask=padded(~targets.object_crowd, np.float32),
        ignore_mask=padded(targets.object_crowd, np.float32),
    )


@pytest.mark.parametrize("count", [0, 1, 7])
def test_dense_heatmap_is_the_numpy_one(count: int) -> None:
    boxes, classes = make_objects(np.random.default_rng(count), count)
    labels = _labels(boxes, classes, np.zeros(count, bool))
    expected = assign_targets(boxes, classes, np.zeros(count, bool), image_size=SIZE, stride=4, cutoff=CUTOFF)
    found = heatmap.dense_heatmap(labels, MAP, CLASSES).numpy().reshape(*MAP, CLASSES)
    np.testing.assert_array_equal(found, dense_heatmap(expected, MAP, CLASSES, CUTOFF))


def test_flip_mirrors_image_heatmap_and_offsets() -> None:
    boxes, classes = make_objects(np.random.default_rng(5), 6)
    labels = _labels(boxes, classes, np.zeros(6, bool))
    image = np.random.default_rng(0).random((1, *SIZE, 3), np.float32)
    flipped_image, flipped = heatmap.flip(tf.constant(image), labels, tf.constant([True]), MAP[1])
    np.testing.assert_array_equal(flipped_image.numpy(), image[:, :, ::-1])
    mirrored = boxes.copy()
    mirrored[:, [1, 3]] = SIZE[1] - boxes[:, [3, 1]]
    expected = _labels(mirrored, classes, np.zeros(6, bool))
    np.testing.assert_array_equal(
        heatmap.dense_heatmap(flipped, MAP, CLASSES).numpy(), heatmap.dense_heatmap(expected, MAP, CLASSES).numpy()
    )
    np.testing.assert_array_equal(flipped.object_cell[0, :6], expected.object_cell[0, :6])
    np.testing.assert_allclose(flipped.object_offset[0, :6], expected.object_offset[0, :6], atol=1e-5)
    np.testing.assert_array_equal(flipped.valid.numpy(), [[0, 8, SIZE[0] - 4, SIZE[1]]])
    _, unflipped = heatmap.flip(tf.constant(image), labels, tf.constant([False]), MAP[1])
    for before, after in zip(labels, unflipped, strict=True):
        np.testing.assert_array_equal(before, after)


def test_crowd_regions_are_not_charged_for_their_class_only() -> None:
    boxes = np.array([[4.0, 8.0, 20.0, 40.0], [0.0, 0.0, 8.0, 8.0]])
    labels = _labels(boxes, np.array([1, 2]), np.array([True, False]))
    weight = np.broadcast_to(heatmap.charged(labels, MAP, CLASSES).numpy(), (1, MAP[0] * MAP[1], CLASSES))
    weight = weight.reshape(*MAP, CLASSES)
    expected = np.ones((*MAP, CLASSES), np.float32)
    expected[1:5, 2:10, 1] = 0
    np.testing.assert_array_equal(weight, expected)


def test_without_crowds_only_filling_images_are_not_charged() -> None:
    labels = _labels(*make_objects(np.random.default_rng(0), 2), np.zeros(2, bool))
    labels = labels._replace(ignore_mask=labels.ignore_mask[:, :0], image_weight=tf.constant([0.0]))
    assert heatmap.charged(labels, MAP, CLASSES).numpy().tolist() == [[[0.0]]]
