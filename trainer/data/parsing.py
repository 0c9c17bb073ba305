"""From serialized records to images and padded targets.

Starting a TensorFlow operation costs more than reading a few hundred numbers, so only what is an image's own (its JPEG)
is done image by image, and targets are read for a whole batch.
"""

import numpy as np
import tensorflow as tf

from beam_preprocess.format import records
from beam_preprocess.format.manifest import Manifest
from beam_preprocess.format.targets import manifest_code_table
from trainer.data.heatmap import Labels

Features = dict[str, tf.Tensor]
"""A record's features by name: the image is decoded, the targets are still bytes."""

WEIGHT = "weight"
"""1 for a record; 0 fills up a batch."""
_INTS = {name: records.INT_FEATURES[name] for name in (records.IMAGE_ID, records.VIEW_VALID)}


class RecordParser:
    """Reads the records of one folder.

    Args:
      manifest: of the folder.
      crowd_is_object: see `experiment.Losses`.
    """

    def __init__(self, manifest: Manifest, *, crowd_is_object: bool) -> None:
        made_with = manifest.parameters
        height, width = made_with["image_size"]
        map_size = height // made_with["stride"], width // made_with["stride"]
        self._image_shape = height, width, 3
        self._values = manifest_code_table(made_with).values
        self._index = _dtype(records.index_dtype(map_size))
        self._code = _dtype(records.code_dtype(len(self._values)))
        self._cells, self._objects = max(manifest.max_cells, 1), max(manifest.max_objects, 1)
        self._crowd_is_object = crowd_is_object
        self._ignored = 0 if crowd_is_object or not manifest.crowds else self._objects

    def record(self, serialized: tf.Tensor) -> Features:
        """The features of one record, a scalar string."""
        features = {name: tf.io.FixedLenFeature([], tf.string) for name in records.BYTES_FEATURES}
        features |= {name: tf.io.FixedLenFeature([size], tf.int64) for name, size in _INTS.items()}
        found: Features = tf.io.parse_single_example(serialized, features)
        image = tf.io.decode_jpeg(found[records.IMAGE], channels=3, dct_method="INTEGER_ACCURATE")
        return {**found, records.IMAGE: tf.ensure_shape(image, self._image_shape), WEIGHT: tf.ones([], tf.float32)}

    def batch(self, found: Features) -> tuple[tf.Tensor, Labels]:
        """(uint8 [B, H, W, 3], Labels) of the features of B records."""
        cells, objects = self._cells, self._objects
        # Cell i belongs to the first run that ends after it. There is at most one run per class and crowd flag, hence
        # not more of them than objects.
        runs = tf.reshape(_padded(found, records.CELL_RUNS, tf.int32, 3 * objects), [-1, objects, 3])
        places = tf.tile(tf.range(cells)[None], [tf.shape(runs)[0], 1])
        run = tf.raw_ops.UpperBound(sorted_inputs=tf.cumsum(runs[..., 2], axis=1), values=places)
        described = tf.gather(runs, tf.minimum(run, objects - 1), batch_dims=1)
        used = places < tf.strings.length(found[records.CELL_CODE])[:, None] // self._code.size
        cell_class, cell_crowd, _ = tf.unstack(tf.where(used[..., None], described, 0), axis=-1)
        value = tf.gather(self._values, tf.cast(_padded(found, records.CELL_CODE, self._code, cells), tf.int32))
        counted = used & (cell_crowd == 0) if self._ignored else used
        crowd = tf.cast(_padded(found, records.OBJECT_CROWD, tf.uint8, objects), tf.float32)
        present = tf.sequence_mask(tf.strings.length(found[records.OBJECT_CROWD]), objects, tf.float32)
        pairs = [-1, objects, 2]
        return found[records.IMAGE], Labels(
            image_id=found[records.IMAGE_ID][:, 0],
            image_weight=found[WEIGHT],
            valid=tf.cast(found[records.VIEW_VALID], tf.int32),
            cell_index=tf.cast(_padded(found, records.CELL_INDEX, self._index, cells), tf.int32),
            cell_class=cell_class,
            cell_value=tf.where(counted, value, 0.0),
            object_cell=_padded(found, records.OBJECT_CELL, tf.int32, objects),
            object_class=_padded(found, records.OBJECT_CLASS, tf.int32, objects),
            object_offset=tf.reshape(_padded(found, records.OBJECT_OFFSET, tf.float32, 2 * objects), pairs),
            object_size=tf.reshape(_padded(found, records.OBJECT_SIZE, tf.float32, 2 * objects), pairs),
            object_mask=present if self._crowd_is_object else present - crowd,
            ignore_mask=crowd[:, : self._ignored],
        )


def _padded(found: Features, name: str, dtype: tf.DType, length: int) -> tf.Tensor:
    """[B, length] numbers of a feature; shorter ones end in zeros."""
    size = length * dtype.size
    # Without this, a record with more than its manifest says would be cut.
    fits = tf.debugging.assert_less_equal(
        tf.strings.length(found[name]), size, f"{name}: a record is longer than its manifest says"
    )
    with tf.control_dependencies([fits]):
        return tf.ensure_shape(tf.io.decode_raw(found[name], dtype, fixed_length=size), [None, length])


def _dtype(stored: np.dtype) -> tf.DType:
    """TensorFlow's type for reading a stored one. It reads no uint32; these numbers are far smaller."""
    return tf.int32 if stored.itemsize == 4 else tf.as_dtype(stored)
