"""`to_label.json`: the images to label first with the champion's detections as a COCO file, for a labelling tool."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from beam_preprocess.base.files import write_text
from trainer.profile.profile import Profile
from trainer.profile.rows import Rows
from trainer.registry.named import NamedModel
from trainer.saved_model.thresholds import Thresholds, thresholds_of
from trainer.scoring.results import ScoredImage, read_results
from trainer.watch.result import Statistic
from trainer.watch.worth import Picked, pick

NAME = "to_label.json"
TO_LABEL_SCHEMA = 1
COUNT = 50
"""Maximum number of images, unless the caller says another."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ToLabel:
    """What was picked."""

    picked: Picked
    images: tuple[ScoredImage, ...]
    """In the order of the picks; only with the detections that reach their class's threshold and have an area."""
    without_area: int
    """Detections that reach it and have none, such as at an image's edge: no tool takes them."""

    @property
    def line(self) -> str:
        """The result in words."""
        objects = sum(len(image.detections) for image in self.images)
        reasons = [reason for entry in self.picked.picks for reason in entry.reasons]
        counts = ", ".join(f"{reasons.count(reason)} {reason}" for reason in dict.fromkeys(sorted(reasons)))
        return f"{len(self.images)} images with {objects} detections ({counts})"


def write_to_label(
    output: str,
    *,
    profile: Profile,
    rows: Rows,
    statistics: Sequence[Statistic],
    scores: str,
    model: NamedModel,
    images: str,
    count: int,
    seed: int,
) -> ToLabel:
    """Picks images and writes the file.

    Args:
      output: its URI.
      profile: the champion's.
      rows: statistics of the new images.
      statistics: their comparison with the profile's.
      scores: URI of the folder with their detections.
      model: the champion.
      images: the folder that the file's names are relative to.
      count: how many to pick.
      seed: of the part that is looked at if there are too many images.
    """
    thresholds = thresholds_of(model.folder, {"score_threshold": profile.measures.threshold}, None)
    picked = pick(profile, rows, read_results(scores), thresholds, count, statistics=statistics, seed=seed)
    found = _shown(read_results(scores), picked, thresholds)
    info = {
        "description": "Images to label first, with a model's detections; see docs/watch.md",
        "schema_version": TO_LABEL_SCHEMA,
        "model": model.version or model.folder,
        "model_digest": profile.model_digest,
        "images": images,
        "candidates": picked.candidates,
        "near_duplicates": picked.near_duplicates,
        "detections_without_area": found.without_area,
        "score_threshold": thresholds.default,
        "score_thresholds": {str(category): value for category, value in thresholds.classes.items()},
    }
    categories = [{"id": entry.id, "name": entry.name, "supercategory": ""} for entry in profile.measures.classes]
    content = {"info": info, "licenses": [], "categories": categories, **_entries(found)}
    write_text(output, json.dumps(content, indent=1, allow_nan=False) + "\n")
    return found


def _shown(images: Iterable[ScoredImage], picked: Picked, thresholds: Thresholds) -> ToLabel:
    wanted = {entry.image_id for entry in picked.picks}
    found, without_area = {}, 0
    for image in images:
        if image.id in wanted:
            scores = np.array([detection["score"] for detection in image.detections], np.float64)
            shown = thresholds.shown(scores, np.array([detection["category_id"] for detection in image.detections]))
            reached = [image.detections[i] for i in np.flatnonzero(shown).tolist()]
            kept = tuple(detection for detection in reached if min(rounded(detection["bbox"])[2:]) > 0)
            without_area += len(reached) - len(kept)
            found[image.id] = replace(image, detections=kept)
    return ToLabel(
        picked=picked, images=tuple(found[entry.image_id] for entry in picked.picks), without_area=without_area
    )


def rounded(box: Sequence[float]) -> list[float]:
    """A box as the file has it."""
    return [round(side, 2) for side in box]


def _entries(found: ToLabel) -> dict[str, Sequence[dict[str, Any]]]:
    images = [
        {
            "id": image.id,
            "file_name": image.file_name,
            "width": image.width,
            "height": image.height,
            "attributes": {
                "reasons": list(entry.reasons),
                "value": entry.value,
                "doubt": entry.doubt,
                "doubtful_detections": entry.doubtful,
                "novelty": entry.novelty,
                "distance": entry.distance,
                "rare_classes": list(entry.rare),
                "rarity": entry.rarity,
                "rarity_in": entry.statistic,
            },
        }
        for image, entry in zip(found.images, found.picked.picks, strict=True)
    ]
    boxes = [(image.id, detection) for image in found.images for detection in image.detections]
    annotations = [
        {
            "id": number,
            "image_id": image,
            "category_id": detection["category_id"],
            "bbox": rounded(detection["bbox"]),
            "area": round(detection["bbox"][2] * detection["bbox"][3], 2),
            "iscrowd": 0,
            "segmentation": [],
            "score": round(detection["score"], 4),
        }
        for number, (image, detection) in enumerate(boxes, start=1)
    ]
    return {"images": images, "annotations": annotations}
