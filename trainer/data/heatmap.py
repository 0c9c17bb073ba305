"""From stored sparse targets to the inputs of the losses, on the device, with static shapes."""

from typing import NamedTuple

import tensorflow as tf


class Labels(NamedTuple):
    """A batch of targets: B images, padded to M stored cells and N objects.

    Cells are row-major indices, y * map width + x. Padding has value 0 (cells) or mask 0 (objects), and index 0,
    which exists: nothing is ever gathered or scattered outside the map.
    """

    image_id: tf.Tensor
    """int64 [B]."""
    image_weight: tf.Tensor
    """float32 [B]: 0 for images that only fill up the last validation batch, else 1."""
    valid: tf.Tensor
    """int32 [B, 4]: [ymin, xmin, ymax, xmax] of the image within the input, in pixels."""
    cell_index: tf.Tensor
    """int32 [B, M]."""
    cell_class: tf.Tensor
    """int32 [B, M]."""
    cell_value: tf.Tensor
    """float32 [B, M]."""
    object_cell: tf.Tensor
    """int32 [B, N]."""
    object_class: tf.Tensor
    """int32 [B, N]."""
    object_offset: tf.Tensor
    """float32 [B, N, 2]: (y, x)."""
    object_size: tf.Tensor
    """float32 [B, N, 2]: (height, width)."""
    object_mask: tf.Tensor
    """float32 [B, N]: 1 for objects, 0 for padding and for crowd regions that are not objects."""
    ignore_mask: tf.Tensor
    """float32 [B, N]: 1 for crowd regions that are not charged; N is 0 if the data set has none."""


def flip(image: tf.Tensor, labels: Labels, flipped: tf.Tensor, map_width: int) -> tuple[tf.Tensor, Labels]:
    """Mirrors some of the images and their targets left to right.

    A stored Gaussian mirrors exactly. A centre at x = k + f of W cells moves to W - x: cell W - 1 - k, offset 1 - f.

    Args:
      image: [B, H, W, 3].
      labels: their targets.
      flipped: bool [B].
      map_width: heatmap width in cells.
    """
    # Copies whole images. With `tf.where`, which chooses each value, a flip takes more than twice as long on a CPU.
    image = tf.raw_ops.Select(condition=flipped, x=tf.reverse(image, axis=[2]), y=image)

    def mirror_cell(cell: tf.Tensor) -> tf.Tensor:
        x = cell % map_width
        return tf.where(flipped[:, None], cell + (map_width - 1 - 2 * x), cell)

    offset_y, offset_x = tf.unstack(labels.object_offset, axis=-1)
    width = tf.shape(image)[2]
    ymin, xmin, ymax, xmax = tf.unstack(labels.valid, axis=-1)
    mirrored = tf.stack([ymin, width - xmax, ymax, width - xmin], axis=-1)
    return image, labels._replace(
        valid=tf.where(flipped[:, None], mirrored, labels.valid),
        cell_index=mirror_cell(labels.cell_index),
        object_cell=mirror_cell(labels.object_cell),
        object_offset=tf.stack([offset_y, tf.where(flipped[:, None], 1.0 - offset_x, offset_x)], axis=-1),
    )


def dense_heatmap(labels: Labels, map_size: tuple[int, int], num_classes: int) -> tf.Tensor:
    """float32 [B, height * width, classes]: the maximum of all Gaussians of a class."""
    batch, cells = tf.shape(labels.cell_index)[0], map_size[0] * map_size[1]
    image = tf.range(batch)[:, None]
    flat = (image * cells + labels.cell_index) * num_classes + labels.cell_class
    empty = tf.zeros([batch * cells * num_classes], tf.float32)
    # Crowd cells that count as objects may repeat an object's cell; padding writes 0.
    heatmap = tf.tensor_scatter_nd_max(empty, tf.reshape(flat, [-1, 1]), tf.reshape(labels.cell_value, [-1]))
    return tf.reshape(heatmap, [batch, cells, num_classes])


def charged(labels: Labels, map_size: tuple[int, int], num_classes: int) -> tf.Tensor:
    """Weight of the negatives, float32, broadcastable to [B, height * width, classes].

    0 inside a crowd region of the class and in images that only fill up a batch, else 1.
    """
    weight = labels.image_weight[:, None, None]
    if labels.ignore_mask.shape[1] == 0:
        return weight
    height, width = map_size
    y, x = labels.object_cell // width, labels.object_cell % width
    centre = tf.cast(tf.stack([y, x], axis=-1), tf.float32) + labels.object_offset
    low, high = centre - labels.object_size / 2.0, centre + labels.object_size / 2.0

    def inside(axis: int, size: int) -> tf.Tensor:
        middle = tf.range(size, dtype=tf.float32) + 0.5
        return (middle >= low[..., axis, None]) & (middle <= high[..., axis, None])

    region = inside(0, height)[:, :, :, None] & inside(1, width)[:, :, None, :]
    region = tf.reshape(tf.cast(region, tf.float32), [-1, y.shape[1], height * width])
    classes = tf.one_hot(labels.object_class, num_classes) * labels.ignore_mask[..., None]
    covered = tf.einsum("bns,bnc->bsc", region, classes)
    return weight * tf.cast(covered < 0.5, tf.float32)
