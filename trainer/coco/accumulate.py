"""Precision and recall from matches: what COCOeval.accumulate and summarize compute, bit for bit.

The interpolated precision at a recall point is the highest precision at this or a higher recall. Precision rises only
where an object is found, so only the detections that matched anything need a look; the false ones between them are
only counted.
"""

from dataclasses import dataclass

import numpy as np

from trainer.coco.matching import (
    AREA_RANGES,
    IOU_THRESHOLDS,
    MAX_DETECTIONS,
    RECALL_THRESHOLDS,
    Bools,
    Floats,
    Ints,
    Matches,
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


def by_class_and_score(matches: Matches) -> Ints:
    """[D] rows of the detections by class, then by descending score; equal scores by image, then rank."""
    order = np.argsort(-matches.score, kind="stable")
    return order[np.argsort(matches.category[order], kind="stable")]


def accumulate(matches: Matches) -> Curves:
    """Curves of every class, area range and limit of detections."""
    shape = (len(IOU_THRESHOLDS), len(RECALL_THRESHOLDS), matches.categories, len(AREA_RANGES), len(MAX_DETECTIONS))
    precision, recall, scores = -np.ones(shape), -np.ones((shape[0], *shape[2:])), -np.ones(shape)
    order = by_class_and_score(matches)
    ends = np.searchsorted(matches.category[order], np.arange(matches.categories + 1))
    counted = np.zeros((matches.categories, len(AREA_RANGES)), int)
    np.add.at(counted, matches.objects.category, ~matches.object_ignored)
    for k in range(matches.categories):
        rows = order[ends[k] : ends[k + 1]]
        curves = class_curves(
            matches.score[rows], matches.rank[rows], matches.matched[rows], matches.ignored[rows], counted[k]
        )
        precision[:, :, k], recall[:, k], scores[:, :, k] = curves
    return Curves(precision=precision, recall=recall, scores=scores)


def class_curves(
    score: Floats, rank: Ints, matched: Bools, ignored: Bools, counted: Ints
) -> tuple[Floats, Floats, Floats]:
    """Precision [T, R, A, M], recall [T, A, M] and score [T, R, A, M] of one class; -1 without ground truth.

    Args:
      score: [N] descending.
      rank: [N] position in its image.
      matched: [N, A, T] see `Matches`.
      ignored: [N, A, T] likewise.
      counted: [A] objects by area range.
    """
    shape = (len(IOU_THRESHOLDS), len(RECALL_THRESHOLDS), len(AREA_RANGES), len(MAX_DETECTIONS))
    precision, recall, scores = -np.ones(shape), -np.ones((shape[0], *shape[2:])), -np.ones(shape)
    for a in np.flatnonzero(counted).tolist():
        for m, limit in enumerate(MAX_DETECTIONS):
            kept = rank < limit
            precision[:, :, a, m], recall[:, a, m], scores[:, :, a, m] = _curve(
                score[kept], matched[kept, a], ignored[kept, a], int(counted[a])
            )
    return precision, recall, scores


def _curve(score: Floats, matched: Bools, ignored: Bools, objects: int) -> tuple[Floats, Floats, Floats]:
    """Precision [T, R], recall [T] and score [T, R] of detections by descending score; matched, ignored: [N, T]."""
    thresholds = matched.shape[1]
    precision, scores = np.zeros((2, thresholds, len(RECALL_THRESHOLDS)))
    recall = np.zeros(thresholds)
    rows = np.flatnonzero(matched.any(axis=1))
    if len(score):
        scores[:, 0] = score[0]
    if not len(rows):
        return precision, recall, scores
    # A detection that matched at no threshold is false at all thresholds, or ignored at all of them.
    unmatched = ~ignored[:, 0]
    unmatched[rows] = False
    false = np.cumsum(unmatched)[rows, None] + np.cumsum(~matched[rows] & ~ignored[rows], axis=0)
    true = np.cumsum(matched[rows] & ~ignored[rows], axis=0)
    tp, fp = true.astype(float), false.astype(float)
    reached = tp / objects
    envelope = np.maximum.accumulate((tp / (fp + tp + np.spacing(1)))[::-1], axis=0)[::-1]
    recall[:] = reached[-1]
    for t in range(thresholds):
        at = np.searchsorted(reached[:, t], RECALL_THRESHOLDS, side="left")
        points = np.searchsorted(at, len(rows))  # `at` ascends: the points before are reached
        precision[t, :points] = envelope[at[:points], t]
        scores[t, 1:points] = score[rows[at[1:points]]]
    return precision, recall, scores
