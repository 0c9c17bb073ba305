"""The twelve COCO metrics and per-class AP for boxes, over every image of the file: exactly pycocotools' numbers.

trainer.coco.matching matches, equal to COCOeval's arrays bit for bit and many times faster. The differences from a
direct call of COCOeval concern only what would crash it or falsify its result:

- predictions are not modified (loadRes does) and may be empty (loadRes raises IndexError);
- annotation ids are not used: COCOeval reads a match with annotation id 0 as "no match" and merges annotations that
  share an id;
- `area` and `iscrowd`, which COCOeval needs and hand-made files leave out, default to width * height and 0;
- an annotation without four finite box numbers, or of an image or category that is not in the file, cannot be scored;
  it is left out and counted (`annotations.scorable`). Evaluation refuses such a file (`format.scored_file`).
"""

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from beam_preprocess.base.errors import InputError
from beam_preprocess.format.annotations import CocoAnnotations, load_annotations, scorable
from trainer.coco.accumulate import Curves, accumulate, images_with, mean
from trainer.coco.matching import Detections, Matches, Objects, match

METRIC_NAMES = (
    "ap",
    "ap50",
    "ap75",
    "ap_small",
    "ap_medium",
    "ap_large",
    "ar_1",
    "ar_10",
    "ar_100",
    "ar_small",
    "ar_medium",
    "ar_large",
)
"""In the order of COCOeval.stats."""

SIZES = ("small", "medium", "large")
"""COCO's sizes: up to 32², up to 96², and more square pixels of the annotation's `area`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassMetrics:
    """One category of the annotation file."""

    category_id: int
    name: str
    ap: float | None
    """Mean over the ten IoU thresholds, a fraction; None without ground truth."""
    ap50: float | None
    images: int
    """Images with at least one object of this class, without crowd regions."""
    objects: int
    """Objects without crowd regions."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Metrics:
    """What `score` returns."""

    values: dict[str, float | None]
    """METRIC_NAMES to a fraction, or None if the file has no such ground truth (-1 in pycocotools)."""
    per_class: tuple[ClassMetrics, ...]
    """Sorted by category id."""
    images_expected: int
    """Images of the annotation file."""
    images_scored: int
    """Distinct images in `image_ids`."""
    images_missing: tuple[int, ...]
    """Ids of the file that are not in `image_ids`, sorted."""
    images_repeated: int
    """Images that occur more than once in `image_ids`."""
    detections: int
    objects: int
    """Objects scored, without crowd regions: the number that the data check counts, too."""
    crowds: int
    """Crowd regions: a detection inside one counts neither for nor against the model."""
    objects_unusable: int
    """Annotations left out: their box is not four finite numbers, or the file has no such image or category."""
    objects_by_size: dict[str, int]
    """SIZES to objects without crowd regions; an area exactly on a border counts on both sides, as in COCO."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scored:
    """The metrics and the arrays that they come from."""

    metrics: Metrics
    matches: Matches
    curves: Curves
    image_ids: tuple[int, ...]
    """Sorted; the order of the arrays."""
    file_order: tuple[int, ...]
    """The same ids in the annotation file's order."""
    name_order: tuple[int, ...]
    """Rank of each image by file name, whatever its id: the same for every file that describes these images."""
    category_ids: tuple[int, ...]
    """Sorted; the order of the arrays."""


def score(
    annotations: str | CocoAnnotations, predictions: Sequence[Mapping[str, Any]], image_ids: Sequence[int]
) -> Metrics:
    """The metrics of `score_arrays`."""
    return score_arrays(annotations, predictions, image_ids).metrics


def score_arrays(
    annotations: str | CocoAnnotations, predictions: Sequence[Mapping[str, Any]], image_ids: Sequence[int]
) -> Scored:
    """Scores detections against a COCO annotation file, as pycocotools does.

    Every image of the file counts. The objects of images that are not in `image_ids` are missed.

    Args:
      annotations: the parsed annotation file, or its URI.
      predictions: COCO results format, [{image_id, category_id, bbox: [x, y, w, h] pixels, score}, …].
      image_ids: the images that went through the model, one entry for each time.

    Raises:
      InputError: the file is not COCO, or a prediction has an unknown image or category, an image that is not in
        `image_ids`, or a number that is not finite.
    """
    coco = load_annotations(annotations) if isinstance(annotations, str) else annotations
    known = tuple(dict.fromkeys(coco.image_ids.tolist()))
    times = Counter(image_ids)
    unknown = sorted(set(times) - set(known))
    if unknown:
        raise InputError(f"{coco.uri}: has no image {unknown[0]}, which was scored; give the file of these images")
    images = tuple(sorted(known))
    names = dict(coco.categories)
    categories = tuple(sorted(names))
    counted = scorable(coco)
    objects = _objects(coco, counted, images, categories)
    matches = match(
        objects,
        _detections(predictions, times, images, categories),
        images=len(images),
        categories=len(categories),
    )
    curves = accumulate(matches)
    metrics = Metrics(
        values={name: _present(value) for name, value in zip(METRIC_NAMES, curves.stats, strict=True)},
        per_class=_per_class(names, matches, curves),
        images_expected=len(images),
        images_scored=len(times),
        images_missing=tuple(sorted(set(images) - set(times))),
        images_repeated=sum(1 for count in times.values() if count > 1),
        detections=len(predictions),
        objects=int(np.count_nonzero(~objects.crowd)),
        crowds=int(np.count_nonzero(objects.crowd)),
        objects_unusable=int(np.count_nonzero(~counted)),
        objects_by_size={
            size: int(np.count_nonzero(~matches.object_ignored[:, 1 + i])) for i, size in enumerate(SIZES)
        },
    )
    return Scored(
        metrics=metrics,
        matches=matches,
        curves=curves,
        image_ids=images,
        file_order=known,
        name_order=_name_order(coco, images),
        category_ids=categories,
    )


def _name_order(coco: CocoAnnotations, images: tuple[int, ...]) -> tuple[int, ...]:
    """Ranks of the image ids by file name; by id where names are equal."""
    names = dict(zip(coco.image_ids.tolist(), coco.file_names, strict=True))
    ranked = {image: rank for rank, image in enumerate(sorted(images, key=lambda image: (names[image], image)))}
    return tuple(ranked[image] for image in images)


def _detections(
    predictions: Sequence[Mapping[str, Any]],
    scored: Mapping[int, int],
    images: tuple[int, ...],
    categories: tuple[int, ...],
) -> Detections:
    """Predictions as columns, checked.

    Raises:
      InputError: see `score_arrays`; the message names the first wrong prediction.
    """
    where_image = {image: i for i, image in enumerate(images) if image in scored}
    where_category = {category: k for k, category in enumerate(categories)}
    try:
        image = np.array([where_image[p["image_id"]] for p in predictions], np.int64)
        category = np.array([where_category[p["category_id"]] for p in predictions], np.int64)
        boxes = [p["bbox"] for p in predictions]
        sides = list(itertools.chain.from_iterable(boxes))
        box = np.array(sides).reshape(len(predictions), 4)
        confidence = np.array([p["score"] for p in predictions])
        numbers = not len(predictions) or (box.dtype.kind in "iuf" and confidence.dtype.kind in "iuf")
        if (
            numbers
            and set(map(len, boxes)) <= {4}
            and np.isfinite(box).all()
            and np.isfinite(confidence).all()
            and (box[:, 2:] >= 0).all()
        ):
            return Detections(image=image, category=category, box=box.astype(float), score=confidence.astype(float))
    except (KeyError, TypeError, ValueError):
        pass  # find the wrong one below
    for position, prediction in enumerate(predictions):
        _check_prediction(position, prediction, where_image, where_category)
    raise InputError("predictions: not rows of image_id, category_id, bbox and score; the model's output is broken")


def _check_prediction(
    position: int, prediction: Mapping[str, Any], images: Mapping[int, int], categories: Mapping[int, int]
) -> None:
    where = f"prediction {position}"
    try:
        image, category = prediction["image_id"], prediction["category_id"]
        box, confidence = list(prediction["bbox"]), prediction["score"]
    except (KeyError, TypeError) as error:
        raise InputError(f"{where}: {prediction!r} lacks image_id, category_id, bbox or score; add it") from error
    if image not in images:
        raise InputError(f"{where}: image_id {image!r} is not one of the scored images; score it or leave it out")
    if category not in categories:
        raise InputError(f"{where}: category_id {category!r} is not in the annotation file; use its category ids")
    if not usable_box(box) or not _finite(confidence):
        raise InputError(f"{where}: bbox {box!r}, score {confidence!r}: not all finite; the model's output is broken")
    if box[2] < 0 or box[3] < 0:
        raise InputError(f"{where}: bbox {box!r} has a negative side; boxes are [x, y, width, height]")


def _objects(
    coco: CocoAnnotations, counted: np.ndarray, images: tuple[int, ...], categories: tuple[int, ...]
) -> Objects:
    """The annotations that are counted, as the rows that matching takes."""
    boxes, areas = coco.bboxes[counted], coco.areas[counted]
    return Objects(
        image=np.searchsorted(images, coco.annotation_image_ids[counted]),
        category=np.searchsorted(categories, coco.annotation_category_ids[counted]),
        box=boxes,
        area=np.where(np.isnan(areas), boxes[:, 2] * boxes[:, 3], areas),
        crowd=coco.crowd[counted],
    )


def _per_class(names: Mapping[int, str], matches: Matches, curves: Curves) -> tuple[ClassMetrics, ...]:
    categories = sorted(names)
    image, category = (column[~matches.objects.crowd] for column in (matches.objects.image, matches.objects.category))
    count = np.bincount(category, minlength=len(categories))
    images = images_with(image, category, len(categories))
    # All areas, 100 detections.
    precision = curves.precision[:, :, :, 0, -1]
    return tuple(
        ClassMetrics(
            category_id=category,
            name=names[category],
            ap=_present(mean(precision[:, :, k])),
            ap50=_present(mean(precision[0, :, k])),
            images=int(images[k]),
            objects=int(count[k]),
        )
        for k, category in enumerate(categories)
    )


def _present(value: float) -> float | None:
    return None if value == -1 else float(value)


def usable_box(box: Any) -> bool:
    """Whether the box of a detection is a list of four finite numbers."""
    return isinstance(box, list) and len(box) == 4 and all(_finite(side) for side in box)


def _finite(value: Any) -> bool:
    try:
        return not isinstance(value, bool | str) and math.isfinite(value)
    except TypeError:
        return False
