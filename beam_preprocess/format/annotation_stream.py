"""The entries of a COCO annotation file, streamed: any bytes in, objects or one clear error out."""

import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.json import shown
from beam_preprocess.base.storage import file_system, refusals, refused
from beam_preprocess.format.json_sections import JsonProblem, Sections
from beam_preprocess.format.reasons import Reason, UnusableFile

SECTIONS = ("images", "annotations", "categories")

_CHUNK = 1 << 16
_TOKEN = re.compile(rb'"|\\.|(?<=[\[,:\s])(?:NaN|-?Infinity)(?=[\s,\]}]|\Z)', re.DOTALL)
_ESCAPE = re.compile(rb"\\.", re.DOTALL)
_LONGEST_TOKEN = 16
"""More bytes than a delimiter and -Infinity take."""
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_GZIP = b"\x1f\x8b"


class StrictJson:
    """A byte stream in which NaN and Infinity, which are not JSON, are null. It hashes the bytes as they are.

    Not within strings: a class may be named "no, NaN, none".
    """

    def __init__(self, stream: BinaryIO, digest: Any = None) -> None:
        self._stream, self._digest, self._rest = stream, digest, b""
        self._in_string = False

    def read(self, size: int = _CHUNK) -> bytes:
        while True:
            data = self._stream.read(max(size, _CHUNK))
            if self._digest is not None:
                self._digest.update(data)
            joined = self._rest + data
            cut = len(joined)
            if data:
                # A token may span two reads, so the bytes after the last delimiter wait for the next read.
                last = max(joined.rfind(delimiter) for delimiter in (b",", b"[", b":", b" ", b"\n"))
                if len(joined) - last <= _LONGEST_TOKEN:
                    cut = max(last, 0)
                elif (len(joined) - len(joined.rstrip(b"\\"))) % 2:
                    cut -= 1  # an escape may span two reads as well
            ready, self._rest = joined[:cut], joined[cut:]
            if b"NaN" in ready or b"Infinity" in ready:
                ready = _TOKEN.sub(self._replaced, ready)
            else:
                quotes = (_ESCAPE.sub(b"", ready) if b"\\" in ready else ready).count(b'"')
                self._in_string ^= quotes % 2 == 1
            if ready or not data:
                return ready

    def _replaced(self, token: re.Match[bytes]) -> bytes:
        if token[0] == b'"':
            self._in_string = not self._in_string
        elif not self._in_string and not token[0].startswith(b"\\"):
            return b"null"
        return token[0]


class Where:
    """An entry's name for messages, formatted only if there is a message."""

    def __init__(self, uri: str) -> None:
        self._uri, self._section, self._index = uri, "", -1

    def move(self, section: str) -> None:
        self._index = self._index + 1 if section == self._section else 0
        self._section = section

    def __str__(self) -> str:
        return f"{self._uri}: {self._section}[{self._index}]"


def entries(uri: str, digest: Any) -> Iterator[tuple[str, Where, dict[str, Any]]]:
    """(section, the entry's name for messages, entry) of the three lists, in file order.

    `plain_lists` is faster, and takes fewer files.
    """
    where = Where(uri)
    with opened(uri) as stream:
        try:
            for section, entry in Sections(StrictJson(stream, digest), SECTIONS):
                where.move(section)
                if not isinstance(entry, dict):
                    raise UnusableFile(
                        Reason.MALFORMED_FILE, f"{where}: is {shown(entry)}, not an object; see COCO's data format"
                    )
                yield section, where, entry
        except JsonProblem as problem:
            not_json = problem.reason in (Reason.NOT_JSON, Reason.TRUNCATED_FILE)
            message = f"not valid JSON ({problem}); export the annotations again" if not_json else str(problem)
            raise UnusableFile(problem.reason, f"{uri}: {message}") from problem


def opened(uri: str) -> Any:
    """The file, unless its first bytes show that it is not JSON.

    Raises:
      InputError: it is missing or cannot be opened.
      UnusableFile: an InputError with a reason: it is empty, compressed, or begins with a byte order mark.
    """
    fs, path = file_system(uri)
    try:
        opened = fs.open(path, "rb")
    except FileNotFoundError as error:
        raise InputError(f"{uri}: no such annotation file; check the path") from error
    except IsADirectoryError as error:
        raise InputError(f"{uri}: cannot be read as a file ({error.strerror}); give a COCO JSON file") from error
    except refusals() as error:
        raise refused(uri, error) from error
    start = opened.read(len(_BYTE_ORDER_MARK))
    fault = None
    if not start:
        fault = Reason.EMPTY_FILE, "the file is empty; export the annotations again"
    elif start == _BYTE_ORDER_MARK:
        fault = Reason.NOT_JSON, "begins with a byte order mark, which JSON forbids; save it as UTF-8 without one"
    elif start.startswith(_GZIP):
        fault = Reason.NOT_JSON, "is a gzip file; decompress it"
    if fault:
        opened.close()
        raise UnusableFile(fault[0], f"{uri}: {fault[1]}")
    opened.seek(0)
    return opened
