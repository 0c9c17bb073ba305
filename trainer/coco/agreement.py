"""Which detections of two models on one image are the same."""

import numpy as np

MATCH_IOU = 0.5

Detections = dict[str, np.ndarray]
"""boxes float64 [N, 4] (ymin, xmin, ymax, xmax) in original pixels, scores float [N], categories int [N]."""


def match(one: Detections, other: Detections, threshold: float) -> tuple[list[tuple[int, int]], int]:
    """Pairs of detections, and the number of counting detections without a partner.

    The partner of a detection that counts need not count itself: near the threshold, a difference of a millionth
    decides on which side a score lies.

    Args:
      one: detections of an image, by descending score.
      other: the other side's.
      threshold: minimum score of a detection that counts; the best one always counts.
    """
    apart = np.abs(one["boxes"][:, None] - other["boxes"][None]).max(axis=2, initial=0.0)
    # A box without area has no overlap; within a pixel it is the same box.
    overlap = np.maximum(_iou(one["boxes"], other["boxes"]), 1 / (1 + apart))
    overlap[one["categories"][:, None] != other["categories"][None, :]] = -1.0
    counts = [(side["scores"] >= threshold) | (np.arange(len(side["scores"])) == 0) for side in (one, other)]
    wanted = np.argwhere((overlap >= MATCH_IOU) & (counts[0][:, None] | counts[1][None, :]))
    order = np.argsort([-overlap[i, j] for i, j in wanted], kind="stable")
    free = [np.ones(len(side["scores"]), bool) for side in (one, other)]
    pairs = []
    for i, j in wanted[order].tolist():
        if free[0][i] and free[1][j]:
            free[0][i] = free[1][j] = False
            pairs.append((i, j))
    return pairs, sum(int((left & count).sum()) for left, count in zip(free, counts, strict=True))


def _iou(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """[N, M] of boxes [N, 4] and [M, 4]; 0 where a box has no area."""
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum(one[:, None, 2:], other[None, :, 2:])
    common = np.clip(high - low, 0, None).prod(axis=2)
    areas = [np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(axis=1) for boxes in (one, other)]
    union = areas[0][:, None] + areas[1][None, :] - common
    return np.divide(common, union, out=np.zeros_like(common), where=union > 0)
