"""Reads COCO annotation files as a stream, into arrays. No Beam, no TensorFlow.

Parsing a 400 MB file of polygons takes a few hundred megabytes of memory, because it keeps only the fields that
detection needs (ids, file names, sizes, categories, boxes, crowd flags), in flat arrays.
"""

import hashlib
import itertools
import re
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal

import numpy as np

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.storage import file_system, refusals, refused
from beam_preprocess.format.json_sections import JsonProblem, Sections
from beam_preprocess.format.manifest import Category
from beam_preprocess.format.reasons import Reason, UnusableFile

SECTIONS = ("images", "annotations", "categories")

_CHUNK = 1 << 16
_NON_FINITE = re.compile(rb"(?<=[\[,:\s])(?:NaN|-?Infinity)(?=[\s,\]}]|\Z)")
_LONGEST_TOKEN = 16
"""More bytes than a delimiter and -Infinity take."""
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_GZIP = b"\x1f\x8b"


SIZE_RANGES = ((32.0**2, "small"), (96.0**2, "medium"), (float("inf"), "large"))
"""COCO's area ranges (upper ends excluded), applied to the area of the box, not of the polygon."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CocoAnnotations:
    """The parsed file. Entries are in file order, and only their types are validated."""

    uri: str
    content_digest: str
    """sha256 (hex) of the file's bytes."""
    image_ids: np.ndarray
    """int64 [I]."""
    file_names: list[str]
    """[I], relative to the image folder."""
    image_sizes: np.ndarray
    """int64 [I, 2]: (height, width) in pixels."""
    annotation_ids: np.ndarray
    """int64 [A]."""
    annotation_image_ids: np.ndarray
    """int64 [A]."""
    annotation_category_ids: np.ndarray
    """int64 [A]."""
    bboxes: np.ndarray
    """float64 [A, 4]: COCO's [x, y, width, height]. NaN stands for NaN and for infinities."""
    bbox_lengths: np.ndarray
    """int64 [A]: number of entries of the bbox in the file, -1 if it is not a list of numbers. Unless it is 4, bboxes
    has zeros."""
    crowd: np.ndarray
    """bool [A]."""
    categories: tuple[tuple[int, str], ...]
    """(id, name), in file order."""


def load_annotations(uri: str) -> CocoAnnotations:
    """Parses a COCO annotation file.

    Args:
      uri: local path or fsspec URI.

    Raises:
      InputError: the file is missing or cannot be opened.
      UnusableFile: an InputError with a reason: empty, not JSON, truncated, a missing section, not in COCO's format, no
        image or no category.
    """
    image_ids, image_sizes, file_names = array("q"), array("q"), []
    ann_ids, ann_images, ann_categories, lengths = array("q"), array("q"), array("q"), array("q")
    bboxes, crowd = array("d"), array("b")
    categories: list[tuple[int, str]] = []
    digest = hashlib.sha256()

    for section, where, entry in _entries(uri, digest):
        if section == "annotations":
            ann_ids.append(_integer(where, entry, "id"))
            ann_images.append(_integer(where, entry, "image_id"))
            ann_categories.append(_integer(where, entry, "category_id"))
            length, bbox = _bbox(entry.get("bbox"))
            lengths.append(length)
            bboxes.extend(bbox)
            crowd.append(_flag(where, entry, "iscrowd"))
        elif section == "images":
            image_ids.append(_integer(where, entry, "id"))
            image_sizes.extend((_integer(where, entry, "height"), _integer(where, entry, "width")))
            file_names.append(_text(where, entry, "file_name"))
        else:
            categories.append((_integer(where, entry, "id"), _text(where, entry, "name")))

    for name, count in (("images", len(image_ids)), ("categories", len(categories))):
        if not count:
            raise UnusableFile(
                Reason.MALFORMED_FILE, f"{uri}: '{name}' is empty; a data set needs at least one entry there"
            )
    return CocoAnnotations(
        uri=uri,
        content_digest=digest.hexdigest(),
        image_ids=_values(image_ids, np.int64),
        file_names=file_names,
        image_sizes=_values(image_sizes, np.int64).reshape(-1, 2),
        annotation_ids=_values(ann_ids, np.int64),
        annotation_image_ids=_values(ann_images, np.int64),
        annotation_category_ids=_values(ann_categories, np.int64),
        bboxes=_values(bboxes, np.float64).reshape(-1, 4),
        bbox_lengths=_values(lengths, np.int64),
        crowd=_values(crowd, np.int8).astype(bool),
        categories=tuple(categories),
    )


def _values(found: "array[Any]", dtype: type) -> np.ndarray:
    """The array's values without a copy, except that NumPy refuses the memory of an empty array."""
    return np.frombuffer(found, dtype) if found else np.zeros(0, dtype)


def class_map(
    categories: Sequence[tuple[int, str]], mode: Literal["rank", "id-minus-1"]
) -> tuple[tuple[Category, ...], int]:
    """Maps category ids to class indices.

    Args:
      categories: (id, name) of each category; ids may be sparse and in any order.
      mode: "rank" numbers the sorted ids from 0; "id-minus-1" subtracts 1, so gaps become unused channels (Model
        Garden's 90 channels for COCO's 80 classes).

    Returns:
      (categories in the order of their ids, number of heatmap channels).

    Raises:
      InputError: an id appears twice, or is below 1 with "id-minus-1".
    """
    ordered = sorted(categories)
    ids = [category_id for category_id, _ in ordered]
    repeated = sorted({a for a, b in itertools.pairwise(ids) if a == b})
    if repeated:
        raise InputError(f"categories: the ids {repeated} appear more than once; give each category its own id")
    if mode == "rank":
        return tuple(Category(index=i, id=c, name=name) for i, (c, name) in enumerate(ordered)), len(ordered)
    if ids[0] < 1:
        raise InputError(f"categories: id {ids[0]} has no class with class_index 'id-minus-1'; use 'rank'")
    return tuple(Category(index=c - 1, id=c, name=name) for c, name in ordered), ids[-1]


class _StrictJson:
    """A byte stream for ijson. It replaces NaN and Infinity, which are not JSON, by null, and hashes the bytes."""

    def __init__(self, stream: BinaryIO, digest: Any = None) -> None:
        self._stream, self._digest, self._rest = stream, digest, b""

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
            ready, self._rest = joined[:cut], joined[cut:]
            if b"NaN" in ready or b"Infinity" in ready:
                ready = _NON_FINITE.sub(b"null", ready)
            if ready or not data:
                return ready


class _Where:
    """An entry's name for messages, formatted only if there is a message."""

    def __init__(self, uri: str) -> None:
        self._uri, self._section, self._index = uri, "", -1

    def move(self, section: str) -> None:
        self._index = self._index + 1 if section == self._section else 0
        self._section = section

    def __str__(self) -> str:
        return f"{self._uri}: {self._section}[{self._index}]"


def _entries(uri: str, digest: Any) -> Iterator[tuple[str, _Where, dict[str, Any]]]:
    """(section, the entry's name for messages, entry) of the three lists, in file order."""
    where = _Where(uri)
    with _opened(uri) as stream:
        try:
            for section, entry in Sections(_StrictJson(stream, digest), SECTIONS):
                where.move(section)
                if not isinstance(entry, dict):
                    raise UnusableFile(
                        Reason.MALFORMED_FILE, f"{where}: is {_short(entry)}, not an object; see COCO's data format"
                    )
                yield section, where, entry
        except JsonProblem as problem:
            not_json = problem.reason in (Reason.NOT_JSON, Reason.TRUNCATED_FILE)
            message = f"not valid JSON ({problem}); export the annotations again" if not_json else str(problem)
            raise UnusableFile(problem.reason, f"{uri}: {message}") from problem


def _opened(uri: str) -> Any:
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


def _integer(where: _Where, entry: dict[str, Any], key: str) -> int:
    value = entry.get(key)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not -(1 << 63) <= value < 1 << 63:
        raise UnusableFile(Reason.MALFORMED_FILE, f"{where}: '{key}' is {_short(value)}; COCO needs an integer there")
    return value


def _flag(where: _Where, entry: dict[str, Any], key: str) -> bool:
    value = entry.get(key)
    if value not in (None, 0, 1):  # the text "0" would count as true
        raise UnusableFile(Reason.MALFORMED_FILE, f"{where}: '{key}' is {_short(value)}; COCO needs 0 or 1 there")
    return bool(value)


def _text(where: _Where, entry: dict[str, Any], key: str) -> str:
    value = entry.get(key)
    if not isinstance(value, str):
        raise UnusableFile(Reason.MALFORMED_FILE, f"{where}: '{key}' is {_short(value)}; COCO needs a string there")
    return value


def _bbox(value: Any) -> tuple[int, tuple[float, ...]]:
    """(number of entries in the file or -1, four floats)."""
    nothing = (0.0, 0.0, 0.0, 0.0)
    if not isinstance(value, list) or any(isinstance(v, bool | str | list | dict) for v in value):
        return -1, nothing
    if len(value) != 4:
        return len(value), nothing
    return 4, tuple(float("nan") if v is None else float(v) for v in value)


def _short(value: Any) -> str:
    if value is None:
        return "missing"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def area_range(box: Sequence[float]) -> str:
    """COCO's area range of a box in original pixels: small, medium or large."""
    area = (box[2] - box[0]) * (box[3] - box[1])
    return next(name for limit, name in SIZE_RANGES if area < limit)
