"""The lists of an annotation file as they are read: one growing flat array per field."""

import itertools
import math
from array import array
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from beam_preprocess.base.json import shown
from beam_preprocess.format.annotation_stream import Where
from beam_preprocess.format.reasons import Reason, UnusableFile

SHOWN_BOXES = 100
"""Maximum number of unusual boxes whose text is kept for messages."""


class Columns:
    """What an annotation file says, field by field; see `annotations.CocoAnnotations`."""

    def __init__(self) -> None:
        self.image_ids, self.image_sizes = array("q"), array("q")
        self.file_names: list[str] = []
        self.ann_ids, self.ann_images, self.ann_categories, self.lengths = (array("q") for _ in range(4))
        self.bboxes, self.areas, self.crowd = array("d"), array("d"), array("b")
        self.odd_boxes: dict[int, str] = {}
        self.without_id: list[int] = []
        self.categories: list[tuple[int, str]] = []
        self._first_keys: list[str] = []

    def add(self, section: str, where: Where, entry: dict[str, Any]) -> None:
        """Adds an entry of any kind.

        Raises:
          UnusableFile: it is not in COCO's format.
        """
        if section == "annotations":
            self._add_annotation(where, entry)
        elif section == "images":
            self.image_ids.append(_integer(where, entry, "id"))
            self.image_sizes.extend((_integer(where, entry, "height"), _integer(where, entry, "width")))
            self.file_names.append(_text(where, entry, "file_name"))
        else:
            self.categories.append((_integer(where, entry, "id"), _text(where, entry, "name")))

    def _add_annotation(self, where: Where, entry: dict[str, Any]) -> None:
        row = len(self.ann_ids)
        if not row:
            self._first_keys = list(entry)
        if entry.get("id") is None:
            self.without_id.append(row)
        self.ann_ids.append(0 if entry.get("id") is None else _integer(where, entry, "id"))
        self.ann_images.append(_integer(where, entry, "image_id"))
        self.ann_categories.append(_integer(where, entry, "category_id"))
        length, bbox = _bbox(entry.get("bbox"))
        if length != 4 and len(self.odd_boxes) < SHOWN_BOXES:
            self.odd_boxes[row] = _shown_box(entry)
        self.lengths.append(length)
        self.bboxes.extend(bbox)
        self.areas.append(_number(entry.get("area")))
        self.crowd.append(_flag(where, entry, "iscrowd"))

    def extend(self, section: str, plain: Sequence[Any]) -> None:
        """Adds entries of `plain_lists`."""
        if section == "annotations":
            self.ann_ids.fromlist([entry.id for entry in plain])
            self.ann_images.fromlist([entry.image_id for entry in plain])
            self.ann_categories.fromlist([entry.category_id for entry in plain])
            self.lengths.fromlist([4] * len(plain))
            self.bboxes.fromlist([number for entry in plain for number in entry.bbox])
            self.areas.fromlist([entry.area for entry in plain])
            self.crowd.fromlist([entry.iscrowd for entry in plain])
        elif section == "images":
            self.image_ids.fromlist([entry.id for entry in plain])
            self.image_sizes.fromlist([size for entry in plain for size in (entry.height, entry.width)])
            self.file_names += [entry.file_name for entry in plain]
        else:
            self.categories += [(entry.id, entry.name) for entry in plain]

    def check(self, uri: str) -> None:
        """Refuses a file without images, categories or, if there are annotations, any box.

        Raises:
          UnusableFile: it is one.
        """
        for name, count in (("images", len(self.image_ids)), ("categories", len(self.categories))):
            if not count:
                raise UnusableFile(
                    Reason.MALFORMED_FILE, f"{uri}: '{name}' is empty; a data set needs at least one entry there"
                )
        if len(self.lengths) and max(self.lengths) < 0:
            found = _no_boxes(uri, len(self.lengths), self.odd_boxes[0], self._first_keys)
            raise UnusableFile(Reason.MALFORMED_FILE, found)


def as_array(found: "array[Any]") -> np.ndarray:
    """The values without a copy, except that NumPy refuses the memory of an empty array."""
    dtype = np.dtype(found.typecode)
    return np.frombuffer(found, dtype) if found else np.zeros(0, dtype)


def numbered(ids: np.ndarray, without: Sequence[int]) -> np.ndarray:
    """The ids, in which the rows `without` an id get new ones."""
    if not without:
        return ids
    taken = set(ids.tolist())
    free = (number for number in itertools.count(1) if number not in taken)
    ids = ids.copy()
    ids[list(without)] = list(itertools.islice(free, len(without)))
    return ids


_FIXES = {
    "id": "number the entries with integers",
    "image_id": "use the integer id of an image",
    "category_id": "use the integer id of a category",
    "height": "write the pixels as a number, without quotes",
    "width": "write the pixels as a number, without quotes",
    "file_name": "write the path of the image below the image folder",
    "name": "name the category",
    "iscrowd": "COCO needs 0 or 1 there",
}
"""Key of an entry to what the user can do about a wrong value."""


def _wrong(where: Where, entry: dict[str, Any], key: str, wanted: str) -> UnusableFile:
    """The error for a value of another type."""
    if key in entry:
        value = "null" if entry[key] is None else shown(entry[key])
        return UnusableFile(Reason.MALFORMED_FILE, f"{where}: '{key}' is {value}, not {wanted}; {_FIXES[key]}")
    return UnusableFile(
        Reason.MALFORMED_FILE, f"{where}: '{key}' is missing (the keys are {_listed(entry)}); {_FIXES[key]}"
    )


def _listed(keys: Iterable[str]) -> str:
    text = ", ".join(keys)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _integer(where: Where, entry: dict[str, Any], key: str) -> int:
    value = entry.get(key)
    if type(value) is int and -(1 << 63) <= value < 1 << 63:  # nearly always: a large file has millions
        return value
    if isinstance(value, float) and value.is_integer():  # pandas writes 1.0 in columns that have a gap
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not -(1 << 63) <= value < 1 << 63:
        raise _wrong(where, entry, key, "a whole number of 64 bits")
    return value


def _flag(where: Where, entry: dict[str, Any], key: str) -> bool:
    value = entry.get(key)
    if value not in (None, 0, 1):  # the text "0" would count as true
        raise _wrong(where, entry, key, "a flag")
    return bool(value)


def _text(where: Where, entry: dict[str, Any], key: str) -> str:
    value = entry.get(key)
    if not isinstance(value, str):
        raise _wrong(where, entry, key, "a text")
    return value


_NUMBERS = frozenset((int, float))


def _bbox(value: Any) -> tuple[int, Sequence[float]]:
    """(number of entries in the file or -1, four numbers)."""
    if type(value) is list and len(value) == 4 and _NUMBERS.issuperset(map(type, value)):
        return 4, value if all(map(math.isfinite, value)) else tuple(map(_number, value))
    nothing = (0.0, 0.0, 0.0, 0.0)
    if not isinstance(value, list) or any(isinstance(v, bool | str | list | dict) for v in value):
        return -1, nothing
    if len(value) != 4:
        return len(value), nothing
    return 4, tuple(_number(v) for v in value)


def _shown_box(entry: dict[str, Any]) -> str:
    value = entry.get("bbox")
    return f"bbox {'null' if value is None else shown(value)}" if "bbox" in entry else "no bbox"


def _number(value: Any) -> float:
    """The number, NaN for anything that is not a finite one."""
    if type(value) is float and math.isfinite(value):
        return value
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        return math.nan
    return float(value)


def _no_boxes(uri: str, count: int, first: str, keys: Sequence[str]) -> str:
    """The message for a file in which no annotation has a list of numbers as its box."""
    annotations = f"{uri}: none of the {count} annotations has a box of four numbers"
    if first == "no bbox":
        lacks = f"annotations[0] lacks 'bbox' (its keys are {_listed(keys)})"
        return f"{annotations}: {lacks}; export boxes [x, y, width, height]"
    return f"{annotations}: annotations[0] has {first}; write numbers: [x, y, width, height]"
