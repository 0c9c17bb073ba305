"""Records: round trip, determinism, and the real protocol buffer."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_preprocess.format import records
from beam_preprocess.format.geometry import View
from beam_preprocess.format.records import Record, decode, encode
from beam_preprocess.format.targets import SparseTargets, assign_targets

CODES = 70_000


def rectangle() -> st.SearchStrategy[tuple[int, int, int, int]]:
    side = st.integers(0, 1 << 20)
    return st.tuples(side, side, side, side)


@st.composite
def a_record(draw: st.DrawFn, map_size: tuple[int, int], codes: int) -> Record:
    number = st.integers(0, 1 << 20)
    rng = np.random.default_rng(draw(number))
    cells, objects = draw(st.integers(0, 60)), draw(st.integers(0, 6))
    keys = np.sort(rng.integers(0, 6, cells))  # (crowd, class) pairs in order
    targets = SparseTargets(
        cell_index=rng.integers(0, map_size[0] * map_size[1], cells).astype(np.uint32),
        cell_class=(keys % 3).astype(np.int32),
        cell_code=rng.integers(0, codes, cells).astype(np.uint32),
        cell_crowd=keys >= 3,
        object_cell=rng.integers(0, map_size[0] * map_size[1], objects).astype(np.int32),
        object_class=rng.integers(0, 1000, objects).astype(np.int32),
        object_offset=rng.random((objects, 2), np.float32),
        object_size=rng.random((objects, 2), np.float32) * 100,
        object_crowd=rng.random(objects) > 0.5,
    )
    return Record(
        image=draw(st.binary(max_size=300)),
        image_id=draw(st.integers(-(1 << 63), (1 << 63) - 1)),
        image_size=draw(st.tuples(number, number)),
        view_number=draw(number),
        view=View(source=draw(rectangle()), valid=draw(rectangle())),
        targets=targets,
    )


def assert_equal(first: Record, second: Record) -> None:
    for name in ("image", "image_id", "image_size", "view_number", "view"):
        assert getattr(first, name) == getattr(second, name)
    for name in vars(first.targets):
        one, other = getattr(first.targets, name), getattr(second.targets, name)
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype, name


@given(data=st.data(), shape=st.sampled_from([((48, 64), 900), ((300, 300), CODES)]))
def test_a_record_comes_back(data: st.DataObject, shape: tuple[tuple[int, int], int]) -> None:
    record = data.draw(a_record(*shape))
    serialized = encode(record, *shape)
    assert_equal(decode(serialized, *shape), record)
    assert encode(record, *shape) == serialized


@pytest.mark.parametrize(
    ("map_size", "codes", "index", "code"),
    [((256, 256), 1 << 16, 2, 2), ((257, 256), (1 << 16) + 1, 4, 4)],
)
def test_widths_grow_with_the_map(map_size: tuple[int, int], codes: int, index: int, code: int) -> None:
    assert records.index_dtype(map_size).itemsize == index
    assert records.code_dtype(codes).itemsize == code


def example() -> Record:
    boxes = np.array([[8, 8, 40, 56], [16, 24, 60, 62], [2, 2, 20, 20]], float)
    targets = assign_targets(boxes, [2, 0, 2], [False, False, True], image_size=(64, 64), stride=4, cutoff=1e-3)
    return Record(
        image=b"jpeg",
        image_id=-5,
        image_size=(480, 640),
        view_number=3,
        view=View(source=(0, 10, 480, 600), valid=(0, 0, 52, 64)),
        targets=targets,
    )


@pytest.mark.parametrize("cut", [1, 5, 40, 200])
def test_a_cut_record_is_an_error(cut: int) -> None:
    with pytest.raises(ValueError, match=r"truncated|Example|lacks"):
        decode(encode(example(), (16, 16), 900)[:-cut], (16, 16), 900)


def test_records_are_tensorflow_examples() -> None:
    import tensorflow as tf

    record = example()
    serialized = encode(record, (16, 16), 900)
    message = tf.train.Example.FromString(serialized)
    assert set(message.features.feature) == {*records.INT_FEATURES, *records.BYTES_FEATURES}
    parsed = tf.io.parse_single_example(
        serialized,
        {name: tf.io.FixedLenFeature([size], tf.int64) for name, size in records.INT_FEATURES.items()}
        | {name: tf.io.FixedLenFeature([], tf.string) for name in records.BYTES_FEATURES},
    )
    assert parsed[records.IMAGE].numpy() == b"jpeg"
    assert parsed[records.IMAGE_ID].numpy().tolist() == [-5]
    assert parsed[records.VIEW_SOURCE].numpy().tolist() == [0, 10, 480, 600]
    index = tf.io.decode_raw(parsed[records.CELL_INDEX], tf.uint16).numpy()
    np.testing.assert_array_equal(index, record.targets.cell_index)
    # And the other way round: what TensorFlow serialises, our reader reads.
    assert_equal(decode(message.SerializeToString(deterministic=True), (16, 16), 900), record)
