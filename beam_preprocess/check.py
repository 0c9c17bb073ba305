"""Checks a data set before any long work: annotations, folders, image headers, digests. No Beam, no TensorFlow."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import fsspec
import numpy as np
from fsspec.implementations.local import LocalFileSystem

from beam_preprocess.annotations import CocoAnnotations, class_map, load_annotations
from beam_preprocess.config import PreprocessConfig
from beam_preprocess.errors import InputError
from beam_preprocess.images import ImageProblem, check_header
from beam_preprocess.manifest import Category
from beam_preprocess.progress import Progress
from beam_preprocess.shards import area_range
from beam_preprocess.sources import SourceFile, data_digest, list_images
from beam_preprocess.validate import (
    Reason,
    Reject,
    check_limits,
    count_by_reason,
    lost_boxes,
    validate_boxes,
    validate_images,
)

EXAMPLES = 3
"""Rejects of each reason that the report spells out."""


def check_data(
    *,
    train_images: str,
    train_annotations: str,
    val_images: str,
    val_annotations: str,
    config: PreprocessConfig,
) -> dict[str, Any]:
    """Validates both splits without decoding pixels.

    Every image's bytes are read for the digest and its header for format and size; whether its pixels decode is
    for the preprocessing to find. In a bucket only the listing is read.

    Args:
      train_images: image folder, a path or URI.
      train_annotations: COCO annotation file, a path or URI.
      val_images: likewise.
      val_annotations: likewise.
      config: the `preprocess:` section.

    Returns:
      {"categories": [{"index", "id", "name"}], "num_classes": int, "train": split, "val": split}, where split has
      image_folder, annotations, images, objects, crowds, boxes, data_digest, headers_read, rejects (by reason),
      examples (by reason), class_histogram and size_histogram.

    Raises:
      InputError: a missing or malformed file, no image in common between folder and annotations, categories that
        differ between the splits, or a reject limit passed (`validate.check_limits`).
    """
    train, val = load_annotations(train_annotations), load_annotations(val_annotations)
    categories, num_classes = class_map(train.categories, config.class_index)
    class_map(val.categories, config.class_index)
    _check_categories(train, val, config)
    return {
        "categories": [{"index": c.index, "id": c.id, "name": c.name} for c in categories],
        "num_classes": num_classes,
        "train": check_split("train", train_images, train, categories, config),
        "val": check_split("val", val_images, val, categories, config),
    }


def _check_categories(train: CocoAnnotations, val: CocoAnnotations, config: PreprocessConfig) -> None:
    known, wanted = dict(train.categories), dict(val.categories)
    unknown = sorted(set(wanted) - set(known))
    if unknown:
        raise InputError(
            f"{val.uri}: the category ids {unknown} are not in {train.uri}; give both files the same categories"
        )
    missing = sorted(set(known) - set(wanted))
    if missing and config.class_index == "rank":
        # Class indices are ranks within a file: with fewer categories they would mean other classes.
        raise InputError(
            f"{val.uri}: lacks the category ids {missing} of {train.uri}; give both files the same categories"
        )
    for category_id, name in sorted(wanted.items()):
        if known[category_id] != name:
            raise InputError(
                f"{val.uri}: category {category_id} is {name!r}, but {known[category_id]!r} in {train.uri}; "
                "give both files the same categories"
            )


def check_split(
    split: str,
    images: str,
    coco: CocoAnnotations,
    categories: Sequence[Category],
    config: PreprocessConfig,
) -> dict[str, Any]:
    keep_images, rejects = validate_images(coco)
    names = [name for name, keep in zip(coco.file_names, keep_images, strict=True) if keep]
    files = list_images(images, names, coco.uri)
    header_rejects, headers_read = _check_headers(split, images, coco, keep_images, files)
    rejects += header_rejects
    keep_boxes, boxes, box_rejects = validate_boxes(coco, keep_images, config.min_box_side)
    rejects += box_rejects
    counts = count_by_reason(rejects)
    check_limits(
        split,
        images=len(coco.image_ids),
        boxes=len(coco.annotation_ids),
        rejects=counts,
        max_fraction=config.max_reject_fraction,
        where=f"first: {_first_dropped(rejects)}",
    )
    objects = keep_boxes & ~coco.crowd
    if split == "train" and not objects.any():
        raise InputError(f"{coco.uri}: no usable box for training; annotate objects, or name another file")
    of_class = Counter(coco.annotation_category_ids[objects].tolist())
    of_size = Counter(area_range(box) for box in boxes[objects].tolist())
    class_histogram: Counter[str] = Counter()
    for category in categories:
        class_histogram[category.name] += of_class[category.id]
    return {
        "image_folder": images,
        "annotations": coco.uri,
        "images": len(coco.image_ids),
        "boxes": len(coco.annotation_ids),
        "objects": int(objects.sum()),
        "crowds": int((keep_boxes & coco.crowd).sum()),
        "data_digest": data_digest(coco.content_digest, names, files),
        "headers_read": headers_read,
        "rejects": counts,
        "examples": _examples(rejects),
        "class_histogram": dict(class_histogram),
        "size_histogram": {name: of_size[name] for name in ("small", "medium", "large")},
    }


def _check_headers(
    split: str, images: str, coco: CocoAnnotations, keep: np.ndarray, files: Mapping[str, SourceFile]
) -> tuple[list[Reject], bool]:
    """(rejects, whether headers were read: in a bucket that would cost a request an image)."""
    fs, root = fsspec.core.url_to_fs(images)
    local = isinstance(fs, LocalFileSystem)
    boxes_of = Counter(coco.annotation_image_ids.tolist())
    progress = Progress(f"checking {split} image headers", total=int(keep.sum()), unit="images")
    rejects: list[Reject] = []
    for done, i in enumerate(np.flatnonzero(keep).tolist(), start=1):
        name, image_id = coco.file_names[i], int(coco.image_ids[i])
        height, width = coco.image_sizes[i].tolist()
        problem: tuple[Reason, str] | None = None
        if name not in files:
            problem = Reason.MISSING_IMAGE, f"not in {images}"
        elif local:
            try:
                with open(os.path.join(root, name), "rb") as file:
                    check_header(file, (height, width))
            except ImageProblem as error:
                problem = error.reason, error.detail
        if problem:
            detail = problem[1] + lost_boxes(boxes_of[image_id])
            rejects.append(Reject(reason=problem[0], image_id=image_id, file_name=name, detail=detail))
        progress.update(done, f"{len(rejects)} rejects so far")
    return rejects, local


def _first_dropped(rejects: Sequence[Reject]) -> str:
    dropped = [reject for reject in rejects if reject.reason.action.value == "dropped"]
    return _sentence(dropped[0]) if dropped else "none"


def _examples(rejects: Sequence[Reject]) -> dict[str, list[str]]:
    examples: dict[str, list[str]] = {}
    for reject in rejects:
        of_reason = examples.setdefault(reject.reason.value, [])
        if len(of_reason) < EXAMPLES:
            of_reason.append(_sentence(reject))
    return examples


def _sentence(reject: Reject) -> str:
    what = f"image {reject.image_id}" + (f" ({reject.file_name})" if reject.file_name else "")
    annotation = "" if reject.annotation_id is None else f", annotation {reject.annotation_id}"
    return f"{what}{annotation}: {reject.detail}"
