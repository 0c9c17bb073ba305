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

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from beam_preprocess.base.errors import InputError
from beam_preprocess.format.annotations import CocoAnnotations, load_annotations, scorable
from trainer.coco.accumulate import Curves, accumulate, images_with, mean
from trainer.coco.matching import Detections, Matches, Objects, match
from trainer.coco.overlaps import Bools, Ints
from trainer.coco.results import Results, from_entries

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
    annotations: str | CocoAnnotations, predictions: Results | Sequence[Mapping[str, Any]], image_ids: Sequence[int]
) -> Metrics:
    """The metrics of `score_arrays`."""
    return score_arrays(annotations, predictions, image_ids).metrics


def score_arrays(
    annotations: str | CocoAnnotations, predictions: Results | Sequence[Mapping[str, Any]], image_ids: Sequence[int]
) -> Scored:
    """Scores detections against a COCO annotation file, as pycocotools does.

    Every image of the file counts. The objects of images that are not in `image_ids` are missed.

    Args:
      annotations: the parsed annotation file, or its URI.
      predictions: columns, or COCO results format, [{image_id, category_id, bbox: [x, y, w, h] pixels, score}, …].
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
    results = predictions if isinstance(predictions, Results) else from_entries(predictions)
    matches = match(
        objects,
        _detections(results, times, images, categories),
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
    results: Results, scored: Mapping[int, int], images: tuple[int, ...], categories: tuple[int, ...]
) -> Detections:
    """Predictions as the rows that matching takes.

    Raises:
      InputError: see `score_arrays`; the message names the first wrong prediction.
    """
    image, known_image = _places(results.image_id, images)
    category, known_category = _places(results.category_id, categories)
    good = known_image & known_category & np.isin(images, list(scored))[image] & np.isfinite(results.score)
    for side in results.box.T:
        good &= np.isfinite(side)
    good &= (results.box[:, 2] >= 0) & (results.box[:, 3] >= 0)
    if not good.all():
        _refuse(int(np.argmin(good)), results, scored, categories)
    return Detections(image=image, category=category, box=results.box, score=results.score)


def _places(ids: Ints, known: tuple[int, ...]) -> tuple[Ints, Bools]:
    """[N] the place of each id among the known ones, which are sorted; [N] whether it is one of them."""
    place = np.minimum(np.searchsorted(known, ids), len(known) - 1)
    return place, np.array(known)[place] == ids


def _refuse(row: int, results: Results, images: Collection[int], categories: Collection[int]) -> NoReturn:
    (entry,) = results.where(np.array([row])).entries()
    where, box = f"prediction {row}", entry["bbox"]
    if entry["image_id"] not in images:
        raise InputError(
            f"{where}: image_id {entry['image_id']} is not one of the scored images; score it or leave it out"
        )
    if entry["category_id"] not in categories:
        raise InputError(
            f"{where}: category_id {entry['category_id']} is not in the annotation file; use its category ids"
        )
    if not usable_box(box) or not _finite(entry["score"]):
        raise InputError(f"{where}: bbox {box}, score {entry['score']}: not all finite; the model's output is broken")
    raise InputError(f"{where}: bbox {box} has a negative side; boxes are [x, y, width, height]")


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
