from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf
from official.projects.centernet.losses import centernet_losses

from trainer.model import losses


def _case(logit_range: float) -> tuple[tf.Tensor, tf.Tensor]:
    rng = np.random.default_rng(0)
    heatmap = rng.random((2, 30, 4), np.float32) ** 4
    heatmap[0, 3, 1] = heatmap[1, 7, 2] = 1.0
    return tf.constant(rng.uniform(-logit_range, logit_range, heatmap.shape).astype(np.float32)), tf.constant(heatmap)


def test_focal_loss_and_gradient_are_model_gardens_inside_its_clip() -> None:
    logits, heatmap = _case(8.0)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(logits)
        ours = losses.focal_loss_sum(logits, heatmap, tf.ones([2, 1, 1]))
        shipped = tf.reduce_sum(centernet_losses.PenaltyReducedLogisticFocalLoss()(logits, heatmap))
    np.testing.assert_allclose(ours, shipped, rtol=1e-5)
    np.testing.assert_allclose(tape.gradient(ours, logits), tape.gradient(shipped, logits), rtol=1e-3, atol=1e-4)


def test_focal_loss_still_has_a_gradient_where_the_clip_has_none() -> None:
    logits = tf.constant([[[-30.0, 30.0]]])
    heatmap = tf.constant([[[1.0, 0.0]]])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(logits)
        ours = losses.focal_loss_sum(logits, heatmap, tf.ones([1, 1, 1]))
        shipped = tf.reduce_sum(centernet_losses.PenaltyReducedLogisticFocalLoss()(logits, heatmap))
    np.testing.assert_allclose(tape.gradient(ours, logits), [[[-1.0, 1.0]]], rtol=1e-4)
    assert not tape.gradient(shipped, logits).numpy().any()


def test_uncharged_cells_cost_nothing_but_centres_do() -> None:
    logits, heatmap = _case(3.0)
    free = losses.focal_loss_sum(logits, heatmap, tf.zeros([2, 1, 1]))
    p = tf.sigmoid(tf.stack([logits[0, 3, 1], logits[1, 7, 2]]))
    np.testing.assert_allclose(free, -tf.reduce_sum((1 - p) ** 2 * tf.math.log(p)), rtol=1e-5)


def test_l1_loss_skips_padding() -> None:
    prediction, target = tf.constant([[[4.0, 5.0], [0.0, 1.0]]]), tf.constant([[[4.0, 6.0], [9.0, 9.0]]])
    loss = losses.l1_loss_sum(prediction, target, tf.constant([[1.0, 0.0]]))
    assert loss.numpy() == abs(4 - 4) + abs(5 - 6)


@pytest.mark.parametrize("crowds", [False, True], ids=["same weight", "crowd regions"])
@pytest.mark.parametrize("compiled", [False, True], ids=["graph", "XLA"])
@pytest.mark.parametrize("logit_range", [3.0, 40.0])
def test_the_sparse_loss_is_the_dense_one(logit_range: float, compiled: bool, crowds: bool) -> None:
    """And its gradient, which is written by hand, is the derived one; also where float32 saturates."""
    logits, heatmap = _case(logit_range)
    stored = heatmap.numpy() * (heatmap.numpy() > 0.3)
    batch, cells, classes = stored.shape
    most = max(int((image > 0).sum()) for image in stored) + 5
    index, value = np.zeros((batch, most, 2), np.int32), np.zeros((batch, most), np.float32)
    for i, image in enumerate(stored):
        at = np.argwhere(image > 0)
        index[i, : len(at)], value[i, : len(at)] = at, image[tuple(at.T)]
    rng = np.random.default_rng(3)
    # An image that only fills up, or regions that are not charged.
    charged = rng.integers(0, 2, (batch, cells, classes)) if crowds else np.array([[[1]], [[0]]])
    charged = tf.constant(charged, tf.float32)

    def gradient(loss: Callable[[tf.Tensor], tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        @tf.function(jit_compile=compiled)
        def call(logits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            with tf.GradientTape() as tape:
                tape.watch(logits)
                value = 3.0 * loss(logits)
            return value, tape.gradient(value, logits)

        return call(logits)

    sparse = gradient(lambda x: losses.sparse_focal_loss_sum(x, tf.constant(index), tf.constant(value), charged))
    dense = gradient(lambda x: losses.focal_loss_sum(x, tf.constant(stored), charged))
    np.testing.assert_allclose(sparse[0], dense[0], rtol=1e-5)
    np.testing.assert_allclose(sparse[1], dense[1], rtol=1e-4, atol=1e-5)
