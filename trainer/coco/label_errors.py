"""Likely label errors: where confident detections and annotations disagree.

The ideas are those of ObjectLab (Tkachenko, Thyagarajan and Mueller, ICML workshop 2023), which cleanlab implements:
one suspicion per box, and the images ranked by their most suspicious box.

    overlooked     a confident detection where nothing is annotated
    swapped        a confident detection of another class on an annotated box
    badly placed   a confident detection of the same class that overlaps the annotated box too little
    spurious       an annotated box that no detection supports

A suspicion is a number from 0 to 1. It is measured against how this model behaves on this data set (`Habits`), because
a score of 0.4 is confident for one model and doubtful for another.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from beam_preprocess.format.annotations import CocoAnnotations, scorable
from trainer.coco.habits import Boxes, Habits, annotated, detected, overlaps

Kind = Literal["overlooked", "swapped", "badly placed", "spurious"]
KINDS: tuple[Kind, ...] = ("overlooked", "swapped", "badly placed", "spurious")

MIN_SUSPICION = 0.5
"""Less suspicious boxes are not listed: disagreement is then as likely the model's error as the label's."""
SAME_PLACE = 0.5
"""IoU from which a detection and a box mean the same object."""
TOUCHING = 0.1
"""IoU from which a detection can be about an annotated box at all."""
OWN_CLASS = 0.25
"""Advantage in IoU of a box of the detection's own class, when it overlaps several boxes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One likely label error."""

    kind: Kind
    suspicion: float
    image_id: int
    annotation: int | None
    """Position of the annotation in the file's list; None for an overlooked object."""
    category_id: int | None
    """As annotated; None for an overlooked object."""
    bbox: list[float] | None
    """As annotated, x, y, width, height; None for an overlooked object."""
    suggested_category_id: int | None
    """Class of the detection; None for a spurious box."""
    suggested_bbox: list[float] | None
    """Box of the detection; None for a spurious box."""
    score: float | None
    """Score of the detection; None for a spurious box."""


def label_errors(coco: CocoAnnotations, predictions: Sequence[Mapping[str, Any]]) -> tuple[Finding, ...]:
    """The likely label errors of a data set, most suspicious first. Each box and each detection is in one at most.

    Args:
      coco: the parsed annotation file.
      predictions: detections of the same images in COCO results format, with all scores that the model gives.

    Returns:
      The findings; empty if the model found no object at all, because then it can't judge labels.
    """
    pairs = _by_image(coco, predictions)
    habits = Habits.of(pairs)
    if habits is None:
        return ()
    findings = [
        finding for image, (truth, found) in pairs.items() for finding in _of_image(image, truth, found, habits)
    ]
    return tuple(sorted(findings, key=lambda f: (-f.suspicion, -(f.score or 0), f.image_id, f.annotation or -1)))


def image_suspicions(findings: Sequence[Finding]) -> dict[int, float]:
    """Image id to the suspicion of its most suspicious box, most suspicious first; equal ones by their sum."""
    values = defaultdict[int, list[float]](list)
    for finding in findings:
        values[finding.image_id].append(finding.suspicion)
    ranked = sorted(values.items(), key=lambda item: (-max(item[1]), -sum(item[1]), item[0]))
    return {image: max(suspicions) for image, suspicions in ranked}


def _by_image(coco: CocoAnnotations, predictions: Sequence[Mapping[str, Any]]) -> dict[int, tuple[Boxes, Boxes]]:
    """Image id to its annotated boxes and its detections. Boxes that can't be scored are left out, as in scoring."""
    images, categories = set(coco.image_ids.tolist()), {category for category, _ in coco.categories}
    rows, found = defaultdict[int, list[int]](list), defaultdict[int, list[tuple[int, Mapping[str, Any]]]](list)
    for row in np.flatnonzero(scorable(coco)).tolist():
        rows[int(coco.annotation_image_ids[row])].append(row)
    for position, entry in enumerate(predictions):
        if entry["image_id"] in images and entry["category_id"] in categories:
            found[entry["image_id"]].append((position, entry))
    return {
        image: (annotated(coco, np.array(rows.get(image, []), np.int64)), detected(found.get(image, [])))
        for image in sorted(images)
    }


def _of_image(image: int, truth: Boxes, found: Boxes, habits: Habits) -> Iterator[Finding]:
    """The findings of one image."""
    trust = habits.trust(found)
    crowds = truth.crowd
    iou = overlaps(found.box, truth.box)
    if crowds.any():
        same = found.category[:, None] == truth.category
        in_crowd = (overlaps(found.box, truth.box, of_first=True) >= SAME_PLACE) & same & crowds
        trust[in_crowd.any(axis=1)] = 0
        iou[:, crowds] = 0
    # A box of the detection's own class that it touches is probably what it is about.
    covered = np.where(found.category[:, None] == truth.category, np.minimum(1, iou / SAME_PLACE), iou)
    alone = 1 - covered.max(axis=1, initial=0)
    candidates: list[tuple[Kind, float, int | None, int | None]] = [
        *_at_annotations(truth, found, habits, trust, iou),
        *(("overlooked", trust[d] * alone[d], None, d) for d in range(len(trust))),
    ]
    taken, gone = np.zeros(len(truth.category), bool), np.zeros(len(trust), bool)
    for kind, suspicion, a, d in sorted(candidates, key=lambda c: -c[1]):
        if suspicion < MIN_SUSPICION:
            return
        if (a is not None and taken[a]) or (d is not None and gone[d]):
            continue
        if a is not None:
            taken[a] = True
        if d is not None:  # other detections of this place say the same thing again
            gone |= overlaps(found.box, found.box[d : d + 1])[:, 0] >= SAME_PLACE
            gone[d] = True
        yield Finding(
            kind=kind,
            suspicion=round(float(suspicion), 4),
            image_id=image,
            annotation=None if a is None else int(truth.position[a]),
            category_id=None if a is None else int(truth.category[a]),
            bbox=None if a is None else truth.box[a].tolist(),
            suggested_category_id=None if d is None else int(found.category[d]),
            suggested_bbox=None if d is None else found.box[d].tolist(),
            score=None if d is None else float(found.score[d]),
        )


def _at_annotations(
    truth: Boxes, found: Boxes, habits: Habits, trust: np.ndarray, iou: np.ndarray
) -> Iterator[tuple[Kind, float, int, int | None]]:
    """(kind, suspicion, annotation, detection) of swapped, badly placed and spurious boxes."""
    usual_iou, usual_recall = habits.iou(truth), habits.recall(truth)
    hint = habits.hint(found)
    # A detection is about the box that it overlaps most.
    same = found.category[:, None] == truth.category
    about = (
        np.argmax(np.where(iou >= TOUCHING, iou + OWN_CLASS * same, 0), axis=1)
        if iou.size
        else np.zeros(len(trust), int)
    )
    for a in np.flatnonzero(~truth.crowd).tolist():
        near = iou[:, a] >= TOUCHING
        placed = np.minimum(1.0, iou[:, a] / usual_iou[a])
        support = trust * placed
        own = near & same[:, a] & (about == a)
        other = near & ~same[:, a] & (about == a) & (iou[:, a] >= SAME_PLACE)
        yield "spurious", usual_recall[a] * (1 - (hint * placed)[near].max(initial=0)), a, None
        if own.any():
            d = int(np.argmax(np.where(own, support, -1)))
            # 0 for a box as well placed as usual, 1 for half that overlap.
            yield "badly placed", trust[d] * min(1.0, 2 * (1 - placed[d])), a, d
        if other.any():
            d = int(np.argmax(np.where(other, support, -1)))
            yield "swapped", trust[d] * (1 - support[near & same[:, a]].max(initial=0)), a, d
