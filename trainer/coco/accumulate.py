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


def images_with(image: Ints, category: Ints, classes: int) -> Ints:
    """[K] number of images with objects of each class, from the image and class of each object."""
    pairs = np.sort(image * classes + category)
    distinct = pairs[np.diff(pairs, prepend=-1) > 0]  # np.unique would import numpy.ma
    return np.bincount(distinct % max(classes, 1), minlength=classes)


def accumulate(matches: Matches) -> Curves:
    """Curves of every class, area range and limit of detections."""
    order = matches.by_class
    return curves(
        category=matches.category[order],
        score=matches.score[order],
        rank=matches.rank[order],
        true=matches.true[order],
        ignored=matches.ignored[order],
        counted=objects_by_class(matches.objects.category, ~matches.object_ignored, matches.categories),
    )


def objects_by_class(category: Ints, counts: Bools, classes: int) -> Ints:
    """[K, A] number of objects, from the class of each [G] and whether it counts in each area range [G, A]."""
    return np.stack([np.bincount(category[counts_here], minlength=classes) for counts_here in counts.T], axis=1)


def curves(*, category: Ints, score: Floats, rank: Ints, true: Ints, ignored: Ints, counted: Ints) -> Curves:
    """Curves of detections by class, then descending score.

    Args:
      category: [D] ascending.
      score: [D]
      rank: [D] position in the image and class.
      true: [D] BITS, see `Matches`.
      ignored: [D] likewise.
      counted: [K, A] objects by class and area range.
    """
    thresholds, classes = len(IOU_THRESHOLDS), np.arange(len(counted))
    shape = (thresholds, len(RECALL_THRESHOLDS), len(counted), len(AREA_RANGES), len(MAX_DETECTIONS))
    precision, recall, scores = np.zeros(shape), np.zeros((shape[0], *shape[2:])), np.zeros(shape)
    start = np.searchsorted(category, classes)
    highest = np.where(np.isin(classes, category), np.append(score, 0)[start], 0)
    for a, objects in enumerate(counted.T):
        right, skipped = (bits >> thresholds * a & EVERY_THRESHOLD for bits in (true, ignored))
        # The others are false at all thresholds, or ignored at all of them: they are only counted.
        looked_at = (right != 0) | (skipped != 0) & (skipped != EVERY_THRESHOLD)
        false = (skipped == 0) & ~looked_at
        rows = np.flatnonzero(looked_at)
        found, wrong = (unpack(bits[rows], thresholds).T for bits in (right, ~(right | skipped)))
        needed = objects_needed(objects)
        for m, limit in enumerate(MAX_DETECTIONS):
            kept = np.flatnonzero(rank[rows] < limit)
            place, of_class = rows[kept], category[rows[kept]]
            counted_only = _before(false & (rank < limit))
            precision[:, :, :, a, m], count, scores[:, :, :, a, m] = _curves(
                category=of_class,
                score=score[place],
                found=found[:, kept],
                wrong=wrong[:, kept],
                others=counted_only[place] - counted_only[start[of_class]],
                needed=needed,
            )
            recall[:, :, a, m] = count / np.maximum(objects, 1)
            scores[:, 0, :, a, m] = highest
    absent = counted == 0
    precision[:, :, absent], recall[:, absent], scores[:, :, absent] = -1, -1, -1
    return Curves(precision=precision, recall=recall, scores=scores)


def objects_needed(objects: Ints) -> Ints:
    """[K, R] how many of [K] objects must be found for each recall point: found / objects >= point, in floats."""
    share = objects[:, None] * RECALL_THRESHOLDS
    below = np.floor(share)
    return (below + (below / np.maximum(objects, 1)[:, None] < RECALL_THRESHOLDS)).astype(np.int64)


def _before(marked: Bools) -> Ints:
    """[..., N + 1] how many are marked before each position of [..., N]."""
    count = np.zeros((*marked.shape[:-1], marked.shape[-1] + 1), np.int32)
    np.cumsum(marked, axis=-1, out=count[..., 1:])
    return count


def _curves(
    *, category: Ints, score: Floats, found: Bools, wrong: Bools, others: Ints, needed: Ints
) -> tuple[Floats, Ints, Floats]:
    """Precision [T, R, K], number of found objects [T, K] and score [T, R, K].

    Args:
      category: [N] of the detections that took an object at any threshold, and perhaps others: by class, then score.
      score: [N]
      found: [T, N] took an object.
      wrong: [T, N] false.
      others: [N] false detections of the class before each one that are not among these.
      needed: [K, R]
    """
    thresholds, classes = len(found), len(needed)
    threshold, at = np.nonzero(found)
    run = threshold * classes + category[at]
    first = np.searchsorted(run, np.arange(thresholds * classes + 1))
    tp = np.arange(1, len(run) + 1) - first[run]
    false, start = _before(wrong), np.searchsorted(category, np.arange(classes))
    fp = others[at] + false[threshold, at] - false[threshold, start[category[at]]]
    precision = tp / (fp + tp + np.spacing(1))
    count = np.diff(first).reshape(thresholds, classes)
    reached = (needed <= count[..., None]) & (count[..., None] > 0)  # [T, K, R]
    entry = (first[:-1].reshape(thresholds, classes, 1) + np.maximum(needed - 1, 0))[reached]
    highest, scores = np.zeros((2, *reached.shape))
    # From one recall point to the next; then from each to the last.
    highest[reached] = np.maximum.reduceat(precision, entry)
    scores[reached] = score[at[entry]]
    envelope = np.maximum.accumulate(highest[..., ::-1], axis=-1)[..., ::-1]
    return envelope.swapaxes(1, 2), count, scores.swapaxes(1, 2)
