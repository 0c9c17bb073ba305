"""The heads of size and offset at the objects' cells alone: training compares them nowhere else.

A head is a 3 x 3 convolution, a ReLU and a 1 x 1 convolution, so its output at a cell depends on the 3 x 3 features
around it. Over the whole map, the two heads take an eighth of the computation of Hourglass-104's step, and a quarter of
that of EfficientNet-lite0 with an FPN; at a hundred cells, hardly any. Values and gradients are those of the map.
"""

import tensorflow as tf
import tf_keras


@tf.autograph.experimental.do_not_convert
def surroundings(features: tf.Tensor, cell: tf.Tensor) -> tf.Tensor:
    """The 3 x 3 features around each cell, row by row; 0 outside the map, as a convolution pads.

    Args:
      features: [B, H, W, C].
      cell: int32 [B, N], row-major, within the map.

    Returns:
      [B, N, 9 * C].
    """
    height, width, channels = features.shape[1:]
    step = tf.range(-1, 2)
    y = (cell // width)[:, :, None, None] + step[:, None]
    x = (cell % width)[:, :, None, None] + step
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    index = tf.where(inside, y * width + x, 0)
    around = tf.gather(tf.reshape(features, [-1, height * width, channels]), index, batch_dims=1)
    around = tf.where(inside[..., None], around, tf.zeros([], around.dtype))
    return tf.reshape(around, [-1, cell.shape[1], 9 * channels])


@tf.autograph.experimental.do_not_convert
def at_cells(head: tf_keras.layers.Layer, around: tf.Tensor) -> tf.Tensor:
    """What a head returns at some cells.

    Args:
      head: a CenterNetHeadConv, a layer of Model Garden's CenterNetHead.
      around: [B, N, 9 * C], what `surroundings` returns.

    Returns:
      [B, N, outputs], in the precision of the network.
    """
    hidden = tf.nn.relu(_at_each(head.conv1, around))
    return _at_each(head.conv2, hidden)


def _at_each(convolution: tf_keras.layers.Conv2D, inputs: tf.Tensor) -> tf.Tensor:
    """The convolution's output at places whose inputs lie in one row: [B, N, kernel height * width * channels]."""
    kernel = tf.cast(convolution.kernel, inputs.dtype)
    kernel = tf.reshape(kernel, [-1, kernel.shape[-1]])
    return tf.tensordot(inputs, kernel, 1) + tf.cast(convolution.bias, inputs.dtype)
