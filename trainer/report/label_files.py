"""The likely label errors as files: a ranked list, and a COCO file for a labelling tool."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from beam_preprocess.base.files import write_text
from beam_preprocess.format.annotation_stream import entries
from beam_preprocess.format.annotations import CocoAnnotations
from trainer.coco.label_errors import KINDS, MIN_SUSPICION, Finding, image_suspicions

LIST, COCO = "label_errors.json", "label_errors.coco.json"
LABEL_ERRORS_SCHEMA = 1
CHECK = "check"
"""Supercategory of the categories that suggest something."""
Entry = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Labels:
    """What the annotation file has about the suspicious images, with every key: a labelling tool needs them all."""

    images: dict[int, Entry]
    """By id."""
    annotations: dict[int, Entry]
    """By position in the file."""
    categories: list[Entry]


def write_label_files(folder: str, findings: Sequence[Finding], coco: CocoAnnotations) -> None:
    """Writes LIST and COCO, also when nothing is suspicious: an old file would be about other labels.

    Args:
      folder: URI.
      findings: most suspicious first.
      coco: the annotation file that they are about. It is read again, for the keys that the parsed one lacks.
    """
    names, files = dict(coco.categories), dict(zip(coco.image_ids.tolist(), coco.file_names, strict=True))
    ranked = image_suspicions(findings)
    labels = _labels(coco.uri, ranked)
    content = {
        "schema_version": LABEL_ERRORS_SCHEMA,
        "annotations": coco.uri,
        "min_suspicion": MIN_SUSPICION,
        "counts": {kind: sum(finding.kind == kind for finding in findings) for kind in KINDS},
        "images": [
            {
                "image_id": image,
                "file_name": files[image],
                "suspicion": suspicion,
                "findings": sum(finding.image_id == image for finding in findings),
            }
            for image, suspicion in ranked.items()
        ],
        "findings": [_listed(finding, labels, names, files) for finding in findings],
    }
    write_text(f"{folder}/{LIST}", json.dumps(content, indent=1) + "\n")
    write_text(f"{folder}/{COCO}", json.dumps(_coco(findings, labels, names, ranked), indent=1) + "\n")


def _labels(uri: str, images: Mapping[int, float]) -> _Labels:
    labels, position = _Labels(images={}, annotations={}, categories=[]), 0
    for section, _, entry in entries(uri, None):
        if section == "categories":
            labels.categories.append(entry)
        elif section == "images":
            if entry["id"] in images:
                labels.images[entry["id"]] = entry
        else:
            if entry["image_id"] in images:
                labels.annotations[position] = entry
            position += 1
    return labels


def _listed(finding: Finding, labels: _Labels, names: Mapping[int, str], files: Mapping[int, str]) -> Entry:
    return {
        "kind": finding.kind,
        "suspicion": finding.suspicion,
        "image_id": finding.image_id,
        "file_name": files[finding.image_id],
        "annotation_id": None if finding.annotation is None else labels.annotations[finding.annotation].get("id"),
        "category": None if finding.category_id is None else names[finding.category_id],
        "bbox": finding.bbox,
        "suggested_category": None if finding.suggested_category_id is None else names[finding.suggested_category_id],
        "suggested_bbox": finding.suggested_bbox,
        "score": finding.score,
    }


def _coco(
    findings: Sequence[Finding], labels: _Labels, names: Mapping[int, str], ranked: Mapping[int, float]
) -> dict[str, Any]:
    """The suspicious images with all their annotations, and each suggestion as one more annotation.

    A suggestion has a category of its own, such as "overlooked: disc", which every tool shows: accept it by renaming
    it, refuse it by deleting it. Labels as they are stay as they are.
    """
    suggested: dict[str, int] = {}
    first = 1 + max(names, default=0)
    kept = list(labels.annotations.values())
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
    return {
        "images": [labels.images[image] for image in ranked],
        "annotations": annotations,
        "categories": [
            *labels.categories,
            *({"id": i, "name": name, "supercategory": CHECK} for name, i in suggested.items()),
        ],
    }
