"""The likely label errors as files: a ranked list, and a COCO file for a labelling tool."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from beam_preprocess.base.files import write_text
from trainer.coco.label_errors import KINDS, MIN_SUSPICION, Finding, image_suspicions

LIST, COCO = "label_errors.json", "label_errors.coco.json"
SCHEMA = 1
CHECK = "check"
"""Supercategory of the categories that suggest something."""


def write_label_files(
    folder: str, findings: Sequence[Finding], dataset: Mapping[str, Sequence[Mapping[str, Any]]], *, annotations: str
) -> None:
    """Writes LIST and COCO, also when nothing is suspicious: an old file would be about other labels.

    Args:
      folder: URI.
      findings: most suspicious first.
      dataset: what `metrics.read_coco` returned.
      annotations: URI of the annotation file.
    """
    names = _names(dataset)
    images = {image["id"]: image for image in dataset["images"]}
    ranked = image_suspicions(findings)
    content = {
        "schema_version": SCHEMA,
        "annotations": annotations,
        "min_suspicion": MIN_SUSPICION,
        "counts": {kind: sum(finding.kind == kind for finding in findings) for kind in KINDS},
        "images": [
            {
                "image_id": image,
                "file_name": images[image].get("file_name", ""),
                "suspicion": suspicion,
                "findings": sum(finding.image_id == image for finding in findings),
            }
            for image, suspicion in ranked.items()
        ],
        "findings": [_listed(finding, dataset, names, images) for finding in findings],
    }
    write_text(f"{folder}/{LIST}", json.dumps(content, indent=1) + "\n")
    write_text(f"{folder}/{COCO}", json.dumps(_coco(findings, dataset, names, ranked), indent=1) + "\n")


def _names(dataset: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[int, str]:
    return {category["id"]: str(category.get("name", category["id"])) for category in dataset["categories"]}


def _listed(
    finding: Finding,
    dataset: Mapping[str, Sequence[Mapping[str, Any]]],
    names: Mapping[int, str],
    images: Mapping[int, Mapping[str, Any]],
) -> dict[str, Any]:
    annotation = None if finding.annotation is None else dataset["annotations"][finding.annotation]
    return {
        "kind": finding.kind,
        "suspicion": finding.suspicion,
        "image_id": finding.image_id,
        "file_name": images[finding.image_id].get("file_name", ""),
        "annotation_id": None if annotation is None else annotation.get("id"),
        "category": None if finding.category_id is None else names[finding.category_id],
        "bbox": finding.bbox,
        "suggested_category": None if finding.suggested_category_id is None else names[finding.suggested_category_id],
        "suggested_bbox": finding.suggested_bbox,
        "score": finding.score,
    }


def _coco(
    findings: Sequence[Finding],
    dataset: Mapping[str, Sequence[Mapping[str, Any]]],
    names: Mapping[int, str],
    ranked: Mapping[int, float],
) -> dict[str, Any]:
    """The suspicious images with all their annotations, and each suggestion as one more annotation.

    A suggestion has a category of its own, such as "overlooked: disc", which every tool shows: accept it by renaming
    it, refuse it by deleting it. Labels as they are stay as they are.
    """
    suggested: dict[str, int] = {}
    first = 1 + max(names, default=0)
    kept = [entry for entry in dataset["annotations"] if entry.get("image_id") in ranked]
    ids = [entry.get("id") for entry in kept]
    numbered = all(type(number) is int for number in ids) and len({*ids}) == len(ids)
    annotations = [{**entry, "id": entry["id"] if numbered else i} for i, entry in enumerate(kept, start=1)]
    free = 1 + max((entry["id"] for entry in annotations), default=0)
    for finding in findings:
        named = finding.suggested_category_id if finding.suggested_category_id is not None else finding.category_id
        category = suggested.setdefault(f"{finding.kind}: {names[named or 0]}", first + len(suggested))
        box = finding.suggested_bbox or finding.bbox or [0.0] * 4
        annotations.append(
            {
                "id": free,
                "image_id": finding.image_id,
                "category_id": category,
                "bbox": [round(side, 2) for side in box],
                "area": round(box[2] * box[3], 2),
                "iscrowd": 0,
                "segmentation": [],
                "attributes": {"kind": finding.kind, "suspicion": finding.suspicion},
            }
        )
        free += 1
    images = {image["id"]: image for image in dataset["images"]}
    return {
        "images": [images[image] for image in ranked],
        "annotations": annotations,
        "categories": [
            *dataset["categories"],
            *({"id": i, "name": name, "supercategory": CHECK} for name, i in suggested.items()),
        ],
    }
