"""The lists of an annotation file that is as nearly all are, in batches: the fast way to read it.

An entry is plain if each field that we use is there with COCO's type. Anything else, allowed or not, ends this way:
`annotation_stream.entries` then reads the file. So this way must refuse whatever that one refuses, and what both take
must have the same values.
"""

import math
import re
from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from beam_preprocess.format.annotation_stream import SECTIONS, StrictJson, opened
from beam_preprocess.format.json_sections import JsonProblem, Readable, Sections


class NotPlain(Exception):
    """A file that has to be read entry by entry."""


class Image(msgspec.Struct, gc=False):
    """An entry of images."""

    id: int
    file_name: str
    height: int
    width: int


class Annotation(msgspec.Struct, gc=False):
    """An entry of annotations."""

    id: int
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    area: float = math.nan
    iscrowd: Literal[0, 1] = 0


class Category(msgspec.Struct, gc=False):
    """An entry of categories."""

    id: int
    name: str


_DECODERS: dict[str, msgspec.json.Decoder[Any]] = {
    "images": msgspec.json.Decoder(list[Image]),
    "annotations": msgspec.json.Decoder(list[Annotation]),
    "categories": msgspec.json.Decoder(list[Category]),
}
_LONGEST = 1 << 24
"""Maximum number of bytes without an end of an entry."""
_LAST_END = re.compile(rb"(.*})\s*,\s*(?={)", re.DOTALL)
_DIGITS = bytes.maketrans(b"123456789E", b"000000000e")
_LARGE = (b"0" * 19, b"e000", b"e+000")
"""What a number beyond 64 bits has, once its digits are written as 0."""


def plain_lists(uri: str, digest: Any) -> Iterator[tuple[str, list[Any]]]:
    """(section, some of its entries) of the three lists, in file order.

    Raises:
      InputError: the file is missing or cannot be opened, or see `annotation_stream.opened`.
      NotPlain: during iteration.
    """
    with opened(uri) as stream:
        try:
            yield from Sections(StrictJson(stream, digest), SECTIONS, _batches)
        except (JsonProblem, msgspec.DecodeError) as problem:
            raise NotPlain from problem


def _batches(section: str, value: Readable) -> Iterator[list[Any]]:
    decode = _DECODERS[section].decode
    rest = b""
    while piece := value.read(1):
        rest += piece
        if end := last_end(rest):
            yield decode(_checked(rest[: end[0]] + b"]"))
            rest = b"[" + rest[end[1] :]
        elif len(rest) > _LONGEST:
            raise NotPlain
    yield decode(_checked(rest))


def last_end(text: bytes | bytearray) -> tuple[int, int] | None:
    """Where the last entry but one of a list's beginning ends, and where the last one starts. None: there are not two.

    Only likely: it may be deeper than the list, or in a string.
    """
    found = _LAST_END.match(text)
    return (found.end(1), found.end()) if found else None


def _checked(text: bytes) -> str:
    """Refuses what msgspec lets pass in keys that we don't use: large numbers, and bytes that are not UTF-8.

    Raises:
      NotPlain: a large number.
      UnicodeDecodeError: bytes that are not UTF-8; `Sections` makes a JsonProblem of it.
    """
    numbers = text.translate(_DIGITS)
    if any(large in numbers for large in _LARGE):
        raise NotPlain
    return str(text, "utf-8")
