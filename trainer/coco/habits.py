"""How a model behaves on a data set: how often a score is right, how well it places boxes, what it usually finds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from beam_preprocess.format.annotations import CocoAnnotations
from trainer.coco.matching import AREA_RANGES
from trainer.coco.metrics import usable_box

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

FOUND = 0.5
"""IoU from which a detection found an object of its class."""
LOW_PLACEMENT = 0.1
"""Quantile of the IoU of found objects that counts as the usual placement: 9 of 10 are placed at least as well."""
PRIOR = 5
"""Objects of all classes that a class's own numbers are mixed with: a class with few objects follows the others."""
BIN = 10
"""Minimum number of detections per step of the trust curve."""
SIZES = len(AREA_RANGES) - 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Boxes:
    """Annotated boxes, or detections, of one image."""

    position: Ints
    """[N] in the list that they come from: the file's annotations, or the detections."""
    category: Ints
    """[N] id"""
    box: Floats
    """[N, 4] x, y, width, height."""
    score: Floats
    """[N] 1 for annotated boxes."""
    size: Ints
    """[N] 0 small, 1 medium, 2 large: by `area`."""
    crowd: Bools
    """[N]"""


def annotated(coco: CocoAnnotations, rows: Ints) -> Boxes:
    """Annotated boxes, given by their rows in the annotation file."""
    box, area = coco.bboxes[rows], coco.areas[rows]
    area = np.where(area > 0, area, box[:, 2] * box[:, 3])
    return Boxes(
        position=rows,
        category=coco.annotation_category_ids[rows],
        box=box,
        score=np.ones(len(rows)),
        size=_size(area),
        crowd=coco.crowd[rows],
    )


def detected(entries: Sequence[tuple[int, Mapping[str, Any]]]) -> Boxes:
    """Detections, given with their positions; those without a usable box are left out."""
    usable = [(position, entry) for position, entry in entries if usable_box(entry.get("bbox"))]
    box = np.array([entry["bbox"] for _, entry in usable], np.float64).reshape(-1, 4)
    return Boxes(
        position=np.array([position for position, _ in usable], np.int64),
        category=np.array([entry["category_id"] for _, entry in usable], np.int64),
        box=box,
        score=np.array([entry["score"] for _, entry in usable], np.float64),
        size=_size(box[:, 2] * box[:, 3]),
        crowd=np.zeros(len(usable), bool),
    )


def _size(area: Floats) -> Ints:
    return np.searchsorted(AREA_RANGES[1:-1, 1], area).astype(np.int64)


def overlaps(first: Floats, second: Floats, *, of_first: bool = False) -> Floats:
    """[N, M] IoU of two sets of boxes; with `of_first`, the share of the first box that the second one covers."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, :2] + first[:, None, 2:], second[None, :, :2] + second[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    areas = first[:, 2:].prod(axis=1)[:, None], second[:, 2:].prod(axis=1)[None, :]
    whole = areas[0] + np.zeros_like(shared) if of_first else areas[0] + areas[1] - shared
    return np.divide(shared, whole, out=np.zeros_like(shared), where=whole > 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Habits:
    """What `of` measured. Scores are relative to the class's usual score of a correct detection."""

    usual_scores: dict[int, float]
    """Class to the median score of correct detections."""
    usual_ious: dict[int, float]
    """Class to the overlap that 9 of 10 found objects reach."""
    recalls: dict[tuple[int, int], float]
    """(class, size) to the fraction of objects that a detection of at least half the usual score finds."""
    trust_scores: Floats
    """Relative scores, ascending."""
    trust_values: Floats
    """Fraction of the detections with such a score that are right, not falling."""

    @classmethod
    def of(cls, images: Mapping[int, tuple[Boxes, Boxes]]) -> "Habits | None":
        """The habits of a model, from each image's annotated boxes and detections. None if it found no object."""
        best = [_best_detections(truth, found) for truth, found in images.values()]
        objects = _Objects(
            category=np.concatenate([truth.category[~truth.crowd] for truth, _ in images.values()]),
            size=np.concatenate([truth.size[~truth.crowd] for truth, _ in images.values()]),
            score=np.concatenate([score for score, _, _ in best]),
            iou=np.concatenate([iou for _, iou, _ in best]),
        )
        found = objects.iou >= FOUND
        if not found.any():
            return None
        classes = sorted({int(c) for truth, found in images.values() for c in (*truth.category, *found.category)})
        scores = _by_class(classes, objects.category[found], objects.score[found], 0.5)
        usual = np.array([scores[int(c)] for c in objects.category])
        seen = found & (objects.score >= usual / 2)
        categories = np.concatenate([found.category for _, found in images.values()])
        relative = np.concatenate([found.score for _, found in images.values()])
        relative = relative / np.array([scores[int(c)] for c in categories])
        right = np.concatenate([right for _, _, right in best])
        steps, values = _rising(relative, right)
        return cls(
            usual_scores=scores,
            usual_ious=_by_class(classes, objects.category[found], objects.iou[found], LOW_PLACEMENT),
            recalls={(c, s): objects.recall(seen, c, s) for c in classes for s in range(SIZES)},
            trust_scores=steps,
            trust_values=values,
        )

    def trust(self, found: Boxes) -> Floats:
        """[N] how likely each detection is right, by its score."""
        return np.interp(self._relative(found), self.trust_scores, self.trust_values)

    def hint(self, found: Boxes) -> Floats:
        """[N] how much each detection says that a box at its place is not spurious.

        False detections rarely fall on a box by chance, so a weak one at the same place counts for more than its score.
        """
        return np.minimum(1.0, np.sqrt(self._relative(found)))

    def _relative(self, found: Boxes) -> Floats:
        return found.score / np.array([self.usual_scores[int(c)] for c in found.category], np.float64)

    def iou(self, truth: Boxes) -> Floats:
        """[N] the usual placement of each box's class."""
        return np.array([self.usual_ious[int(c)] for c in truth.category])

    def recall(self, truth: Boxes) -> Floats:
        """[N] how likely the model finds a box of this class and size."""
        return np.array([self.recalls[int(c), int(s)] for c, s in zip(truth.category, truth.size, strict=True)])


@dataclass(frozen=True, kw_only=True, slots=True)
class _Objects:
    """Every annotated box, with the score and the IoU of the best detection of its class."""

    category: Ints
    size: Ints
    score: Floats
    iou: Floats

    def recall(self, seen: Bools, category: int, size: int) -> float:
        of_size = self.size == size
        rate = seen[of_size].mean() if of_size.any() else seen.mean()
        rows = of_size & (self.category == category)
        return float((seen[rows].sum() + PRIOR * rate) / (rows.sum() + PRIOR))


def _best_detections(truth: Boxes, found: Boxes) -> tuple[Floats, Floats, Bools]:
    """Score and IoU of the best detection of each box that is not a crowd, and whether each detection found a box.

    The best one has the highest score of those that overlap enough; the others of the same box are not right.
    """
    counted = ~truth.crowd
    iou = overlaps(found.box, truth.box[counted])
    iou[found.category[:, None] != truth.category[counted]] = 0
    ranked = np.where(iou >= FOUND, found.score[:, None] + 1e-6 * iou, -1.0)
    right = np.zeros(len(found.score), bool)
    if not ranked.size:
        return np.zeros(int(counted.sum())), np.zeros(int(counted.sum())), right
    best, rows = ranked.argmax(axis=0), np.arange(int(counted.sum()))
    hit = ranked[best, rows] >= 0
    right[best[hit]] = True
    return np.where(hit, found.score[best], 0), np.where(hit, iou[best, rows], 0), right


def _by_class(classes: Sequence[int], category: Ints, values: Floats, quantile: float) -> dict[int, float]:
    """A quantile per class, with PRIOR copies of the quantile of all classes among its values."""
    whole = float(np.quantile(values, quantile))
    return {c: float(np.quantile(np.r_[values[category == c], [whole] * PRIOR], quantile)) for c in classes}


def _rising(score: Floats, right: Bools) -> tuple[Floats, Floats]:
    """Mean score and fraction right of bins over the score, merged until the fractions don't fall.

    This is isotonic regression by pooling adjacent violators.
    """
    order = np.argsort(score, kind="stable")
    parts = np.array_split(order, max(1, len(order) // BIN))
    pools: list[tuple[float, float, int]] = []  # mean score, fraction right, count
    for part in parts:
        pool = float(score[part].mean()), float(right[part].mean()), len(part)
        while pools and pools[-1][1] > pool[1]:
            before = pools.pop()
            total = before[2] + pool[2]
            pool = (
                (before[0] * before[2] + pool[0] * pool[2]) / total,
                (before[1] * before[2] + pool[1] * pool[2]) / total,
                total,
            )
        pools.append(pool)
    return np.array([p[0] for p in pools]), np.array([p[1] for p in pools])
