"""Heads at single cells are the heads over the map, read at these cells: values and gradients."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from official.projects.centernet.modeling.layers.cn_nn_blocks import CenterNetHeadConv

from tests.trainer.made_records import CLASSES, SIZE, TINY_CONFIG
from trainer.config.experiment import build_experiment
from trainer.config.sections import parse_config
from trainer.model import object_heads
from trainer.model.network import build_model

HEIGHT, WIDTH, CHANNELS = 5, 7, 4
CELLS = [
    [0, WIDTH - 1, HEIGHT * WIDTH - 1, (HEIGHT - 1) * WIDTH, WIDTH],  # the corners, and an edge
    [2 * WIDTH + 3, 2 * WIDTH + 3, 2 * WIDTH + 4, 0, 0],  # the same cell twice, a neighbour, and padding
]


@pytest.fixture
def head(policy: str) -> CenterNetHeadConv:
    """A head whose convolutions have the policy too."""
    before = tf_keras.mixed_precision.global_policy()
    tf_keras.mixed_precision.set_global_policy(policy)
    tf_keras.utils.set_random_seed(3)
    made = CenterNetHeadConv(2, bias_init=0.5, name="ct_size2")
    made(tf.zeros([1, HEIGHT, WIDTH, CHANNELS], made.compute_dtype))
    tf_keras.mixed_precision.set_global_policy(before)
    return made


@pytest.mark.parametrize("compiled", [False, True], ids=["graph", "XLA"])
@pytest.mark.parametrize(
    ("policy", "tolerance"), [("float32", 1e-5), ("mixed_bfloat16", 0.03), ("mixed_float16", 0.004)]
)
def test_values_and_gradients_are_those_of_the_map(head: CenterNetHeadConv, tolerance: float, compiled: bool) -> None:
    random = np.random.default_rng(0)
    features = tf.constant(random.normal(size=(2, HEIGHT, WIDTH, CHANNELS)), head.compute_dtype)
    weight = tf.constant(random.normal(size=(2, len(CELLS[0]), 2)), tf.float32)

    @tf.function(jit_compile=compiled)
    def both(at_cells: bool) -> tuple[tf.Tensor, list[tf.Tensor]]:
        with tf.GradientTape() as tape:
            tape.watch(features)
            if at_cells:
                found = object_heads.at_cells(head, object_heads.surroundings(features, tf.constant(CELLS)))
            else:
                whole = tf.reshape(head(features), [2, HEIGHT * WIDTH, 2])
                found = tf.gather(whole, tf.constant(CELLS), batch_dims=1)
            loss = tf.reduce_sum(tf.cast(found, tf.float32) * weight)
        return found, tape.gradient(loss, [features, *head.trainable_variables])

    (found, gradients), (of_map, gradients_of_map) = both(True), both(False)
    assert found.dtype == of_map.dtype == head.compute_dtype
    assert len(gradients) == 5
    for one, other in zip([found, *gradients], [of_map, *gradients_of_map], strict=True):
        wanted = np.asarray(other, np.float32)
        np.testing.assert_allclose(np.asarray(one, np.float32), wanted, atol=tolerance * np.abs(wanted).max())


def test_every_stack_has_its_own_heads() -> None:
    text = TINY_CONFIG
    for one, two in (
        ("num_hourglasses: 1", "num_hourglasses: 2"),
        ("input_levels: ['2']", "input_levels: ['2_0', '2']"),
    ):
        assert one in text
        text = text.replace(one, two)
    task = build_experiment(parse_config(text)).task
    task.model.num_classes = CLASSES
    model = build_model(task)
    image = tf.constant(np.random.default_rng(0).normal(size=(2, *SIZE, 3)), tf.float32)
    maps, cell = model(image, training=True)["raw_output"], tf.constant([[0, 5, 9], [3, 3, 8]])
    found = model.at_objects(image, cell)
    assert set(found) == set(maps)
    for name, stacks in found.items():
        assert len(stacks) == len(maps[name]) == 2
        for one, whole in zip(stacks, maps[name], strict=True):
            flat = tf.reshape(whole, [2, -1, whole.shape[-1]])
            wanted = whole if name == "ct_heatmaps" else tf.gather(flat, cell, batch_dims=1)
            np.testing.assert_allclose(one, wanted, atol=1e-5)
