"""One record: a view of an image with its targets, as a `tf.train.Example`. NumPy only.

This module alone defines the names, dtypes and schema version. Beam encodes with `encode`, the trainer parses with
TensorFlow by the same names, and `decode` is the reference reader. Arrays are fixed-width little-endian bytes, so a
reader needs one `decode_raw` and no varint loop.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np

from beam_preprocess.format.geometry import View
from beam_preprocess.format.targets import SparseTargets

RECORD_SCHEMA_VERSION = 1

IMAGE = "image/encoded"
"""bytes: the view as JPEG, input size, padding included."""
IMAGE_ID = "image/id"
"""int64: COCO image id."""
IMAGE_SIZE = "image/size"
"""int64 [2]: (height, width) of the original."""
VIEW_NUMBER = "view/number"
"""int64."""
VIEW_SOURCE = "view/source"
"""int64 [4]: source rectangle in the original image, [ymin, xmin, ymax, xmax]."""
VIEW_VALID = "view/valid"
"""int64 [4]: rectangle in the input where it is drawn."""
CELL_INDEX = "heatmap/index"
"""`index_dtype` [M]: indices of the stored cells, ordered by run."""
CELL_CODE = "heatmap/code"
"""`code_dtype` [M]: codes into `targets.code_table`."""
CELL_RUNS = "heatmap/runs"
"""int32 [R, 3]: (class, crowd flag, number of cells) of each run of cells."""
OBJECT_CELL = "object/cell"
"""int32 [N]."""
OBJECT_CLASS = "object/class"
"""int32 [N]."""
OBJECT_OFFSET = "object/offset"
"""float32 [N, 2]: (y, x)."""
OBJECT_SIZE = "object/size"
"""float32 [N, 2]: (height, width)."""
OBJECT_CROWD = "object/crowd"
"""uint8 [N]."""

INT_FEATURES = {IMAGE_ID: 1, IMAGE_SIZE: 2, VIEW_NUMBER: 1, VIEW_SOURCE: 4, VIEW_VALID: 4}
"""Length of each int64 feature; all other features are bytes."""

BYTES_FEATURES = (
    IMAGE,
    CELL_INDEX,
    CELL_CODE,
    CELL_RUNS,
    OBJECT_CELL,
    OBJECT_CLASS,
    OBJECT_OFFSET,
    OBJECT_SIZE,
    OBJECT_CROWD,
)


def index_dtype(map_size: tuple[int, int]) -> np.dtype:
    """uint16 if the cell indices of the map fit, else uint32 (little-endian)."""
    return np.dtype("<u2") if map_size[0] * map_size[1] <= 1 << 16 else np.dtype("<u4")


def code_dtype(number_of_codes: int) -> np.dtype:
    """uint16 if the codes of the table fit, else uint32 (little-endian)."""
    return np.dtype("<u2") if number_of_codes <= 1 << 16 else np.dtype("<u4")


@dataclass(frozen=True, kw_only=True)
class Record:
    """A view of an image and its targets."""

    image: bytes
    image_id: int
    image_size: tuple[int, int]
    view_number: int
    view: View
    targets: SparseTargets


def encode(record: Record, map_size: tuple[int, int], number_of_codes: int) -> bytes:
    """Serializes a record as a `tf.train.Example`. Equal records give equal bytes."""
    targets = record.targets
    ints: dict[str, tuple[int, ...]] = {
        IMAGE_ID: (record.image_id,),
        IMAGE_SIZE: record.image_size,
        VIEW_NUMBER: (record.view_number,),
        VIEW_SOURCE: record.view.source,
        VIEW_VALID: record.view.valid,
    }
    arrays = {
        CELL_INDEX: targets.cell_index.astype(index_dtype(map_size)),
        CELL_CODE: targets.cell_code.astype(code_dtype(number_of_codes)),
        CELL_RUNS: _runs(targets).astype("<i4"),
        OBJECT_CELL: targets.object_cell.astype("<i4"),
        OBJECT_CLASS: targets.object_class.astype("<i4"),
        OBJECT_OFFSET: targets.object_offset.astype("<f4"),
        OBJECT_SIZE: targets.object_size.astype("<f4"),
        OBJECT_CROWD: targets.object_crowd.astype("u1"),
    }
    entries = {name: [_int64_entry(name, values)] for name, values in ints.items()}
    entries |= {name: _bytes_entry(name, array.tobytes()) for name, array in arrays.items()}
    entries[IMAGE] = _bytes_entry(IMAGE, record.image)
    pieces = [piece for name in sorted(entries) for piece in entries[name]]
    return b"".join([_header(1, sum(map(len, pieces))), *pieces])


def decode(serialized: bytes, map_size: tuple[int, int], number_of_codes: int) -> Record:
    """The inverse of `encode`.

    Raises:
      ValueError: not an Example of this schema.
    """
    features = _parse_example(serialized)
    missing = sorted({*INT_FEATURES, *BYTES_FEATURES} - set(features))
    if missing:
        raise ValueError(f"record lacks the features {missing}; it is not of schema version {RECORD_SCHEMA_VERSION}")

    def array(name: str, dtype: str | np.dtype, *shape: int) -> np.ndarray:
        value = features[name]
        assert isinstance(value, bytes)
        return np.frombuffer(value, dtype).reshape(-1, *shape)

    def ints(name: str) -> tuple[int, ...]:
        value = features[name]
        assert isinstance(value, tuple)
        return value

    runs = array(CELL_RUNS, "<i4", 3)
    height, width = ints(IMAGE_SIZE)
    image = features[IMAGE]
    assert isinstance(image, bytes)
    return Record(
        image=image,
        image_id=ints(IMAGE_ID)[0],
        image_size=(height, width),
        view_number=ints(VIEW_NUMBER)[0],
        view=View(source=_rectangle(ints(VIEW_SOURCE)), valid=_rectangle(ints(VIEW_VALID))),
        targets=SparseTargets(
            cell_index=array(CELL_INDEX, index_dtype(map_size)).astype(np.uint32),
            cell_class=np.repeat(runs[:, 0], runs[:, 2]).astype(np.int32),
            cell_code=array(CELL_CODE, code_dtype(number_of_codes)).astype(np.uint32),
            cell_crowd=np.repeat(runs[:, 1], runs[:, 2]).astype(bool),
            object_cell=array(OBJECT_CELL, "<i4").astype(np.int32),
            object_class=array(OBJECT_CLASS, "<i4").astype(np.int32),
            object_offset=array(OBJECT_OFFSET, "<f4", 2).astype(np.float32),
            object_size=array(OBJECT_SIZE, "<f4", 2).astype(np.float32),
            object_crowd=array(OBJECT_CROWD, "u1").astype(bool),
        ),
    )


def _rectangle(values: tuple[int, ...]) -> tuple[int, int, int, int]:
    ymin, xmin, ymax, xmax = values
    return ymin, xmin, ymax, xmax


def _runs(targets: SparseTargets) -> np.ndarray:
    """int [R, 3] (class, crowd, count) of the maximal runs of equal (class, crowd)."""
    classes, crowd = targets.cell_class, targets.cell_crowd
    if not len(classes):
        return np.zeros((0, 3), np.int32)
    changes = 1 + np.flatnonzero((classes[1:] != classes[:-1]) | (crowd[1:] != crowd[:-1]))
    starts, ends = np.concatenate([[0], changes]), np.concatenate([changes, [len(classes)]])
    return np.stack([classes[starts], crowd[starts], ends - starts], axis=1)


# The protobuf wire format of tf.train.Example. Importing TensorFlow for it would cost every Beam worker seconds and a
# gigabyte. Example{1: Features{1: map<string 1, Feature 2{1: BytesList | 3: Int64List}>}}.

_BYTES = [bytes([value]) for value in range(0x80)]


def _varint(value: int) -> bytes:
    if 0 <= value <= 0x7F:  # almost always
        return _BYTES[value]
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


@cache
def _name(name: str) -> bytes:
    """The key of a feature."""
    return _field(1, name.encode())


def _header(number: int, size: int) -> bytes:
    """The header of a field with `size` bytes of payload."""
    return _BYTES[number << 3 | 2] + _varint(size)


def _field(number: int, payload: bytes) -> bytes:
    return _header(number, len(payload)) + payload


def _int64_entry(name: str, values: tuple[int, ...]) -> bytes:
    """An entry of the features' map."""
    feature = _field(3, _field(1, b"".join(_varint(v) for v in values)))
    return _field(1, _name(name) + _field(2, feature))


def _bytes_entry(name: str, value: bytes) -> list[bytes]:
    """An entry of the features' map, in pieces, so that a large picture is copied only once, at the end."""
    headers, size = b"", len(value)
    for number in (1, 1, 2):  # the value within its list, within its feature, within its entry
        headers = _header(number, size) + headers
        size = len(value) + len(headers)
    key = _name(name)
    return [_header(1, len(key) + size) + key + headers, value]


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data):
            raise ValueError("record ends inside a number: it is truncated or not a tf.train.Example")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _fields(data: bytes) -> list[tuple[int, bytes]]:
    found, at = [], 0
    while at < len(data):
        tag, at = _read_varint(data, at)
        if tag & 7 != 2:
            raise ValueError(f"unexpected wire type {tag & 7} in a record: it is not one of our tf.train.Examples")
        length, at = _read_varint(data, at)
        if at + length > len(data):
            raise ValueError("record ends inside a field: it is truncated")
        found.append((tag >> 3, data[at : at + length]))
        at += length
    return found


def _parse_example(serialized: bytes) -> dict[str, bytes | tuple[int, ...]]:
    features: dict[str, bytes | tuple[int, ...]] = {}
    for _, body in _fields(serialized):
        for _, entry in _fields(body):
            (_, name), (_, feature) = _fields(entry)
            ((kind, values),) = _fields(feature)
            if kind == 1:
                ((_, content),) = _fields(values)
                features[name.decode()] = content
            else:
                ((_, packed),) = _fields(values)
                features[name.decode()] = _int64_values(packed)
    return features


def _int64_values(packed: bytes) -> tuple[int, ...]:
    values, at = [], 0
    while at < len(packed):
        value, at = _read_varint(packed, at)
        values.append(value - (1 << 64) if value >> 63 else value)
    return tuple(values)
