"""The served model: original encoded images in, detections in the original's coordinates out.

Preprocessing, network, decoding and the mapping back to the original image are inside, in float32 whatever the training
policy was.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from trainer.model import tta
from trainer.model.network import CenterNetModel
from trainer.saved_model.layout import AUGMENTED, FEATURES, POOLED, SERVED, TENSOR
from trainer.saved_model.pixel_count import LIMIT, announced_pixels
from trainer.weights.object_graph import variables_alone


@dataclass(frozen=True, kw_only=True, slots=True)
class _NotSaved:
    """What TensorFlow must not find as an attribute.

    A Keras model would be saved with functions of every layer, which nothing calls: two thirds of an export's time.
    """

    model: CenterNetModel
    detect: Callable[..., dict[str, tf.Tensor]]
    """`ServingModule._detections`, traced once for all signatures."""


class ServingModule(tf.Module):
    """Signatures of the exported model.

    Args:
      model: built under the float32 policy.
      input_sizes: (height, width) of the network's input at each scale, beginning with scale 1.
      category_ids: the data set's category id of each class index.
      score_threshold: `num_detections` counts scores at or above it.
      assets: paths of files to store inside the model.
      flip: average over the image and its mirror (`tta`).
      augmented_apart: serve without test-time augmentation, which gets its own signature.
    """

    def __init__(
        self,
        model: CenterNetModel,
        *,
        input_sizes: Sequence[tuple[int, int]],
        category_ids: list[int],
        score_threshold: float,
        assets: Sequence[str] = (),
        flip: bool = False,
        augmented_apart: bool = False,
    ) -> None:
        super().__init__()
        self._network = _NotSaved(model=model, detect=tf.function(self._detections, autograph=False))
        self.model = variables_alone(model)
        self._input_sizes = tuple(input_sizes)
        # A tensor created here would be captured, and converters would take it for an input of the signature.
        self._category_ids = np.array(category_ids, np.int32)
        self._score_threshold = score_threshold
        self.assets = [tf.saved_model.Asset(path) for path in assets]
        self._flip = flip
        self._apart = augmented_apart and (flip or len(self._input_sizes) > 1)

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def serve_bytes(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """Encoded images: JPEG, PNG, BMP, GIF (first frame), WebP (still, no alpha); sizes may differ in a batch."""
        return _without_features(self._from_bytes(image_bytes, augmented=not self._apart))

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def serve_features(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """The same detections, and `features` [N, C]: the mean of the backbone's deepest level over each image."""
        return self._from_bytes(image_bytes, augmented=not self._apart)

    def serve_augmented(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """The same with test-time augmentation."""
        return _without_features(self._from_bytes(image_bytes, augmented=True))

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, name="image_tensor")])
    def serve_tensor(self, image_tensor: tf.Tensor) -> dict[str, tf.Tensor]:
        """RGB images of one size."""
        augmented = not self._apart
        fitted = [letterbox_batch(image_tensor, size) for size in self._sizes(augmented)]
        # One size for all of them.
        whole = tf.stack([tf.shape(image_tensor)[1:3], fitted[0][1]])
        sizes, valid = tf.unstack(tf.tile(whole[:, None], [1, tf.shape(image_tensor)[0], 1]))
        inputs = tuple(pixels for pixels, _ in fitted)
        return _without_features(self._network.detect(inputs, sizes, valid, augmented=augmented))

    def signatures(self) -> dict[str, tf.types.experimental.ConcreteFunction]:
        """`serving_default` takes `image_bytes`; `image_tensor` takes decoded images; see `layout` for the others."""
        served = {
            SERVED: self.serve_bytes.get_concrete_function(),
            FEATURES: self.serve_features.get_concrete_function(),
            TENSOR: self.serve_tensor.get_concrete_function(),
        }
        if self._apart:
            # Not a tf.function of the class: those are traced and saved whether or not a signature has them.
            augmented = tf.function(self.serve_augmented, autograph=False)
            served[AUGMENTED] = augmented.get_concrete_function(tf.TensorSpec([None], tf.string, name="image_bytes"))
        return served

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([], tf.string, name="image_bytes")])
    def network_input(self, image_bytes: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """What the network gets of one image, float32 [H, W, 3] in 0..255 for each scale: for parity; no signature."""
        return self._fit(decode_image(image_bytes), augmented=not self._apart)[0]

    def _from_bytes(self, image_bytes: tf.Tensor, *, augmented: bool) -> dict[str, tf.Tensor]:
        """Decodes all images that can be decoded, then fails the request if some are missing or too large.

        TensorFlow's decoders don't report which image of a batch is broken; this way the message can.
        """
        count = tf.size(image_bytes)
        spec = (tf.TensorSpec([], tf.int64), tf.TensorSpec([], tf.bool), self._fitted_spec(augmented=augmented))
        empty = tf.nest.map_structure(lambda s: tf.zeros(s.shape, s.dtype), spec)

        def load(number: tf.Tensor, encoded: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, Any]:
            too_large = announced_pixels(encoded) > LIMIT
            fitted = tf.cond(
                too_large, lambda: empty[-1], lambda: self._fit(decode_image(encoded), augmented=augmented)
            )
            return number, too_large, fitted

        decoded = (
            tf.data.Dataset.from_tensor_slices(image_bytes)
            .enumerate()
            .map(load, num_parallel_calls=tf.data.AUTOTUNE)
            .ignore_errors()
        )
        # One element of zeros at the end: a batch may lose all its images.
        whole = decoded.concatenate(tf.data.Dataset.from_tensors(empty)).batch(tf.cast(count, tf.int64) + 1)
        numbers, too_large, fitted = tf.nest.map_structure(lambda x: x[:-1], whole.get_single_element())
        missing = tf.reduce_all(tf.range(tf.cast(count, tf.int64))[:, None] != numbers[None, :], axis=1)
        message = tf.strings.format(
            "image_bytes{}: cannot be decoded as JPEG, PNG, GIF, BMP or WebP; send the others without them",
            tf.where(missing)[:, 0],
        )
        size_message = tf.strings.format(
            f"image_bytes{{}}: more than {LIMIT} pixels (width times height); send smaller images",
            tf.boolean_mask(numbers, too_large),
        )
        checks = [
            tf.debugging.Assert(count > 0, ["image_bytes: is empty; send at least one image"]),
            tf.debugging.Assert(~tf.reduce_any(too_large), [size_message]),
            tf.debugging.Assert(~tf.reduce_any(missing), [message]),
        ]
        with tf.control_dependencies(checks):
            return self._network.detect(*tf.nest.map_structure(tf.identity, fitted), augmented=augmented)

    def _fitted_spec(self, *, augmented: bool) -> tuple[tuple[tf.TensorSpec, ...], tf.TensorSpec, tf.TensorSpec]:
        pair = tf.TensorSpec([2], tf.int32)
        return tuple(tf.TensorSpec([*size, 3], tf.float32) for size in self._sizes(augmented)), pair, pair

    def _sizes(self, augmented: bool) -> tuple[tuple[int, int], ...]:
        return self._input_sizes if augmented else self._input_sizes[:1]

    def _fit(self, image: tf.Tensor, *, augmented: bool) -> tuple[tuple[tf.Tensor, ...], tf.Tensor, tf.Tensor]:
        """(input float32 [H, W, 3] of each scale, original (height, width), resized (height, width) of the first)."""
        fitted = [letterbox(image, size) for size in self._sizes(augmented)]
        return tuple(pixels for pixels, _ in fitted), tf.shape(image)[:2], fitted[0][1]

    def _detections(
        self, inputs: tuple[tf.Tensor, ...], sizes: tf.Tensor, valid: tf.Tensor, *, augmented: bool
    ) -> dict[str, tf.Tensor]:
        normalised = [self._network.model.normalize(pixels) for pixels in inputs]
        outputs = tta.detect(self._network.model, normalised, flip=self._flip and augmented)
        # The image fills [0, valid) of the input, so dividing by it normalizes to the original image.
        extent = tf.cast(tf.concat([valid, valid], axis=1), tf.float32)[:, None, :]
        boxes = tf.clip_by_value(outputs["boxes"] / extent, 0.0, 1.0)
        scores = outputs["confidence"]
        return {
            "detection_boxes": boxes,
            "detection_scores": scores,
            "detection_classes": tf.gather(self._category_ids, outputs["classes"]),
            "num_detections": tf.reduce_sum(tf.cast(scores >= self._score_threshold, tf.int32), axis=1),
            "image_size": sizes,
            POOLED: _pooled(outputs["features"], valid, self._input_sizes[0]),
        }


def _without_features(outputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """What is served. The graph is pruned: nothing that only the features need is computed."""
    return {name: value for name, value in outputs.items() if name != POOLED}


def _pooled(features: tf.Tensor, valid: tf.Tensor, input_size: tuple[int, int]) -> tf.Tensor:
    """[B, C] mean of features [B, h, w, C] over the cells that the images cover: int32 [B, 2] pixels of the input."""
    cells = tf.shape(features)[1:3]
    covered = tf.cast(tf.math.ceil(tf.cast(valid * cells, tf.float32) / tf.constant(input_size, tf.float32)), tf.int32)
    rows, columns = (tf.sequence_mask(covered[:, axis], cells[axis], tf.float32) for axis in (0, 1))
    weights = rows[:, :, None, None] * columns[:, None, :, None]
    return tf.reduce_sum(features * weights, axis=[1, 2]) / tf.reduce_sum(weights, axis=[1, 2])


def decode_image(encoded: tf.Tensor) -> tf.Tensor:
    """uint8 [H, W, 3] RGB; EXIF orientation is not applied, as in training.

    JPEG takes the accurate DCT, which is bit-identical to the decoder that preprocessing uses.
    """
    is_jpeg = tf.equal(tf.strings.substr(encoded, 0, 2), b"\xff\xd8")
    return tf.cond(
        is_jpeg,
        lambda: tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE"),
        lambda: tf.io.decode_image(encoded, channels=3, expand_animations=False),
    )


def letterbox(image: tf.Tensor, input_size: tuple[int, int]) -> tuple[tf.Tensor, tf.Tensor]:
    """`letterbox_batch` of one image, uint8 [H, W, 3]."""
    padded, valid = letterbox_batch(image[None], input_size)
    return padded[0], valid


def letterbox_batch(images: tf.Tensor, input_size: tuple[int, int]) -> tuple[tf.Tensor, tf.Tensor]:
    """`geometry.letterbox` and the records' resize, in TensorFlow.

    Args:
      images: uint8 [N, H, W, 3].
      input_size: (height, width).

    Returns:
      (float32 [N, height, width, 3] with whole grey values as in the records, int32 [2] resized (height, width)).
    """
    size = tf.shape(images)[1:3]
    # float64, as in geometry: float32 rounds some sides to another pixel.
    target = tf.constant(input_size, tf.float64)
    zoom = tf.reduce_min(target / tf.cast(size, tf.float64))
    valid = tf.maximum(tf.cast(tf.round(tf.cast(size, tf.float64) * zoom), tf.int32), 1)
    pixels = tf.cast(images, tf.float32)
    if images.shape[1:3] == input_size:
        # Known when the function is traced: what converters get has no resize, which some of them lack.
        return pixels, valid
    resized = tf.cond(
        tf.reduce_any(valid < size),
        lambda: tf.image.resize(pixels, valid, method="area"),
        lambda: tf.image.resize(pixels, valid, method="bilinear"),
    )
    missing = tf.constant(input_size) - valid
    padded = tf.pad(tf.round(resized), [[0, 0], [0, missing[0]], [0, missing[1]], [0, 0]])
    return tf.ensure_shape(padded, [None, *input_size, 3]), valid
