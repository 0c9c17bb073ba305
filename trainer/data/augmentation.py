"""Augmentation on the device, from uint8 images: flip, brightness, contrast, saturation, hue.

The geometry was drawn when the records were made, together with the targets. The draws here depend only on
(seed, step, image id): a resumed run draws what an uninterrupted one would have drawn.
"""

import math

import numpy as np
import tensorflow as tf

from trainer.config.experiment import Augmentation
from trainer.data.heatmap import Labels, flip

LUMA = (0.299, 0.587, 0.114)
"""ITU-R BT.601 weights of R, G and B."""

_TO_IQ = np.array([[0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]])
"""RGB to the two chroma axes of YIQ (FCC NTSC)."""
_QUARTER_TURN = np.linalg.inv(np.vstack([LUMA, _TO_IQ]))[:, 1:] @ np.array([[0.0, -1.0], [1.0, 0.0]]) @ _TO_IQ
"""What a rotation of the hue by 90 degrees adds to an RGB colour; grey maps to 0."""


@tf.autograph.experimental.do_not_convert  # no condition on a tensor
def augment(
    image: tf.Tensor, labels: Labels, config: Augmentation, seed: int, step: tf.Tensor, map_width: int
) -> tuple[tf.Tensor, Labels]:
    """Draws one augmentation for every image.

    Args:
      image: uint8 [B, H, W, 3], RGB.
      labels: their targets.
      config: what to draw.
      seed: of the run.
      step: int64 scalar, the global step.
      map_width: heatmap width in cells.

    Returns:
      (float32 [B, H, W, 3] in 0..255, padding 0; the targets, mirrored where the image is).
    """
    image = tf.cast(image, tf.float32)
    draws = _uniform(labels.image_id, seed, step, 5)
    # The padding must stay black and must not count.
    inside = _inside(labels.valid, image)
    image = inside * _jitter(image, inside, config, 2.0 * draws[:, 1:] - 1.0)
    if config.flip:
        image, labels = flip(image, labels, draws[:, 0] < 0.5, map_width)
    return image, labels


def _uniform(image_id: tf.Tensor, seed: int, step: tf.Tensor, count: int) -> tf.Tensor:
    """float32 [B, count] in [0, 1), a function of (seed, step, image id)."""
    size = tf.shape(image_id)[0]
    # One table per step, in which each image picks its row by its id: the draw doesn't depend on the number of
    # replicas.
    key = tf.stack([tf.cast(seed, tf.int64), tf.cast(step, tf.int64)])
    table = tf.random.stateless_uniform([_ROWS, count], key)
    rows = tf.cast(tf.math.floormod(image_id, tf.constant(_ROWS, image_id.dtype)), tf.int32)
    return tf.reshape(tf.gather(table, rows), [size, count])


_ROWS = 4093
"""A prime, so that neighbouring ids, and ids with a common stride, pick different rows."""


def _jitter(image: tf.Tensor, inside: tf.Tensor, config: Augmentation, draws: tf.Tensor) -> tf.Tensor:
    """Brightness, contrast (around the mean of the grey image), saturation and hue: one affine map of the colours.

    brightness: b x;  hue: a rotation in the chroma plane of YIQ;  saturation: grey + s (x - grey);
    contrast: mean + c (x - mean). Hue and saturation keep the grey value, so the mean is b times the original's, and
    the four become one 3 x 3 matrix and one constant per image.

    Args:
      image: float32 [B, H, W, 3] in 0..255.
      inside: float32 [B, H, W, 1]: 1 where the mean is taken.
      config: the ranges.
      draws: float32 [B, 4] in [-1, 1).
    """
    ranges = tf.constant([[config.brightness, config.contrast, config.saturation]])
    brightness, contrast, saturation = (f[:, None, None] for f in tf.unstack(1.0 + draws[:, :3] * ranges, axis=1))
    angle = (2.0 * math.pi * config.hue * draws[:, 3])[:, None, None]
    grey = tf.constant([LUMA] * 3)  # a colour to its grey value, three times
    hue = grey + tf.cos(angle) * (tf.eye(3) - grey) + tf.sin(angle) * tf.constant(_QUARTER_TURN, tf.float32)
    colours = contrast * brightness * (grey + saturation * (hue - grey))
    colour = tf.reduce_sum(inside * image, axis=[1, 2]) / tf.maximum(tf.reduce_sum(inside, axis=[1, 2]), 1.0)
    mean = brightness[:, 0] * tf.tensordot(colour, tf.constant([LUMA]), axes=[1, 1])
    mixed = tf.einsum("bhwc,bdc->bhwd", image, colours) + ((1.0 - contrast[:, 0]) * mean)[:, None, None]
    return tf.clip_by_value(mixed, 0.0, 255.0)


def _inside(valid: tf.Tensor, image: tf.Tensor) -> tf.Tensor:
    """float32 [B, H, W, 1]: 1 inside the valid rectangle, 0 in the padding."""
    y = tf.range(tf.shape(image)[1])[None, :]
    x = tf.range(tf.shape(image)[2])[None, :]
    rows = (y >= valid[:, 0:1]) & (y < valid[:, 2:3])
    columns = (x >= valid[:, 1:2]) & (x < valid[:, 3:4])
    return tf.cast(rows[:, :, None] & columns[:, None, :], image.dtype)[..., None]
