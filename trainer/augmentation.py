"""Augmentation on the device, from uint8 images: flip, brightness, contrast, saturation.

The geometry was drawn when the records were made, together with its targets. What is drawn here depends on
(seed, step, image id) alone: a resumed run draws what an undisturbed one would have drawn.
"""

import tensorflow as tf

from trainer.experiment import Augmentation
from trainer.heatmap import Labels, flip

LUMA = (0.299, 0.587, 0.114)
"""ITU-R BT.601 weights of R, G and B."""


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
    draws = _uniform(labels.image_id, seed, step, 4)
    image = _jitter(image, config, 2.0 * draws[:, 1:] - 1.0)
    image *= _inside(labels.valid, image)
    if config.flip:
        image, labels = flip(image, labels, draws[:, 0] < 0.5, map_width)
    return image, labels


def _uniform(image_id: tf.Tensor, seed: int, step: tf.Tensor, count: int) -> tf.Tensor:
    """float32 [B, count] in [0, 1), a function of (seed, step, image id)."""
    size = tf.shape(image_id)[0]
    # One stream a step, and each image picks its row by its id: the same draw on any number of replicas
    # needs the key to be the image's, so the counter is hashed per image.
    key = tf.stack([tf.cast(seed, tf.int64), tf.cast(step, tf.int64)])
    table = tf.random.stateless_uniform([_ROWS, count], key)
    rows = tf.cast(tf.math.floormod(image_id, tf.constant(_ROWS, image_id.dtype)), tf.int32)
    return tf.reshape(tf.gather(table, rows), [size, count])


_ROWS = 4093
"""A prime: neighbouring ids, and ids that share a stride, fall on different rows."""


def _jitter(image: tf.Tensor, config: Augmentation, draws: tf.Tensor) -> tf.Tensor:
    """Brightness, contrast (around the mean of the grey image) and saturation, as factors 1 ± the range."""
    factors = 1.0 + draws * tf.constant([[config.brightness, config.contrast, config.saturation]])
    brightness, contrast, saturation = (f[:, None, None, None] for f in tf.unstack(factors, axis=1))
    image *= brightness
    grey = tf.tensordot(image, tf.constant(LUMA), axes=1)[..., None]
    mean = tf.reduce_mean(grey, axis=[1, 2], keepdims=True)
    # saturation: grey + s (image - grey), then contrast: mean + c (that - mean)
    image = grey + saturation * (image - grey)
    return tf.clip_by_value(mean + contrast * (image - mean), 0.0, 255.0)


def _inside(valid: tf.Tensor, image: tf.Tensor) -> tf.Tensor:
    """float32 [B, H, W, 1]: 1 inside the valid rectangle; jitter must not colour the padding."""
    y = tf.range(tf.shape(image)[1])[None, :]
    x = tf.range(tf.shape(image)[2])[None, :]
    rows = (y >= valid[:, 0:1]) & (y < valid[:, 2:3])
    columns = (x >= valid[:, 1:2]) & (x < valid[:, 3:4])
    return tf.cast(rows[:, :, None] & columns[:, None, :], image.dtype)[..., None]
