"""The twelve COCO numbers and per-class AP: pycocotools' COCOeval for boxes, over every image of the file.

What differs from calling COCOeval by hand is only what would crash or falsify it:

- predictions are copied (loadRes writes into its argument) and may be empty (loadRes raises IndexError);
- ground truth is renumbered from 1 in file order, because COCOeval reads a match with annotation id 0 as
  "no match" and merges annotations that share an id;
- `area` and `iscrowd`, which COCOeval needs and hand-made files leave out, default to width * height and 0;
- an annotation without four finite box numbers cannot be scored; it is left out and counted.
"""

import contextlib
import io
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from beam_preprocess.errors import InputError
from trainer.files import read_json

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


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassMetrics:
    """One category of the annotation file."""

    category_id: int
    name: str
    ap: float | None
    """Mean over the ten IoU thresholds, a fraction; None without ground truth."""
    ap50: float | None
    images: int
    """Images with at least one object (not crowd) of this class."""
    objects: int
    """Objects, crowd regions not counted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Metrics:
    """What `score` returns."""

    values: dict[str, float | None]
    """METRIC_NAMES to a fraction, or None where the file has no such ground truth (pycocotools' -1)."""
    per_class: tuple[ClassMetrics, ...]
    """By category id."""
    images_expected: int
    """Images of the annotation file."""
    images_scored: int
    """Different images among `image_ids`."""
    images_missing: tuple[int, ...]
    """Ids of the file that are not among `image_ids`, sorted."""
    images_repeated: int
    """Images that occur more than once in `image_ids`."""
    detections: int
    objects_unusable: int
    """Annotations left out because their box is not four finite numbers."""


def score(annotations: str, predictions: Sequence[Mapping[str, Any]], image_ids: Sequence[int]) -> Metrics:
    """Scores detections against a COCO annotation file, as pycocotools does.

    Every image of the file counts, also those that are not among `image_ids`: their objects are missed.

    Args:
      annotations: URI of the annotation file.
      predictions: COCO results format, [{image_id, category_id, bbox: [x, y, w, h] pixels, score}, …].
      image_ids: the images that went through the model, one entry per time.

    Raises:
      InputError: the file is not COCO, or a prediction names an unknown image or category, an image that is
        not among `image_ids`, or numbers that are not finite.
    """
    dataset = read_coco(annotations)
    known = [image["id"] for image in dataset["images"]]
    times = Counter(image_ids)
    unknown = sorted(set(times) - set(known))
    if unknown:
        raise InputError(f"{annotations}: has no image {unknown[0]}, which was scored; give the file of these images")
    categories = {category["id"] for category in dataset["categories"]}
    detections = [_detection(i, p, times, categories) for i, p in enumerate(predictions)]
    ground_truth, unusable = _ground_truth(dataset["annotations"])
    evaluator = _evaluate(dataset, ground_truth, detections)
    return Metrics(
        values={name: _present(value) for name, value in zip(METRIC_NAMES, evaluator.stats, strict=True)},
        per_class=_per_class(dataset, ground_truth, evaluator),
        images_expected=len(set(known)),
        images_scored=len(times),
        images_missing=tuple(sorted(set(known) - set(times))),
        images_repeated=sum(1 for count in times.values() if count > 1),
        detections=len(detections),
        objects_unusable=unusable,
    )


def read_coco(uri: str) -> dict[str, list[dict[str, Any]]]:
    """The `images`, `annotations` and `categories` of a COCO file.

    Raises:
      InputError: not readable, not COCO, or without images or categories.
    """
    fix = "give a COCO instances file (images, annotations, categories)"
    values = read_json(uri, fix)
    parts: dict[str, list[dict[str, Any]]] = {}
    for name in ("images", "annotations", "categories"):
        entries = values.get(name) if isinstance(values, dict) else None
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise InputError(f"{uri}: has no list {name!r}; {fix}")
        if not entries and name != "annotations":
            raise InputError(f"{uri}: its list {name!r} is empty; {fix}")
        parts[name] = entries
    for name in ("images", "categories"):
        wrong = [entry.get("id") for entry in parts[name] if type(entry.get("id")) is not int]
        if wrong:
            raise InputError(f"{uri}: {name}: id {wrong[0]!r} is not an integer; number them with integers")
    return parts


def _detection(
    position: int, prediction: Mapping[str, Any], images: Counter[int], categories: set[int]
) -> dict[str, Any]:
    where = f"prediction {position}"
    try:
        image, category = prediction["image_id"], prediction["category_id"]
        box, confidence = list(prediction["bbox"]), prediction["score"]
    except (KeyError, TypeError) as error:
        raise InputError(f"{where}: {prediction!r} lacks image_id, category_id, bbox or score; add it") from error
    if image not in images:
        raise InputError(f"{where}: image_id {image!r} is not among the scored images; score it or leave it out")
    if category not in categories:
        raise InputError(f"{where}: category_id {category!r} is not in the annotation file; use its category ids")
    if not usable_box(box) or not _finite(confidence):
        raise InputError(f"{where}: bbox {box!r}, score {confidence!r}: not all finite; the model's output is broken")
    if box[2] < 0 or box[3] < 0:
        raise InputError(f"{where}: bbox {box!r} has a negative side; boxes are [x, y, width, height]")
    # The fields that loadRes adds, without the polygon that it builds for each box.
    return {
        "id": position + 1,
        "image_id": image,
        "category_id": category,
        "bbox": box,
        "area": box[2] * box[3],
        "score": confidence,
        "iscrowd": 0,
    }


def _ground_truth(annotations: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], int]:
    """Copies that COCOeval may write into, and the number of those left out."""
    kept: list[dict[str, Any]] = []
    for annotation in annotations:
        box: Any = annotation.get("bbox")
        if not usable_box(box):
            continue
        area = annotation.get("area")
        kept.append(
            {
                "id": len(kept) + 1,
                "image_id": annotation.get("image_id"),
                "category_id": annotation.get("category_id"),
                "bbox": box,
                "area": area if _finite(area) else box[2] * box[3],
                "iscrowd": int(bool(annotation.get("iscrowd", 0))),
            }
        )
    return kept, len(annotations) - len(kept)


def _evaluate(
    dataset: dict[str, list[dict[str, Any]]], ground_truth: list[dict[str, Any]], detections: list[dict[str, Any]]
) -> Any:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        sides = []
        for annotations in (ground_truth, detections):
            side = COCO()
            side.dataset = {**dataset, "annotations": annotations}
            side.createIndex()
            sides.append(side)
        evaluator = COCOeval(*sides, iouType="bbox")
        evaluator.params.imgIds = sorted(sides[0].getImgIds())
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return evaluator


def _per_class(
    dataset: dict[str, list[dict[str, Any]]], ground_truth: list[dict[str, Any]], evaluator: Any
) -> tuple[ClassMetrics, ...]:
    images = {image["id"] for image in dataset["images"]}
    objects = [g for g in ground_truth if not g["iscrowd"] and g["image_id"] in images]
    count = Counter(g["category_id"] for g in objects)
    spread = Counter(category for _, category in {(g["image_id"], g["category_id"]) for g in objects})
    names = {category["id"]: str(category.get("name", category["id"])) for category in dataset["categories"]}
    # [threshold, recall, class, area range, detections per image]: all areas, 100 detections.
    precision = evaluator.eval["precision"][:, :, :, 0, -1]
    return tuple(
        ClassMetrics(
            category_id=int(category),
            name=names[category],
            ap=_mean(precision[:, :, k]),
            ap50=_mean(precision[0, :, k]),
            images=spread[category],
            objects=count[category],
        )
        for k, category in enumerate(evaluator.params.catIds)
    )


def _mean(precision: Any) -> float | None:
    present = precision[precision > -1]
    return float(present.mean()) if present.size else None


def _present(value: float) -> float | None:
    return None if value == -1 else float(value)


def usable_box(box: Any) -> bool:
    """Whether a COCO box is a list of four finite numbers."""
    return isinstance(box, list) and len(box) == 4 and all(_finite(side) for side in box)


def _finite(value: Any) -> bool:
    try:
        return not isinstance(value, bool | str) and math.isfinite(value)
    except TypeError:
        return False
