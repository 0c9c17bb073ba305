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

    @tf.autograph.experimental.do_not_convert  # no condition on a tensor
    def record(self, serialized: tf.Tensor) -> Features:
        """The features of one record, a scalar string."""
        features = {name: tf.io.FixedLenFeature([], tf.string) for name in records.BYTES_FEATURES}
        features |= {name: tf.io.FixedLenFeature([size], tf.int64) for name, size in _INTS.items()}
        found: Features = tf.io.parse_single_example(serialized, features)
        image = tf.io.decode_jpeg(found[records.IMAGE], channels=3, dct_method="INTEGER_ACCURATE")
        return {**found, records.IMAGE: tf.ensure_shape(image, self._image_shape), WEIGHT: tf.ones([], tf.float32)}

    @tf.autograph.experimental.do_not_convert
    def batch(self, found: Features) -> tuple[tf.Tensor, Labels]:
        """(uint8 [B, H, W, 3], Labels) of the features of B records."""
        objects = self._objects
        cells = self._cells_of(found)
        crowd = tf.cast(_padded(found, records.OBJECT_CROWD, tf.uint8, objects), tf.float32)
        present = tf.sequence_mask(tf.strings.length(found[records.OBJECT_CROWD]), objects, tf.float32)
        pairs = [-1, objects, 2]
        return found[records.IMAGE], Labels(
            image_id=found[records.IMAGE_ID][:, 0],
            image_weight=found[WEIGHT],
            valid=tf.cast(found[records.VIEW_VALID], tf.int32),
            cell_index=cells["index"],
            cell_class=cells["class"],
            cell_value=cells["value"],
            object_cell=_padded(found, records.OBJECT_CELL, tf.int32, objects),
            object_class=_padded(found, records.OBJECT_CLASS, tf.int32, objects),
            object_offset=tf.reshape(_padded(found, records.OBJECT_OFFSET, tf.float32, 2 * objects), pairs),
            object_size=tf.reshape(_padded(found, records.OBJECT_SIZE, tf.float32, 2 * objects), pairs),
            object_mask=present if self._crowd_is_object else present - crowd,
            ignore_mask=crowd[:, : self._ignored],
        )

    def _cells_of(self, found: Features) -> Features:
        """Index, class and value of each image's cells, [B, M] with zeros behind the last cell.

        The cells of a batch are computed in one row and padded at the end: most images have far fewer than the largest.
        """
        runs = tf.reshape(_joined(found, records.CELL_RUNS, tf.int32), [-1, 3])
        code = tf.cast(_joined(found, records.CELL_CODE, self._code), tf.int32)
        # Cell i belongs to the first run that ends after it.
        run = tf.searchsorted(tf.cumsum(runs[:, 2]), tf.range(tf.size(code)), side="right")
        value = tf.gather(self._values, code)
        if self._ignored:
            value = tf.where(tf.gather(runs[:, 1], run) == 0, value, 0.0)
        index = tf.cast(_joined(found, records.CELL_INDEX, self._index), tf.int32)
        of_index = _ends(found, records.CELL_INDEX, self._index, self._cells, index)
        of_code = _ends(found, records.CELL_CODE, self._code, self._cells, code)
        return {
            "index": _in_rows(index, of_index, self._cells),
            "class": _in_rows(tf.gather(runs[:, 0], run), of_code, self._cells),
            "value": _in_rows(value, of_code, self._cells),
        }


def _joined(found: Features, name: str, dtype: tf.DType) -> tf.Tensor:
    """Numbers of a feature, one image's after the other's."""
    return tf.io.decode_raw(tf.strings.reduce_join(found[name]), dtype)


def _ends(found: Features, name: str, dtype: tf.DType, longest: int, joined: tf.Tensor) -> tf.Tensor:
    """[B + 1] where each image's numbers begin in `joined`, and where the last one's end."""
    lengths = tf.strings.length(found[name]) // dtype.size
    ends = tf.pad(tf.cumsum(lengths), [[1, 0]])
    whole = tf.debugging.Assert(tf.equal(ends[-1], tf.size(joined)), [f"{name}: a record has a part of a number"])
    with tf.control_dependencies([_fits(name, lengths, longest), whole]):
        return tf.identity(ends)


def _in_rows(joined: tf.Tensor, ends: tf.Tensor, longest: int) -> tf.Tensor:
    """[B, longest]: each image's numbers, with zeros behind them."""
    # `tf.RaggedTensor.to_tensor` is this operation with dozens around it, which every batch would start.
    rows = tf.raw_ops.RaggedTensorToTensor(
        shape=[-1, longest],
        values=joined,
        default_value=tf.zeros([], joined.dtype),
        row_partition_tensors=[ends],
        row_partition_types=["ROW_SPLITS"],
    )
    rows.set_shape([None if ends.shape[0] is None else ends.shape[0] - 1, longest])  # TPUs need the size of the batch
    return rows


def _fits(name: str, sizes: tf.Tensor, largest: int) -> tf.Operation:
    """Without this, a record with more than its manifest says would be cut."""
    message = f"{name}: a record is longer than its manifest says"
    return tf.debugging.Assert(tf.reduce_all(sizes <= largest), [message, sizes])


def _padded(found: Features, name: str, dtype: tf.DType, length: int) -> tf.Tensor:
    """[B, length] numbers of a feature; shorter ones end in zeros."""
    size = length * dtype.size
    with tf.control_dependencies([_fits(name, tf.strings.length(found[name]), size)]):
        return tf.ensure_shape(tf.io.decode_raw(found[name], dtype, fixed_length=size), [None, length])


def _dtype(stored: np.dtype) -> tf.DType:
    """TensorFlow's type for reading a stored one. It reads no uint32; these numbers are far smaller."""
    return tf.int32 if stored.itemsize == 4 else tf.as_dtype(stored)
