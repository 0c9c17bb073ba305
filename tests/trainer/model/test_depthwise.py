"""A wide depthwise filter's gradient in parts is the whole gradient, and only a network's wide filters have it."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from trainer.model import depthwise

CHANNELS = 3


def convolution(**settings: object) -> tf_keras.layers.DepthwiseConv2D:
    """A layer as EfficientNet has it, but for the settings."""
    return tf_keras.layers.DepthwiseConv2D(**{"kernel_size": 5, "padding": "same", "use_bias": False} | settings)


def gradients(layer: tf_keras.layers.Layer, image: tf.Tensor, in_parts: bool) -> tuple[list[tf.Tensor], int]:
    """(gradients of a weighted sum of the output with respect to input and filter, filter gradients in the graph)."""

    @tf.function
    def call(image: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape, depthwise.gradients_in_parts(in_parts):
            tape.watch(image)
            output = layer(image)
            weight = tf.sin(tf.range(tf.size(output), dtype=tf.float32))
            loss = tf.tensordot(tf.reshape(tf.cast(output, tf.float32), [-1]), weight, 1)
        return tape.gradient(loss, [image, *layer.trainable_variables])

    graph = call.get_concrete_function(image).graph
    parts = [op for op in graph.get_operations() if op.type == "DepthwiseConv2dNativeBackpropFilter"]
    return call(image), len(parts)


@pytest.mark.parametrize("size", [(6, 6), (7, 4), (1, 9), (16, 33)], ids=str)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(
    ("kernel", "policy", "parts", "tolerance"),
    [
        (5, "float32", 2, 1e-5),
        (7, "float32", 3, 1e-5),
        ((3, 4), "float32", 2, 1e-5),
        (5, "mixed_bfloat16", 2, 0.03),
    ],
)
def test_the_gradient_in_parts_is_the_gradient(
    size: tuple[int, int], stride: int, kernel: int | tuple[int, int], policy: str, parts: int, tolerance: float
) -> None:
    tf_keras.utils.set_random_seed(1)
    image = tf.random.stateless_normal([2, *size, CHANNELS], (0, 1))
    layer = convolution(kernel_size=kernel, strides=stride, dtype=policy)
    model = tf_keras.Sequential([layer])
    model(image)
    wanted, whole = gradients(layer, image, in_parts=True)
    assert whole == 1, "before `use`, the layer is Keras's"
    depthwise.use(model)
    plain, whole = gradients(layer, image, in_parts=False)
    found, made = gradients(layer, image, in_parts=True)
    assert (whole, made) == (1, parts)
    for one, other, first in zip(found, plain, wanted, strict=True):
        assert one.dtype == other.dtype and one.shape == other.shape
        np.testing.assert_array_equal(other, first)
        np.testing.assert_allclose(one, other, atol=tolerance * np.abs(other).max())


@pytest.mark.parametrize(
    "settings",
    [
        {"kernel_size": 3},
        {"padding": "valid"},
        {"dilation_rate": 2},
        {"depth_multiplier": 2},
        {"use_bias": True},
        {"activation": "relu"},
        {"strides": (1, 2)},
        {"data_format": "channels_first"},
    ],
    ids=str,
)
def test_other_convolutions_are_left_alone(settings: dict[str, object]) -> None:
    layer = convolution(**settings)
    depthwise.use(tf_keras.Sequential([layer]))
    assert type(layer) is tf_keras.layers.DepthwiseConv2D
