"""TFRecord framing."""

import hashlib
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_preprocess.format.tfrecord import RecordWriter, read_records


def written(records: list[bytes]) -> tuple[bytes, RecordWriter]:
    stream = io.BytesIO()
    writer = RecordWriter(stream)
    for record in records:
        writer.write(record)
    return stream.getvalue(), writer


@given(st.lists(st.binary(max_size=50), max_size=5))
def test_records_come_back(records: list[bytes]) -> None:
    data, writer = written(records)
    assert list(read_records(io.BytesIO(data))) == records
    assert (writer.records, writer.bytes) == (len(records), len(data))
    assert writer.sha256 == hashlib.sha256(data).hexdigest()


@given(st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=3), st.data())
def test_any_changed_or_missing_byte_is_noticed(records: list[bytes], data: st.DataObject) -> None:
    content = bytearray(written(records)[0])
    at = data.draw(st.integers(0, len(content) - 1))
    with pytest.raises(ValueError, match=r"truncated|damaged"):
        list(read_records(io.BytesIO(bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]))))
    with pytest.raises(ValueError, match=r"truncated|damaged"):
        list(read_records(io.BytesIO(bytes(content[:-1]))))


def test_tensorflow_reads_what_we_write_and_we_read_what_it_writes(tmp_path) -> None:  # type: ignore[no-untyped-def]
    import tensorflow as tf

    records = [b"", b"one", bytes(1000)]
    ours, theirs = tmp_path / "ours.tfrecord", tmp_path / "theirs.tfrecord"
    ours.write_bytes(written(records)[0])
    assert [r.numpy() for r in tf.data.TFRecordDataset(str(ours))] == records
    with tf.io.TFRecordWriter(str(theirs)) as writer:
        for record in records:
            writer.write(record)
    assert theirs.read_bytes() == ours.read_bytes()
