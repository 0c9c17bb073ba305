"""The served model: original encoded images in, detections in the original's coordinates out.

Preprocessing, network, decoding and the way back to the original image are inside, in float32 whatever the
training policy was.
"""

import tensorflow as tf
import tf_keras

from trainer import input_pipeline

LABEL_MAP = "label_map.json"
"""Asset: {"categories": [{"index", "id", "name"}], ...}."""


class ServingModule(tf.Module):
    """Signatures of the exported model.

    Args:
      model: a `modeling.CenterNetModel`, built under the float32 policy.
      input_size: (height, width) of the network's input.
      category_ids: the data set's category id of each class index.
      score_threshold: `num_detections` counts scores at or above it.
      label_map: path of the label map file, exported as an asset.
      flip: also run the mirrored image, and decode the mean of both (the original's flip test).
    """

    def __init__(
        self,
        model: tf_keras.Model,
        *,
        input_size: tuple[int, int],
        category_ids: list[int],
        score_threshold: float,
        label_map: str,
        flip: bool = False,
    ) -> None:
        super().__init__()
        self.model = model
        self._input_size = input_size
        self._category_ids = tf.constant(category_ids, tf.int32)
        self._score_threshold = score_threshold
        self.label_map = tf.saved_model.Asset(label_map)
        self._flip = flip

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def serve_bytes(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """Encoded images (JPEG, PNG, BMP, first frame of a GIF), of any sizes within one batch."""
        inputs, sizes, valid = tf.map_fn(
            self._decode_one,
            image_bytes,
            fn_output_signature=(
                tf.TensorSpec([*self._input_size, 3], tf.float32),
                tf.TensorSpec([2], tf.int32),
                tf.TensorSpec([2], tf.int32),
            ),
        )
        return self._detect(inputs, sizes, valid)

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, name="image_tensor")])
    def serve_tensor(self, image_tensor: tf.Tensor) -> dict[str, tf.Tensor]:
        """RGB images of one size."""
        inputs, sizes, valid = tf.map_fn(
            self._fit,
            image_tensor,
            fn_output_signature=(
                tf.TensorSpec([*self._input_size, 3], tf.float32),
                tf.TensorSpec([2], tf.int32),
                tf.TensorSpec([2], tf.int32),
            ),
        )
        return self._detect(inputs, sizes, valid)

    def signatures(self) -> dict[str, tf.types.experimental.ConcreteFunction]:
        """`serving_default` takes `image_bytes`; `image_tensor` takes decoded images."""
        return {
            "serving_default": self.serve_bytes.get_concrete_function(),
            "image_tensor": self.serve_tensor.get_concrete_function(),
        }

    def _decode_one(self, encoded: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        return self._fit(decode_image(encoded))

    def _fit(self, image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """(input float32 [H, W, 3], original (height, width), resized (height, width))."""
        resized, valid = letterbox(image, self._input_size)
        return resized, tf.shape(image)[:2], valid

    def _detect(self, inputs: tf.Tensor, sizes: tf.Tensor, valid: tf.Tensor) -> dict[str, tf.Tensor]:
        outputs = self._network(input_pipeline.normalize(inputs))
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
        }

    def _network(self, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """Boxes in input pixels, scores and class indices."""
        if not self._flip:
            return dict(self.model(inputs, training=False))
        # One pass over both: the network is traced once.
        pair = tf.concat([inputs, tf.reverse(inputs, [2])], axis=0)
        raw = self.model.head(self.model.backbone(pair, training=False), training=False)
        # xingyizhou/CenterNet, detectors/ctdet.py: means of the heatmaps and sizes, offsets of the image itself.
        heatmap = _mean_of_pair(tf.sigmoid(raw["ct_heatmaps"][-1]))
        # The decoder takes logits; the clip keeps them finite.
        heatmap = tf.clip_by_value(heatmap, 1e-6, 1.0 - 1e-6)
        averaged = {
            "ct_heatmaps": [tf.math.log(heatmap) - tf.math.log1p(-heatmap)],
            "ct_size": [_mean_of_pair(raw["ct_size"][-1])],
            "ct_offset": [tf.split(raw["ct_offset"][-1], 2)[0]],
        }
        return dict(self.model.detection_generator(averaged))


def _mean_of_pair(maps: tf.Tensor) -> tf.Tensor:
    """[2B, H, W, C], images and then their mirrors, to the mean [B, H, W, C] in the images' orientation."""
    own, mirrored = tf.split(maps, 2)
    return (own + tf.reverse(mirrored, [2])) / 2.0


def decode_image(encoded: tf.Tensor) -> tf.Tensor:
    """uint8 [H, W, 3] RGB; EXIF orientation is not applied, as in training.

    JPEG takes the accurate DCT, which is bit-identical to the decoder that made the records.
    """
    is_jpeg = tf.equal(tf.strings.substr(encoded, 0, 2), b"\xff\xd8")
    return tf.cond(
        is_jpeg,
        lambda: tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE"),
        lambda: tf.io.decode_image(encoded, channels=3, expand_animations=False),
    )


def letterbox(image: tf.Tensor, input_size: tuple[int, int]) -> tuple[tf.Tensor, tf.Tensor]:
    """`geometry.letterbox` and the records' resize, in TensorFlow.

    Args:
      image: uint8 [H, W, 3].
      input_size: (height, width).

    Returns:
      (float32 [height, width, 3] with whole grey values as in the records, int32 [2] resized (height, width)).
    """
    size = tf.shape(image)[:2]
    # float64, as in geometry: float32 rounds some sides to another pixel.
    target = tf.constant(input_size, tf.float64)
    zoom = tf.reduce_min(target / tf.cast(size, tf.float64))
    valid = tf.maximum(tf.cast(tf.round(tf.cast(size, tf.float64) * zoom), tf.int32), 1)
    pixels = tf.cast(image, tf.float32)[None]
    resized = tf.cond(
        tf.reduce_any(valid < size),
        lambda: tf.image.resize(pixels, valid, method="area"),
        lambda: tf.image.resize(pixels, valid, method="bilinear"),
    )[0]
    missing = tf.constant(input_size) - valid
    padded = tf.pad(tf.round(resized), [[0, missing[0]], [0, missing[1]], [0, 0]])
    return tf.ensure_shape(padded, [*input_size, 3]), valid
