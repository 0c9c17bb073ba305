"""Precision and recall from matches: what COCOeval.accumulate and summarize compute, bit for bit.

The interpolated precision at a recall point is the highest precision at this or a higher recall. Precision rises only
where an object is found, so only the detections that matched anything need a look; the false ones between them are
only counted.
"""

from dataclasses import dataclass

import numpy as np

from trainer.coco.matching import (
    AREA_RANGES,
    EVERY_THRESHOLD,
    IOU_THRESHOLDS,
    MAX_DETECTIONS,
    RECALL_THRESHOLDS,
    Bools,
    Floats,
    Ints,
    Matches,
    unpack,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Curves:
    """COCOeval.eval: T thresholds, R recall points, K classes, A area ranges, M limits; -1 without ground truth."""

    precision: Floats
    """[T, R, K, A, M]"""
    recall: Floats
    """[T, K, A, M]"""
    scores: Floats
    """[T, R, K, A, M] score at which the recall point is reached."""

    @property
    def stats(self) -> list[float]:
        """The twelve numbers of COCOeval.summarize, in its order; -1 where there is no ground truth."""
        last = len(MAX_DETECTIONS) - 1
        precisions = [
            self.precision[:, :, :, 0, last],
            self.precision[0, :, :, 0, last],
            self.precision[5, :, :, 0, last],
        ]
        precisions += [self.precision[:, :, :, area, last] for area in (1, 2, 3)]
        recalls = [self.recall[:, :, 0, limit] for limit in range(last + 1)]
        recalls += [self.recall[:, :, area, last] for area in (1, 2, 3)]
        return [mean(values) for values in (*precisions, *recalls)]


def mean(values: Floats) -> float:
    """Mean of the entries above -1; -1 if there are none."""
    present = values[values > -1]
    return float(np.mean(present)) if present.size else -1.0


def accumulate(matches: Matches) -> Curves:
    """Curves of every class, area range and limit of detections."""
    shape = (len(IOU_THRESHOLDS), len(RECALL_THRESHOLDS), matches.categories, len(AREA_RANGES), len(MAX_DETECTIONS))
    precision, recall, scores = -np.ones(shape), -np.ones((shape[0], *shape[2:])), -np.ones(shape)
    order = matches.by_class
    ends = np.searchsorted(matches.category[order], np.arange(matches.categories + 1))
    counted = np.zeros((matches.categories, len(AREA_RANGES)), int)
    np.add.at(counted, matches.objects.category, ~matches.object_ignored)
    for k in range(matches.categories):
        rows = order[ends[k] : ends[k + 1]]
        curves = class_curves(
            matches.score[rows], matches.rank[rows], matches.true[rows], matches.ignored[rows], counted[k]
        )
        precision[:, :, k], recall[:, k], scores[:, :, k] = curves
    return Curves(precision=precision, recall=recall, scores=scores)


def class_curves(score: Floats, rank: Ints, true: Ints, ignored: Ints, counted: Ints) -> tuple[Floats, Floats, Floats]:
    """Precision [T, R, A, M], recall [T, A, M] and score [T, R, A, M] of one class; -1 without ground truth.

    Args:
      score: [N] descending.
      rank: [N] position in its image.
      true: [N] BITS, see `Matches`.
      ignored: [N] likewise.
      counted: [A] objects by area range.
    """
    shape = (len(IOU_THRESHOLDS), len(RECALL_THRESHOLDS), len(AREA_RANGES), len(MAX_DETECTIONS))
    precision, recall, scores = -np.ones(shape), -np.ones((shape[0], *shape[2:])), -np.ones(shape)
    for a in np.flatnonzero(counted).tolist():
        right, skipped = (bits >> len(IOU_THRESHOLDS) * a & EVERY_THRESHOLD for bits in (true, ignored))
        # The others are false at all thresholds, or ignored at all of them: they are only counted.
        looked_at = (right != 0) | (skipped != 0) & (skipped != EVERY_THRESHOLD)
        rows = np.flatnonzero(looked_at)
        found = unpack(right[rows], len(IOU_THRESHOLDS))
        wrong = ~(found | unpack(skipped[rows], len(IOU_THRESHOLDS)))
        false = (skipped == 0) & ~looked_at
        for m, limit in enumerate(MAX_DETECTIONS):
            kept = rank[rows] < limit
            fp = np.cumsum(false & (rank < limit))[rows[kept], None] + np.cumsum(wrong[kept], axis=0)
            precision[:, :, a, m], recall[:, a, m], scores[:, :, a, m] = _curve(
                found[kept], fp, score[rows[kept]], int(counted[a])
            )
            scores[:, 0, a, m] = score[0] if len(score) else 0
    return precision, recall, scores


def _curve(found: Bools, fp: Ints, score: Floats, objects: int) -> tuple[Floats, Floats, Floats]:
    """Precision [T, R], recall [T] and score [T, R].

    Args:
      found: [N, T] the detections that took an object at any threshold, and perhaps others, by descending score.
      fp: [N, T] false detections up to each.
      score: [N]
      objects: number of objects, at least 1.
    """
    precision, scores = np.zeros((2, len(IOU_THRESHOLDS), len(RECALL_THRESHOLDS)))
    if not len(found):
        return precision, np.zeros(len(IOU_THRESHOLDS)), scores
    tp = np.cumsum(found, axis=0).astype(float)
    envelope = np.maximum.accumulate((tp / (fp.astype(float) + tp + np.spacing(1)))[::-1], axis=0)[::-1]
    # How many objects must be found for each recall point, and the row where a threshold has found this many.
    needed = np.searchsorted(np.arange(objects + 1) / objects, RECALL_THRESHOLDS, side="left")
    threshold, row = np.nonzero(found.T)
    first = np.searchsorted(threshold, np.arange(len(IOU_THRESHOLDS) + 1))
    t, r = np.nonzero(needed <= np.diff(first)[:, None])
    at = np.where(needed[r] > 0, np.r_[row, 0][first[t] + needed[r] - 1], 0)
    precision[t, r] = envelope[at, t]
    scores[t, r] = score[at]
    return precision, tp[-1] / objects, scores
