"""TFRecord framing: length, masked CRC32C of the length, payload, masked CRC32C of the payload."""

import hashlib
import struct
from collections.abc import Iterator
from typing import BinaryIO

import google_crc32c

_LENGTH = struct.Struct("<Q")
_CRC = struct.Struct("<I")


def _masked_crc(data: bytes) -> int:
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


class RecordWriter:
    """Writes records to a stream, and counts and hashes what it writes."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._digest = hashlib.sha256()
        self.records = 0
        self.bytes = 0

    def write(self, record: bytes) -> None:
        """Appends one record."""
        length = _LENGTH.pack(len(record))
        for piece in (length + _CRC.pack(_masked_crc(length)), record, _CRC.pack(_masked_crc(record))):
            self._stream.write(piece)
            self._digest.update(piece)
            self.bytes += len(piece)
        self.records += 1

    @property
    def sha256(self) -> str:
        """Hex digest of the bytes written so far."""
        return self._digest.hexdigest()


def read_records(stream: BinaryIO) -> Iterator[bytes]:
    """Reads the records of a stream.

    Raises:
      ValueError: a checksum differs or the file ends inside a record.
    """
    while header := stream.read(12):
        length = _checked(header, 8)
        (size,) = _LENGTH.unpack(length)
        yield _checked(stream.read(size + 4), size)


def _checked(data: bytes, size: int) -> bytes:
    if len(data) != size + 4:
        raise ValueError("the file ends inside a record: it is truncated")
    payload = data[:size]
    if _CRC.unpack(data[size:])[0] != _masked_crc(payload):
        raise ValueError("a record's checksum differs: the file is damaged or not a TFRecord file")
    return payload
