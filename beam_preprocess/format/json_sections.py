"""Streams the top-level lists of a JSON object, one entry at a time, in one pass over the file.

ijson follows one path per pass and tokenizes everything before and after it, so three sections of a file would cost
three passes. This module finds the brackets outside strings with NumPy, and from them where each top-level value begins
and ends. ijson's C parser reads each wanted list once, and nothing reads the rest of the file. The file without the
values, its skeleton, is a few hundred bytes, which the standard library parses.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import Enum, auto
from typing import Any, Final, Protocol

import ijson
import numpy as np

from beam_preprocess.format.reasons import Reason

CHUNK: Final = 1 << 18
"""Bytes per read: large enough that NumPy's overhead is negligible, small enough to save memory."""

_QUOTE: Final = 2
_KINDS = bytes({ord("["): 1, ord("{"): 1, ord("]"): 255, ord("}"): 255, ord('"'): _QUOTE}.get(i, 0) for i in range(256))
"""Bytes to 1, -1 as int8, or _QUOTE; the others to 0."""
_ESCAPE = re.compile(rb"\\.", re.DOTALL)
_KEY = re.compile(rb'("(?:[^"\\]|\\.)*")\s*:\s*\Z')
_ANY_KEY = re.compile(rb'("(?:[^"\\]|\\.)*")\s*:')
_LONGEST_SKELETON = 1 << 20
DEEPEST: Final = 100
"""Brackets within brackets that a wanted list may hold. COCO needs five; ijson's time grows with the square."""
_CONTEXT_OF_KEY = 1 << 12
"""Bytes before an error that are searched for the key it belongs to."""
_PLAIN = {
    "integer overflow": "a whole number is beyond 64 bits",
    "floating point) overflow": "a number is too large",
    "invalid bytes in UTF8": "bytes are not UTF-8; save the file as UTF-8",
}
"""ijson's words to ours."""
_NOT_AN_OBJECT = "is a list or a single value, not an object; a COCO file is an object"


class Readable(Protocol):
    """A source of bytes; empty at the end."""

    def read(self, size: int) -> bytes:
        """At most about `size` bytes."""


class JsonProblem(Exception):
    """A file that does not contain the wanted lists."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class _Event(Enum):
    OPEN = auto()
    TEXT = auto()
    CLOSE = auto()


class _Cut(Enum):
    OPENS = auto()
    CLOSES = auto()
    TOO_DEEP = auto()


class _Value:
    """A top-level value as a separate file."""

    def __init__(self, bracket: bytes, events: Iterator[tuple[_Event, bytes]]) -> None:
        self._first, self._events = bracket, events
        self._closed = False

    def read(self, size: int) -> bytes:
        """The next piece, of any size; empty after the closing bracket."""
        if not size or self._closed:  # ijson reads 0 bytes once, to learn whether it gets bytes or text
            return b""
        if self._first:
            first, self._first = self._first, b""
            return first
        event, piece = next(self._events, (_Event.CLOSE, b""))
        self._closed = event is _Event.CLOSE
        return piece


def _items(section: str, value: Readable) -> Iterator[Any]:
    # ijson's C iterator: feeding its coroutine from Python takes three times as long.
    return ijson.items(value, "item", use_float=True)


class Sections:
    """Iterates over (section, entry) of the wanted lists, in file order, and skips other top-level values.

    Args:
      stream: the file.
      wanted: the sections.
      parse: what makes entries of a section's name and its list, which is one JSON value.

    Raises (during iteration):
      JsonProblem: not JSON, truncated, not an object, or a wanted section is missing, repeated or not a list.
    """

    def __init__(
        self, stream: Readable, wanted: Sequence[str], parse: Callable[[str, Readable], Iterable[Any]] = _items
    ) -> None:
        self._stream, self._wanted, self._parse = stream, wanted, parse
        self._skeleton = bytearray()
        self._depth, self._in_string, self._held = 0, False, b""
        self._section: str | None = None
        """The top-level list or object that is being read."""
        self._entry = 0
        """Position of the next entry in it."""

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        events = self._events()
        for event, piece in events:
            if event is not _Event.OPEN:
                continue
            key = _KEY.search(self._skeleton)
            section = self._section = _key(key[1]) if key else ""
            self._entry = 0
            self._skeleton += piece
            if section not in self._wanted:
                continue
            if piece != b"[":
                raise JsonProblem(Reason.MALFORMED_FILE, f"'{section}' is not a list; a COCO file has one there")
            try:
                for entry in self._parse(section, _Value(piece, events)):
                    self._entry += 1
                    yield section, entry
            except (ijson.JSONError, ValueError) as error:  # ValueError: UnicodeDecodeError, a number of 5,000 digits
                self._check_bytes_left(events)
                raise JsonProblem(Reason.NOT_JSON, f"{section}[{self._entry}]: {_explained(error)}") from error
        self._check_end()

    def _events(self) -> Iterator[tuple["_Event", bytes]]:
        """Cuts the file at the brackets of its top-level values; everything outside them becomes the skeleton."""
        while data := self._stream.read(CHUNK):
            data = self._held + data
            start = 0
            for position, cut in self._cuts(data):
                yield from self._text(data[start:position])
                start = position
                if cut is _Cut.TOO_DEEP:
                    if self._section in self._wanted:
                        raise self._too_deep(data[max(position - _CONTEXT_OF_KEY, 0) : position])
                    continue
                start += 1
                if cut is _Cut.OPENS:
                    yield _Event.OPEN, data[position:start]
                else:
                    self._section = None
                    self._skeleton += data[position:start]
                    yield _Event.CLOSE, data[position:start]
            yield from self._text(data[start : len(data) - len(self._held)])

    def _text(self, piece: bytes) -> Iterator[tuple["_Event", bytes]]:
        if self._section is not None:
            if piece:
                yield _Event.TEXT, piece
            return
        self._skeleton += piece
        if len(self._skeleton) > _LONGEST_SKELETON or (self._skeleton.strip()[:1] or b"{") not in b"{[":
            _skeleton(self._skeleton)  # raises, unless the whole file is a single value
            raise JsonProblem(Reason.MALFORMED_FILE, _NOT_AN_OBJECT)

    def _too_deep(self, before: bytes) -> JsonProblem:
        """The error for brackets that are nested too deeply; ijson has yielded the entries before this one."""
        keys = _ANY_KEY.findall(before)
        name = f"'{_key(keys[-1])}' nests" if keys else "nests"
        detail = f"{self._section}[{self._entry}]: {name} more than {DEEPEST} brackets; a COCO file needs five"
        return JsonProblem(Reason.MALFORMED_FILE, f"{detail}: export the annotations again")

    def _cuts(self, data: bytes) -> list[tuple[int, _Cut]]:
        """Positions where top-level lists and objects open and close or get too deep, in order; updates the state."""
        masked, self._held = data, b""
        if b"\\" in data:  # an escaped quote does not end a string, and an escape may span two chunks
            masked = _ESCAPE.sub(b"__", data)
            if masked.endswith(b"\\"):
                masked, self._held = masked[:-1], b"\\"
        kinds = np.frombuffer(masked.translate(_KINDS), np.int8)
        at = np.flatnonzero(kinds != 0)  # four times as fast as without the comparison
        kinds = kinds[at]
        quotes = kinds == _QUOTE
        in_string = (np.cumsum(quotes) + self._in_string) % 2 == 1
        brackets = ~quotes & ~in_string
        steps, at = kinds[brackets], at[brackets]
        depth = self._depth + np.cumsum(steps, dtype=np.int64)
        if len(in_string):
            self._in_string = bool(in_string[-1])
        if not len(at):
            return []
        if depth.min() < 0:
            raise JsonProblem(Reason.NOT_JSON, "a closing bracket has no opening bracket")
        self._depth = int(depth[-1])
        opens, closes = (steps == 1) & (depth == 2), (steps == -1) & (depth == 1)
        deep = (steps == 1) & (depth == DEEPEST + 1)
        cuts = [(i, _Cut.OPENS) for i in np.flatnonzero(opens).tolist()]
        cuts += [(i, _Cut.CLOSES) for i in np.flatnonzero(closes).tolist()]
        cuts += [(i, _Cut.TOO_DEEP) for i in np.flatnonzero(deep).tolist()]
        return [(int(at[i]), cut) for i, cut in sorted(cuts, key=lambda cut: cut[0])]

    def _check_bytes_left(self, events: Iterator[tuple["_Event", bytes]]) -> None:
        """After an error within a value, raises if the cause is that the file ends there."""
        for _ in events:
            pass
        if self._section is not None:
            self._check_end()

    def _check_end(self) -> None:
        if self._depth or self._in_string or self._held:
            where = f"inside '{self._section}'" if self._section else "before its last bracket closes"
            raise JsonProblem(Reason.TRUNCATED_FILE, f"the file is truncated: it ends {where}")
        content = _skeleton(self._skeleton)
        missing = [section for section in self._wanted if section not in content]
        if missing:
            raise JsonProblem(
                Reason.MISSING_SECTION, f"lacks {', '.join(missing)}; a COCO file has {', '.join(self._wanted)}"
            )
        for section in self._wanted:
            if not isinstance(content[section], list):
                raise JsonProblem(Reason.MALFORMED_FILE, f"'{section}' is not a list; a COCO file has one there")


def _key(quoted: bytes | bytearray) -> str:
    """The text of a key.

    Raises:
      JsonProblem: not UTF-8, or an escape that JSON lacks.
    """
    try:
        return str(json.loads(bytes(quoted)))
    except ValueError as error:  # JSONDecodeError, UnicodeDecodeError
        raise JsonProblem(
            Reason.NOT_JSON, f"the key {bytes(quoted)[:60]!r}: {error}; save the file as UTF-8"
        ) from error


def _explained(error: Exception) -> str:
    """One line of ijson's message: what is wrong, and the text around it."""
    lines = str(error).splitlines() or [type(error).__name__]
    if lines[0].startswith(("b'", 'b"')):  # yajl's message holds the bytes that are not UTF-8
        lines = lines[0][2:-1].split("\\n")
    what = next((plain for part, plain in _PLAIN.items() if part in lines[0]), lines[0].rstrip(". "))
    near = lines[1].strip() if len(lines) > 1 else ""
    return f"{what}, near {near[:60]}" if near else what


def _skeleton(text: bytes | bytearray) -> dict[str, Any]:
    """Parses the skeleton: the top-level object with empty lists and objects.

    Raises:
      JsonProblem: not JSON, not an object, or a duplicate key.
    """

    def distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        repeated = sorted({key for key in keys if keys.count(key) > 1})
        if repeated:
            raise JsonProblem(Reason.MALFORMED_FILE, f"has duplicate keys {', '.join(repeated)}; merge the sections")
        return dict(pairs)

    try:
        content = json.loads(bytes(text), object_pairs_hook=distinct)
    except ValueError as error:  # JSONDecodeError, UnicodeDecodeError, a number of 5,000 digits
        reason = "a number has too many digits" if "int_max_str_digits" in str(error) else str(error)
        raise JsonProblem(Reason.NOT_JSON, reason) from error
    if not isinstance(content, dict):
        raise JsonProblem(Reason.MALFORMED_FILE, _NOT_AN_OBJECT)
    return content
