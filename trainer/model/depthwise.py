"""The gradient of a wide depthwise filter, computed a few columns at a time.

On a CPU, oneDNN 3.7 (TensorFlow 2.20) has fast kernels for the gradient of a depthwise filter of up to three columns.
That of a 5 x 5 filter, as in half of EfficientNet's blocks, goes through a general kernel that takes ten times as long:
a seventh of the whole step of EfficientNet-lite0 with an FPN. Each column of a filter has its own gradient, so three
columns and then two give the same as five at once, but for the order of sums.
"""

import contextlib
import contextvars
from collections.abc import Iterator

import tensorflow as tf
import tf_keras

COLUMNS = 3
"""Number of columns of the widest filter that oneDNN's fast kernels know."""

_in_parts = contextvars.ContextVar("in_parts", default=False)


@contextlib.contextmanager
def gradients_in_parts(enabled: bool) -> Iterator[None]:
    """While active and enabled, the layers that `use` chose are traced with the gradient in parts."""
    token = _in_parts.set(enabled)
    try:
        yield
    finally:
        _in_parts.reset(token)


def use(model: tf_keras.Model) -> None:
    """Makes every wide depthwise convolution of a model one whose gradient can be in parts; its variables stay."""
    for layer in model.submodules:
        if type(layer) is tf_keras.layers.DepthwiseConv2D and _is_plain(layer) and layer.kernel_size[1] > COLUMNS:
            layer.__class__ = WideDepthwiseConv2D


def _is_plain(layer: tf_keras.layers.DepthwiseConv2D) -> bool:
    """Whether the layer is the convolution alone."""
    return (
        layer.padding == "same"
        and layer.data_format == "channels_last"
        and layer.strides[0] == layer.strides[1]
        and layer.dilation_rate == (1, 1)
        and layer.depth_multiplier == 1
        and not layer.use_bias
        and layer.activation is tf_keras.activations.linear
    )


class WideDepthwiseConv2D(tf_keras.layers.DepthwiseConv2D):
    """What `use` makes of Keras's layer."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """The layer's output; see `gradients_in_parts`."""
        if not _in_parts.get():
            return super().call(inputs)
        return _convolve(inputs, tf.convert_to_tensor(self.depthwise_kernel), self.strides[0])


def _convolve(inputs: tf.Tensor, kernel: tf.Tensor, stride: int) -> tf.Tensor:
    strides = [1, stride, stride, 1]

    @tf.custom_gradient
    def convolve(inputs: tf.Tensor, kernel: tf.Tensor) -> tuple[tf.Tensor, object]:
        def gradients(output: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            of_inputs = tf.raw_ops.DepthwiseConv2dNativeBackpropInput(
                input_sizes=tf.shape(inputs), filter=kernel, out_backprop=output, strides=strides, padding="SAME"
            )
            return of_inputs, filter_gradient(inputs, output, tuple(kernel.shape[:2]), stride)

        return tf.nn.depthwise_conv2d(inputs, kernel, strides, "SAME"), gradients

    return convolve(inputs, kernel)


@tf.autograph.experimental.do_not_convert
def filter_gradient(inputs: tf.Tensor, output: tf.Tensor, kernel_size: tuple[int, int], stride: int) -> tf.Tensor:
    """The gradient of a depthwise filter, padding "SAME", in parts of `COLUMNS` columns.

    Args:
      inputs: [B, H, W, C], of the convolution.
      output: [B, ceil(H / stride), ceil(W / stride), C], the gradient of its output.
      kernel_size: rows and columns of the filter.
      stride: of both directions.

    Returns:
      [rows, columns, C, 1], in the inputs' precision.
    """
    rows, columns = kernel_size
    (height, width), (out_height, out_width) = inputs.shape[1:3], output.shape[1:3]
    padding = _same_padding(height, rows, stride), _same_padding(width, columns, stride)
    padded = tf.pad(inputs, [[0, 0], *padding, [0, 0]])

    def part(first: int) -> tf.Tensor:
        size = min(COLUMNS, columns - first)
        return tf.raw_ops.DepthwiseConv2dNativeBackpropFilter(
            # The rows and columns that a convolution of this part would read, and no more.
            input=padded[:, : (out_height - 1) * stride + rows, first : first + (out_width - 1) * stride + size],
            filter_sizes=[rows, size, inputs.shape[3], 1],
            out_backprop=output,
            strides=[1, stride, stride, 1],
            padding="VALID",
        )

    return tf.concat([part(first) for first in range(0, columns, COLUMNS)], axis=1)


def _same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """(before, after), as TensorFlow pads; https://www.tensorflow.org/api_docs/python/tf/nn#notes_on_padding_2."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2
