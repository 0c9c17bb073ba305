"""CenterNet's losses, in float32 from logits.

Sums, not means: the task divides by the number of objects in the *global* batch, so that the loss does not depend on
how the batch is split over replicas.
"""

from collections.abc import Callable

import tensorflow as tf


def sparse_focal_loss_sum(logits: tf.Tensor, index: tf.Tensor, value: tf.Tensor, charged: tf.Tensor) -> tf.Tensor:
    """`focal_loss_sum` of a heatmap that is given by its stored cells and 0 elsewhere, without building the heatmap.

    Where the heatmap is 0, the loss is sigmoid(x)^2 softplus(x), a function of the logits alone; the stored cells, a
    thousandth of all, are corrected one by one. The gradient is written by hand, because the derived one keeps and
    reads several times as many arrays of [B, S, C].

    Args:
      logits: float32 [B, S, C].
      index: int32 [B, M, 2]: (cell, class) of the stored cells. Cells with a value other than 0 are unique.
      value: float32 [B, M]; exactly 1.0 at centres, 0 in the padding.
      charged: float32 [B, S, C] or [B, 1, 1]: weight of the negatives.

    Returns:
      float32 scalar.
    """
    images = tf.broadcast_to(tf.range(tf.shape(index)[0])[:, None, None], tf.shape(index[..., :1]))
    index = tf.concat([images, index], axis=-1)
    everywhere_same = charged.shape[1:] == [1, 1]

    @tf.custom_gradient
    def loss_sum(logits: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        probability = tf.sigmoid(logits)
        complement = 1.0 - probability
        squared = tf.square(probability)
        # softplus(x) = relu(x) - log(sigmoid(|x|)): the logarithm of a number of at least 1/2, with one exponential
        # fewer than softplus and sigmoid separately.
        softplus = tf.nn.relu(logits) - tf.math.log(tf.maximum(probability, complement))
        background = squared * softplus

        at = tf.gather_nd(logits, index)
        weight = charged[:, :, 0] if everywhere_same else tf.gather_nd(charged, index)
        p, minus_log_one_minus_p, minus_log_p = tf.sigmoid(at), tf.nn.softplus(at), tf.nn.softplus(-at)
        q = tf.sigmoid(-at)
        # The correction at a stored cell: less of the background and, at a centre, the positive term.
        less = (tf.square(tf.square(1.0 - value)) - 1.0) * weight
        centre = tf.cast(value >= 1.0, tf.float32)
        stored = less * tf.square(p) * minus_log_one_minus_p + centre * tf.square(q) * minus_log_p

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            dense = (squared * probability + 2.0 * complement * background) * (upstream * charged)
            change = less * tf.square(p) * (p + 2.0 * q * minus_log_one_minus_p)
            change -= centre * tf.square(q) * (q + 2.0 * p * minus_log_p)
            return tf.tensor_scatter_nd_add(dense, index, upstream * change)

        return tf.reduce_sum(charged * _over_map(background, everywhere_same)) + tf.reduce_sum(stored), gradient

    return loss_sum(logits)


def _over_map(background: tf.Tensor, wanted: bool) -> tf.Tensor:
    """Sums over the map first if all cells of an image have one weight, which saves one array of the map's size."""
    return tf.reduce_sum(background, axis=[1, 2], keepdims=True) if wanted else background


def focal_loss_sum(logits: tf.Tensor, heatmap: tf.Tensor, charged: tf.Tensor) -> tf.Tensor:
    """Penalty-reduced pixelwise logistic focal loss, equation 1 of "Objects as Points" (alpha 2, beta 4).

    Model Garden's PenaltyReducedLogisticFocalLoss clips sigmoid to [1e-4, 1 - 1e-4], where its gradient is
    zero; the log-sigmoid form needs no clipping. Inside the clip they are equal.

    Args:
      logits: float32 [B, S, C].
      heatmap: float32 [B, S, C]; exactly 1.0 at centres.
      charged: float32, broadcastable to [B, S, C]: weight of the negatives.

    Returns:
      float32 scalar.
    """
    probability = tf.sigmoid(logits)
    log_one_minus = -tf.nn.softplus(logits)
    log_probability = logits + log_one_minus
    positive = tf.square(1.0 - probability) * log_probability
    negative = tf.square(tf.square(1.0 - heatmap)) * tf.square(probability) * log_one_minus * charged
    return -tf.reduce_sum(tf.where(heatmap >= 1.0, positive, negative))


def l1_loss_sum(prediction: tf.Tensor, target: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Sum over objects and both coordinates of |prediction - target|.

    Args:
      prediction: float32 [B, N, 2], at the objects' centre cells.
      target: float32 [B, N, 2].
      mask: float32 [B, N].
    """
    return tf.reduce_sum(tf.reduce_sum(tf.abs(prediction - target), axis=-1) * mask)
