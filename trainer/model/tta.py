"""Test-time augmentation: the network sees an image several times, and one set of averaged maps is decoded.

Averaged on the grid of the plain image (scale 1):

- the heatmaps, after the sigmoid: mean over the image and its mirror, then over the scales;
- the sizes: the same two means, in cells of the plain grid;
- the offsets: not averaged. They locate a centre within a cell of their own grid, so only the plain image's count.

The flip is the original's (xingyizhou/CenterNet, detectors/ctdet.py: hm and wh are means of both, reg is the image's
own). For several scales the original decodes each and merges the boxes by soft-NMS; here the heatmaps are averaged, as
with the flip, so that the served model needs no NMS. Maps of another scale are moved to the plain grid by bilinear
interpolation between cell centres. Before that, the heatmap of a larger scale is spread by a maximum over a window of
one cell of the plain grid, because a peak is one cell wide and interpolation alone would step over it.
"""

import math
from collections.abc import Sequence

import tensorflow as tf

from beam_preprocess.base.errors import InputError
from trainer.model.network import CenterNetModel


def scaled_sizes(input_size: tuple[int, int], scales: Sequence[float], multiple: int) -> tuple[tuple[int, int], ...]:
    """The network's input (height, width) at each scale.

    Args:
      input_size: (height, width) at scale 1.
      scales: factors.
      multiple: both sides must be multiples of it (`networks.multiple_of`).

    Raises:
      InputError: a side isn't one; the message names the nearest scale that fits.
    """
    step = multiple / math.gcd(*input_size)
    sizes = []
    for scale in scales:
        height, width = (side * scale for side in input_size)
        if scale != 1 and not math.isclose(scale / step, round(scale / step)):
            raise InputError(
                f"export.scales: {scale:g} makes the input {height:g}x{width:g}; this network needs multiples of "
                f"{multiple}: use {max(step, round(scale / step) * step):g}"
            )
        sizes.append((round(height), round(width)))
    return tuple(sizes)


def detect(model: CenterNetModel, inputs: Sequence[tf.Tensor], *, flip: bool) -> dict[str, tf.Tensor]:
    """Boxes in pixels of the plain input, confidences, class indices, and features [B, h, w, C]: the backbone's deepest
    level of the plain image. Arguments as for `averaged_maps`."""
    if not flip and len(inputs) == 1:
        return dict(model(inputs[0], training=False))
    averaged = averaged_maps(model, inputs, flip=flip)
    (features,) = averaged.pop("features")
    return {**model.detection_generator(averaged), "features": features}


def averaged_maps(model: CenterNetModel, inputs: Sequence[tf.Tensor], *, flip: bool) -> dict[str, list[tf.Tensor]]:
    """Raw outputs for the decoder, as the module describes.

    Args:
      model: the network, under the float32 policy.
      inputs: one float32 [B, H_s, W_s, 3] per scale, normalised; the first is the plain one.
      flip: also run the mirror of each.

    Returns:
      ct_heatmaps [B, h, w, classes] logits, ct_size and ct_offset [B, h, w, 2] in cells of the plain grid; features of
      the plain image, not averaged.
    """
    for part in model.checkpoint_items.values():
        # Keras restricts a functional model to its input size at build; this one is fully convolutional.
        part.input_spec = None
    heatmaps, sizes, offset, features = [], [], None, None
    for pictures in inputs:
        heatmap, size, own_offset, own_features = _maps(model, pictures, flip=flip)
        if offset is None:
            offset, features = own_offset, own_features
        elif heatmap.shape[1] != offset.shape[1]:
            heatmap, size = _to_grid(heatmap, size, (offset.shape[1], offset.shape[2]))
        heatmaps.append(heatmap)
        sizes.append(size)
    # The decoder takes logits; the clip keeps them finite. ONNX has no log1p, and it isn't needed: the logit of a
    # small p is about log p, and 1 - p is exact for a large p.
    heatmap = tf.clip_by_value(tf.add_n(heatmaps) / len(heatmaps), 1e-6, 1.0 - 1e-6)
    return {
        "ct_heatmaps": [tf.math.log(heatmap) - tf.math.log(1.0 - heatmap)],
        "ct_size": [tf.add_n(sizes) / len(sizes)],
        "ct_offset": [offset],
        "features": [features],
    }


def _maps(
    model: CenterNetModel, pictures: tf.Tensor, *, flip: bool
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """(heatmap after the sigmoid, sizes, offsets, features) of one scale."""
    if flip:
        # One pass over both: the network is traced once.
        pictures = tf.concat([pictures, tf.reverse(pictures, [2])], axis=0)
    raw, features = model.maps_and_features(pictures, training=False)
    heatmap, size, offset = tf.sigmoid(raw["ct_heatmaps"][-1]), raw["ct_size"][-1], raw["ct_offset"][-1]
    if flip:
        heatmap, size = _mean_of_pair(heatmap), _mean_of_pair(size)
        offset, features = tf.split(offset, 2)[0], tf.split(features, 2)[0]
    return heatmap, size, offset, tf.cast(features, tf.float32)


def _mean_of_pair(maps: tf.Tensor) -> tf.Tensor:
    """[2B, H, W, C], images and then their mirrors, to the mean [B, H, W, C] in the images' orientation."""
    own, mirrored = tf.split(maps, 2)
    return (own + tf.reverse(mirrored, [2])) / 2.0


def _to_grid(heatmap: tf.Tensor, size: tf.Tensor, grid: tuple[int, int]) -> tuple[tf.Tensor, tf.Tensor]:
    """Moves maps of another scale to the plain grid; sizes are then in its cells."""
    scale = heatmap.shape[1] / grid[0]
    if scale > 1:
        # Odd, so that nothing shifts to one side.
        window = 2 * math.ceil((scale - 1) / 2) + 1
        heatmap = tf.nn.max_pool2d(heatmap, window, strides=1, padding="SAME")
    return tf.image.resize(heatmap, grid, method="bilinear"), tf.image.resize(size, grid, method="bilinear") / scale
