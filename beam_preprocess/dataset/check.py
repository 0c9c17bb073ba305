"""Checks a data set before any long work: annotations, folders, images, digests. No Beam, no TensorFlow."""

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import numpy as np
from fsspec.implementations.local import LocalFileSystem

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.progress import Progress
from beam_preprocess.base.storage import file_system
from beam_preprocess.dataset.validate import (
    drop_missing,
    exceeded_limit,
    lost_boxes,
    validate_boxes,
    validate_images,
)
from beam_preprocess.format.annotations import CocoAnnotations, area_range, class_map, load_annotations, scorable
from beam_preprocess.format.config import PreprocessConfig
from beam_preprocess.format.images import ImageProblem, check_header, decode
from beam_preprocess.format.manifest import Category
from beam_preprocess.format.reasons import Action, Reason, Reject, count_by_reason
from beam_preprocess.format.scored_file import unscorable
from beam_preprocess.format.sources import data_digest, list_images

Depth = Literal["headers", "pixels"]

EXAMPLES = 3
"""Maximum number of rejects that the report lists per reason."""

_BATCH = 4096


def check_data(
    *,
    train_images: str,
    train_annotations: str,
    val_images: str,
    val_annotations: str,
    config: PreprocessConfig,
    num_workers: int = 1,
) -> dict[str, Any]:
    """Validates both splits and refuses data above a reject limit: the first step of a run.

    Reads every image's bytes for the digest. Training images: also the header, for format and size; in a bucket, only
    the listing. Preprocessing finds out whether they can be decoded. No stage before the export reads the validation
    images, so they are decoded here: one that can't be is refused before the training, not after it.

    Args:
      train_images: folder of training images, a path or URI.
      train_annotations: COCO annotation file, a path or URI.
      val_images: folder of validation images.
      val_annotations: COCO annotation file.
      config: the `preprocess:` section.
      num_workers: number of threads that decode.

    Returns:
      See `examine`.

    Raises:
      InputError: see `examine`; or a reject limit is exceeded (`validate.check_limits`).
    """
    sources = {"train": (train_images, train_annotations), "val": (val_images, val_annotations)}
    report = examine(sources, config, depth={"train": "headers", "val": "pixels"}, num_workers=num_workers)
    for split in sources:
        if report[split]["over_limit"]:
            raise InputError(report[split]["over_limit"])
    return report


def examine(
    sources: Mapping[str, tuple[str, str]],
    config: PreprocessConfig,
    *,
    depth: Depth | Mapping[str, Depth] = "pixels",
    num_workers: int = 1,
) -> dict[str, Any]:
    """Validates one split or both.

    Args:
      sources: (image folder, annotation file) by split: "train", "val" or both; paths or URIs.
      config: the `preprocess:` section.
      depth: of both splits, or by split: "pixels" decodes every image, as preprocessing does; "headers" does not, and
        in a bucket reads only the listing.
      num_workers: number of threads that decode.

    Returns:
      {"categories": [{"index", "id", "name"}], "num_classes": int}, and for each split a mapping of image_folder,
      annotations, images, boxes, objects and crowds (train: those that the records will hold; val: those that are
      scored), data_digest, depth (what was read: "listing", "headers" or "pixels"), rejects (by reason), examples (by
      reason), over_limit (a message if a reject limit is exceeded or a validation annotation cannot be scored, or
      null), class_histogram, size_histogram.

    Raises:
      InputError: a missing or malformed file, no image in common between folder and annotations, categories that
        differ between the splits, or no usable box for training.
    """
    parsed = {split: load_annotations(annotations) for split, (_, annotations) in sources.items()}
    first = next(iter(parsed.values()))
    categories, num_classes = class_map(first.categories, config.class_index)
    for other in list(parsed.values())[1:]:
        class_map(other.categories, config.class_index)
        _check_categories(first, other, config)
    report: dict[str, Any] = {
        "categories": [{"index": c.index, "id": c.id, "name": c.name} for c in categories],
        "num_classes": num_classes,
    }
    for split, coco in parsed.items():
        to = depth if isinstance(depth, str) else depth[split]
        report[split] = check_split(split, sources[split][0], coco, categories, config, to, num_workers)
    return report


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
    depth: Depth = "headers",
    num_workers: int = 1,
) -> dict[str, Any]:
    """One split of `examine`."""
    keep_images, rejects = validate_images(coco)
    names = [name for name, keep in zip(coco.file_names, keep_images, strict=True) if keep]
    files = list_images(images, names, coco.uri)
    keep_images, missing = drop_missing(coco, keep_images, files, images)
    rejects += missing
    checker = _ImageChecker(images, coco, depth)
    found = _check_images(checker, np.flatnonzero(keep_images).tolist(), f"checking {split} images", num_workers)
    rejects += [reject for _, reject in found]
    keep_boxes, boxes, box_rejects = validate_boxes(coco, keep_images, config.min_box_side)
    rejects += box_rejects
    keep_images[[i for i, reject in found if reject.reason.action is Action.DROPPED]] = False
    # The boxes of an unreadable image are dropped with it, after they were validated, as preprocessing does it.
    keep_boxes &= np.isin(coco.annotation_image_ids, coco.image_ids[keep_images])
    counts = count_by_reason(rejects)
    over_limit = exceeded_limit(
        split,
        images=len(coco.image_ids),
        boxes=len(coco.annotation_ids),
        rejects=counts,
        max_fraction=config.max_reject_fraction,
        where=f"first: {_first_dropped(rejects)}",
    )
    used = keep_boxes
    if split == "val":
        # What is scored, not what the records hold: the gate compares this number with the evaluation's.
        used = scorable(coco)
        over_limit = "; ".join(filter(None, (over_limit, unscorable(coco)))) or None
    objects = used & ~coco.crowd
    if split == "train" and not objects.any() and not over_limit:  # whose message gives the reason
        raise InputError(f"{coco.uri}: no usable box for training; annotate objects, or give another file")
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
        "crowds": int((used & coco.crowd).sum()),
        "data_digest": data_digest(coco.content_digest, names, files),
        "depth": checker.depth,
        "rejects": counts,
        "examples": _examples(rejects),
        "over_limit": over_limit,
        "class_histogram": dict(class_histogram),
        "size_histogram": {name: of_size[name] for name in ("small", "medium", "large")},
    }


class _ImageChecker:
    """Checks one image per call."""

    def __init__(self, images: str, coco: CocoAnnotations, depth: str) -> None:
        self._fs, self._root = file_system(images)
        self._coco = coco
        self._boxes_of = Counter(coco.annotation_image_ids.tolist())
        local = isinstance(self._fs, LocalFileSystem)
        self.depth = depth if local or depth == "pixels" else "listing"
        """Headers are only read from local files. In a bucket, they would cost one request per image."""

    def __call__(self, i: int) -> list[tuple[int, Reject]]:
        """The rejects of image i, each with i."""
        return [(i, reject) for reject in self._rejects(i)]

    def _rejects(self, i: int) -> list[Reject]:
        name = self._coco.file_names[i]
        height, width = self._coco.image_sizes[i].tolist()
        path = f"{self._root.rstrip('/')}/{name}"
        try:
            if self.depth == "pixels":
                found = decode(self._fs.cat_file(path), (height, width))
                return [self._reject(i, reason, detail) for reason, detail in found.conversions]
            if self.depth == "headers":
                with open(path, "rb") as file:
                    check_header(file, (height, width))
        except ImageProblem as problem:
            return [self._dropped(i, problem.reason, problem.detail)]
        except FileNotFoundError:
            return [self._dropped(i, Reason.MISSING_IMAGE, "removed after the folder was listed")]
        except PermissionError as error:
            return [self._dropped(i, Reason.UNREADABLE_IMAGE, str(error.strerror))]
        return []

    def _dropped(self, i: int, reason: Reason, detail: str) -> Reject:
        return self._reject(i, reason, detail + lost_boxes(self._boxes_of[int(self._coco.image_ids[i])]))

    def _reject(self, i: int, reason: Reason, detail: str) -> Reject:
        image_id, name = int(self._coco.image_ids[i]), self._coco.file_names[i]
        return Reject(reason=reason, image_id=image_id, file_name=name, detail=detail)


def _check_images(
    checker: _ImageChecker, indices: Sequence[int], label: str, num_workers: int
) -> list[tuple[int, Reject]]:
    """(position, reject) of these images, in their order, with progress lines."""
    progress = Progress(label, total=len(indices), unit="images")
    rejects: list[tuple[int, Reject]] = []
    with ThreadPoolExecutor(num_workers) as threads:
        for start in range(0, len(indices), _BATCH):  # in batches, because `map` submits all its input at once
            batch = indices[start : start + _BATCH]
            for done, found in enumerate(threads.map(checker, batch), start=start + 1):
                rejects.extend(found)
                progress.update(done, f"{len(rejects)} rejects so far")
    return rejects


def _first_dropped(rejects: Sequence[Reject]) -> str:
    return next((str(reject) for reject in rejects if reject.reason.action is Action.DROPPED), "none")


def _examples(rejects: Sequence[Reject]) -> dict[str, list[str]]:
    examples: dict[str, list[str]] = {}
    for reject in rejects:
        of_reason = examples.setdefault(reject.reason.value, [])
        if len(of_reason) < EXAMPLES:
            of_reason.append(str(reject))
    return examples
