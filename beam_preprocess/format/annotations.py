"""Reads COCO annotation files into arrays: the only reader of such files. No Beam, no TensorFlow.

Checking, preprocessing, evaluation, parity and the report all read through `load_annotations`, so that they agree on
what a file says. `scorable` is the one rule for what counts as ground truth.

Parsing a 400 MB file of polygons takes a few hundred megabytes of memory, because it keeps only the fields that
detection needs (ids, file names, sizes, categories, boxes, areas, crowd flags), in flat arrays.
"""

import hashlib
import itertools
import math
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.json import shown
from beam_preprocess.format.annotation_stream import Where, entries
from beam_preprocess.format.manifest import Category
from beam_preprocess.format.reasons import Reason, UnusableFile

SHOWN_BOXES = 100
"""Maximum number of unusual boxes whose text is kept for messages."""

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
    """int64 [A]. An entry without an id gets one that no other entry has; nothing but messages needs them."""
    annotation_image_ids: np.ndarray
    """int64 [A]."""
    annotation_category_ids: np.ndarray
    """int64 [A]."""
    bboxes: np.ndarray
    """float64 [A, 4]: COCO's [x, y, width, height]. NaN stands for NaN and for infinities."""
    bbox_lengths: np.ndarray
    """int64 [A]: number of entries of the bbox in the file, -1 if it is not a list of numbers. Unless it is 4, bboxes
    has zeros."""
    areas: np.ndarray
    """float64 [A]: COCO's `area`. NaN where it is absent or not a finite number."""
    crowd: np.ndarray
    """bool [A]."""
    categories: tuple[tuple[int, str], ...]
    """(id, name), in file order."""
    odd_boxes: Mapping[int, str] = field(default_factory=dict)
    """Rows to what the file has as bbox where that is not four numbers; the first SHOWN_BOXES rows."""


def load_annotations(uri: str) -> CocoAnnotations:
    """Parses a COCO annotation file.

    Args:
      uri: local path or fsspec URI.

    Raises:
      InputError: the file is missing or cannot be opened.
      UnusableFile: an InputError with a reason: empty, not JSON, truncated, a missing section, not in COCO's format, no
        image, no category, or no box in any annotation. The message names the entry, the key and the value.
    """
    image_ids, image_sizes, file_names = array("q"), array("q"), []
    ann_ids, ann_images, ann_categories, lengths = array("q"), array("q"), array("q"), array("q")
    bboxes, areas, crowd = array("d"), array("d"), array("b")
    odd_boxes: dict[int, str] = {}
    first_keys: list[str] = []
    without_id: list[int] = []
    categories: list[tuple[int, str]] = []
    digest = hashlib.sha256()

    for section, where, entry in entries(uri, digest):
        if section == "annotations":
            row = len(ann_ids)
            if not row:
                first_keys = list(entry)
            if entry.get("id") is None:
                without_id.append(row)
            ann_ids.append(0 if entry.get("id") is None else _integer(where, entry, "id"))
            ann_images.append(_integer(where, entry, "image_id"))
            ann_categories.append(_integer(where, entry, "category_id"))
            length, bbox = _bbox(entry.get("bbox"))
            if length != 4 and len(odd_boxes) < SHOWN_BOXES:
                odd_boxes[row] = _shown_box(entry)
            lengths.append(length)
            bboxes.extend(bbox)
            areas.append(_number(entry.get("area")))
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
    if len(lengths) and max(lengths) < 0:
        raise UnusableFile(Reason.MALFORMED_FILE, _no_boxes(uri, len(lengths), odd_boxes[0], first_keys))
    return CocoAnnotations(
        uri=uri,
        content_digest=digest.hexdigest(),
        image_ids=_values(image_ids, np.int64),
        file_names=file_names,
        image_sizes=_values(image_sizes, np.int64).reshape(-1, 2),
        annotation_ids=_numbered(_values(ann_ids, np.int64), without_id),
        annotation_image_ids=_values(ann_images, np.int64),
        annotation_category_ids=_values(ann_categories, np.int64),
        bboxes=_values(bboxes, np.float64).reshape(-1, 4),
        bbox_lengths=_values(lengths, np.int64),
        areas=_values(areas, np.float64),
        crowd=_values(crowd, np.int8).astype(bool),
        categories=tuple(categories),
        odd_boxes=odd_boxes,
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
      InputError: an id appears twice, has more than 32 bits, or is below 1 with "id-minus-1".
    """
    ordered = sorted(categories)
    ids = [category_id for category_id, _ in ordered]
    repeated = sorted({a for a, b in itertools.pairwise(ids) if a == b})
    if repeated:
        raise InputError(f"categories: the ids {repeated} appear more than once; give each category its own id")
    for category_id in (ids[0], ids[-1]):
        if not -(1 << 31) <= category_id < 1 << 31:
            raise InputError(
                f"categories: the id {category_id} has more than 32 bits, and the exported model returns ids of 32; "
                "number the categories from 1"
            )
    if mode == "rank":
        return tuple(Category(index=i, id=c, name=name) for i, (c, name) in enumerate(ordered)), len(ordered)
    if ids[0] < 1:
        raise InputError(f"categories: id {ids[0]} has no class with class_index 'id-minus-1'; use 'rank'")
    return tuple(Category(index=c - 1, id=c, name=name) for c, name in ordered), ids[-1]


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


def _numbered(ids: np.ndarray, without: Sequence[int]) -> np.ndarray:
    """The ids, in which the rows `without` an id get new ones."""
    if not without:
        return ids
    taken = set(ids.tolist())
    free = (number for number in itertools.count(1) if number not in taken)
    ids = ids.copy()
    ids[list(without)] = list(itertools.islice(free, len(without)))
    return ids


def _no_boxes(uri: str, count: int, first: str, keys: Sequence[str]) -> str:
    """The message for a file in which no annotation has a list of numbers as its box."""
    annotations = f"{uri}: none of the {count} annotations has a box of four numbers"
    if first == "no bbox":
        lacks = f"annotations[0] lacks 'bbox' (its keys are {_listed(keys)})"
        return f"{annotations}: {lacks}; export boxes [x, y, width, height]"
    return f"{annotations}: annotations[0] has {first}; write numbers: [x, y, width, height]"


def scorable(coco: CocoAnnotations) -> np.ndarray:
    """bool [A]: what pycocotools counts as ground truth, crowd regions included.

    That is a box of four finite numbers, of an image and a category that are in the file. A box with a side of zero or
    less, or outside its image, counts too.
    """
    category_ids = np.array([category_id for category_id, _ in coco.categories], np.int64)
    return (
        (coco.bbox_lengths == 4)
        & np.isfinite(coco.bboxes).all(axis=1)
        & np.isin(coco.annotation_image_ids, coco.image_ids)
        & np.isin(coco.annotation_category_ids, category_ids)
    )


def of_images(coco: CocoAnnotations, rows: Sequence[int]) -> CocoAnnotations:
    """The part of a file that concerns the images of these rows."""
    ids = coco.image_ids[list(rows)]
    own = np.isin(coco.annotation_image_ids, ids)
    columns = ("annotation_ids", "annotation_image_ids", "annotation_category_ids", "bboxes", "bbox_lengths")
    return replace(
        coco,
        image_ids=ids,
        image_sizes=coco.image_sizes[list(rows)],
        file_names=[coco.file_names[row] for row in rows],
        odd_boxes={},
        **{name: getattr(coco, name)[own] for name in (*columns, "areas", "crowd")},
    )


def area_range(box: Sequence[float]) -> str:
    """COCO's area range of a box in original pixels: small, medium or large."""
    area = (box[2] - box[0]) * (box[3] - box[1])
    return next(name for limit, name in SIZE_RANGES if area < limit)
