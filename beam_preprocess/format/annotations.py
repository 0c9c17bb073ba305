"""Reads COCO annotation files into arrays: the only reader of such files. No Beam, no TensorFlow.

Checking, preprocessing, evaluation, parity and the report all read through `load_annotations`, so that they agree on
what a file says. `scorable` is the one rule for what counts as ground truth.

Parsing a 400 MB file of polygons takes a few hundred megabytes of memory, because it keeps only the fields that
detection needs (ids, file names, sizes, categories, boxes, areas, crowd flags), in flat arrays. A file that is plain to
its end is read in batches; any other is read once more, entry by entry.
"""

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from beam_preprocess.base.errors import InputError
from beam_preprocess.format.annotation_columns import Columns, as_array, numbered
from beam_preprocess.format.annotation_stream import entries
from beam_preprocess.format.manifest import Category
from beam_preprocess.format.plain_lists import NotPlain, plain_lists

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
    digest = hashlib.sha256()
    columns = Columns()
    try:
        for section, plain in plain_lists(uri, digest):
            columns.extend(section, plain)
    except NotPlain:  # only this way knows what else is allowed, and what to say
        digest = hashlib.sha256()
        columns = Columns()
        for section, where, entry in entries(uri, digest):
            columns.add(section, where, entry)
    columns.check(uri)
    return CocoAnnotations(
        uri=uri,
        content_digest=digest.hexdigest(),
        image_ids=as_array(columns.image_ids),
        file_names=columns.file_names,
        image_sizes=as_array(columns.image_sizes).reshape(-1, 2),
        annotation_ids=numbered(as_array(columns.ann_ids), columns.without_id),
        annotation_image_ids=as_array(columns.ann_images),
        annotation_category_ids=as_array(columns.ann_categories),
        bboxes=as_array(columns.bboxes).reshape(-1, 4),
        bbox_lengths=as_array(columns.lengths),
        areas=as_array(columns.areas),
        crowd=as_array(columns.crowd).astype(bool),
        categories=tuple(columns.categories),
        odd_boxes=columns.odd_boxes,
    )


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
