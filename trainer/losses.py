"""CenterNet's losses, in float32 from logits.

Sums, not means: the task divides by the number of objects in the *global* batch, so that the loss does not
depend on how the batch is split over replicas.
"""

import tensorflow as tf


def focal_loss_sum(logits: tf.Tensor, heatmap: tf.Tensor, charged: tf.Tensor) -> tf.Tensor:
    """Penalty-reduced pixelwise logistic focal loss, equation 1 of "Objects as Points" (alpha 2, beta 4).

    Model Garden's PenaltyReducedLogisticFocalLoss clips sigmoid to [1e-4, 1 - 1e-4], where its gradient is
    zero; in the log-sigmoid form nothing needs to be clipped. Inside the clip they are equal.

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


def l1_loss_sum(prediction: tf.Tensor, target: tf.Tensor, cell: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Sum over objects and both coordinates of |prediction at the centre cell - target|.

    Args:
      prediction: float32 [B, S, 2].
      target: float32 [B, N, 2].
      cell: int32 [B, N], within S.
      mask: float32 [B, N].
    """
    at_centre = tf.gather(prediction, cell, batch_dims=1)
    return tf.reduce_sum(tf.reduce_sum(tf.abs(at_centre - target), axis=-1) * mask)
