import numpy as np
import tensorflow as tf
from official.projects.centernet.losses import centernet_losses

from trainer import losses


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


def test_l1_loss_reads_the_centre_cells_and_skips_padding() -> None:
    prediction = tf.reshape(tf.range(20, dtype=tf.float32), [1, 10, 2])
    target = tf.constant([[[4.0, 6.0], [9.0, 9.0]]])
    loss = losses.l1_loss_sum(prediction, target, tf.constant([[2, 0]]), tf.constant([[1.0, 0.0]]))
    assert loss.numpy() == abs(4 - 4) + abs(5 - 6)
