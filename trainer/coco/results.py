"""Detections in COCO results format, [{image_id, category_id, bbox: [x, y, w, h] pixels, score}, …], as columns.

A list of dictionaries takes ten times the memory.
"""

import contextlib
import itertools
import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.files import read_pieces
from beam_preprocess.format.plain_lists import last_end
from trainer.coco.overlaps import Bools, Floats, Ints

PIECE = 1 << 16
"""Number of bytes that are read and parsed at a time: what they become fits into a core's cache."""
ROWS = 10_000
"""Number of detections that are written at a time."""
_NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""RecursionError: nested too deeply."""


class _Plain(msgspec.Struct, gc=False):
    """An entry as nearly all are; other keys are skipped, whatever they hold. Faster than a dictionary."""

    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    score: float


_PLAIN = msgspec.json.Decoder(list[_Plain])


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Results:
    """N detections, in the order of the file."""

    image_id: Ints
    """[N]"""
    category_id: Ints
    """[N]"""
    box: Floats
    """[N, 4] x, y, width, height in pixels."""
    score: Floats
    """[N]"""

    def __len__(self) -> int:
        return len(self.score)

    def where(self, kept: Bools | Ints | slice) -> "Results":
        """Some of the detections."""
        return Results(
            image_id=self.image_id[kept],
            category_id=self.category_id[kept],
            box=self.box[kept],
            score=self.score[kept],
        )

    def renumbered(self, categories: Mapping[int, int]) -> "Results":
        """The detections of these classes, with the ids that they have elsewhere."""
        old, new = np.array(sorted(categories.items()), np.int64).reshape(-1, 2).T
        kept = self.where(np.isin(self.category_id, old))
        return replace(kept, category_id=new[np.searchsorted(old, kept.category_id)])

    def entries(self) -> list[dict[str, Any]]:
        """The list of dictionaries."""
        columns = (self.image_id, self.category_id, self.box, self.score)
        return [
            {"image_id": image, "category_id": category, "bbox": box, "score": score}
            for image, category, box, score in zip(*(column.tolist() for column in columns), strict=True)
        ]

    def to_json(self) -> bytes:
        """The content of a results file."""
        pieces = (self.where(slice(i, i + ROWS)).entries() for i in range(0, len(self), ROWS))
        return b"[" + b",".join(msgspec.json.encode(piece)[1:-1] for piece in pieces) + b"]"


def joined(parts: Sequence[Results]) -> Results:
    """The detections of all parts, one after the other."""
    return Results(
        image_id=np.concatenate([np.zeros(0, np.int64), *(part.image_id for part in parts)]),
        category_id=np.concatenate([np.zeros(0, np.int64), *(part.category_id for part in parts)]),
        box=np.concatenate([np.zeros((0, 4)), *(part.box for part in parts)]),
        score=np.concatenate([np.zeros(0), *(part.score for part in parts)]),
    )


def read_results(uri: str, fix: str) -> Results:
    """Reads a results file.

    Args:
      uri: a local path or any fsspec URI.
      fix: what the user can do when the file cannot be read, for the message.

    Raises:
      InputError: missing, not a JSON list, or see `from_entries`.
    """
    try:
        return joined(list(_pieces(read_pieces(uri, PIECE, fix))))
    except _NOT_JSON as error:
        raise InputError(f"{uri}: not a JSON list of predictions ({error}); {fix}") from error


def _pieces(content: Iterator[bytes]) -> Iterator[Results]:
    """The entries of a JSON list, piece by piece: the objects of the whole file at once would take much memory.

    Only what ends between two entries is JSON once it is closed: a piece that ends deeper, or in a string, is not. Then
    twice as much is tried, so that a broken file isn't parsed once per entry.
    """
    rest, first, tried = bytearray(), 0, 0
    for more in content:
        if len(rest) > tried and (end := last_end(rest)):
            try:
                piece = _parsed(rest[: end[0]] + b"]", first)
            except _NOT_JSON:
                tried = 2 * len(rest)
            else:
                yield piece
                first += len(piece)
                rest[: end[1]] = b"["
                tried = 0
        rest += more
    yield _parsed(rest, first)


def _parsed(text: bytearray, first: int) -> Results:
    """The columns of a JSON list; `first` is the place of its first entry, for messages."""
    try:
        return _columns(_PLAIN.decode(str(text, "utf-8")))  # what is skipped is not decoded, and should be UTF-8 too
    except (msgspec.DecodeError, struct.error):
        return from_entries(msgspec.json.decode(text, type=list), first)


def _columns(entries: Sequence[_Plain]) -> Results:
    """Raises struct.error for an id beyond 64 bits."""
    return Results(
        image_id=_column("q", [entry.image_id for entry in entries]),
        category_id=_column("q", [entry.category_id for entry in entries]),
        box=_column("d", list(itertools.chain.from_iterable([entry.bbox for entry in entries]))).reshape(-1, 4),
        score=_column("d", [entry.score for entry in entries]),
    )


def _column(code: str, values: Sequence[float]) -> Any:
    return np.frombuffer(struct.pack(f"{len(values)}{code}", *values), code)  # in 0.7 of np.fromiter's time


def from_entries(entries: Sequence[Mapping[str, Any]], first: int = 0) -> Results:
    """The columns of a list.

    Args:
      entries: the list, or a part of it.
      first: the place of its first entry, for messages.

    Raises:
      InputError: an entry lacks a key, an id is not a whole number, or a box or score is not of numbers; the message
        names the first such entry.
    """
    with contextlib.suppress(msgspec.ValidationError, struct.error):
        return _columns(msgspec.convert(entries, list[_Plain]))
    rows = [_checked(f"prediction {first + i}", entry) for i, entry in enumerate(entries)]
    image_ids, category_ids, sides, scores = zip(*rows, strict=True)
    return Results(
        image_id=np.array(image_ids, np.int64),
        category_id=np.array(category_ids, np.int64),
        box=np.array(sides, float),
        score=np.array(scores, float),
    )


def _checked(where: str, entry: Any) -> tuple[int, int, list[float], float]:
    try:
        image, category = entry["image_id"], entry["category_id"]
        box, score = list(entry["bbox"]), entry["score"]
    except (KeyError, TypeError) as error:
        raise InputError(f"{where}: {entry!r} lacks image_id, category_id, bbox or score; add it") from error
    if len(box) != 4 or not all(map(_is_number, (*box, score))):
        raise InputError(f"{where}: bbox {box!r}, score {score!r}: not all finite; the model's output is broken")
    for name, value in (("image_id", image), ("category_id", category)):
        if not _is_number(value) or not math.isfinite(value) or value != int(value) or abs(value) >= 1 << 63:
            raise InputError(f"{where}: {name} is {value!r}, not a whole number; use the annotation file's ids")
    return int(image), int(category), box, score


def _is_number(value: Any) -> bool:
    if isinstance(value, int):
        return not isinstance(value, bool) and abs(value) < 1 << 1023  # a float can hold it
    return isinstance(value, float | np.integer | np.floating)
