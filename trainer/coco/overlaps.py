"""Which boxes overlap, and how much: pairs of detections and objects of the same group, as arrays.

A group is an image and class, or an image. IoU is pycocotools' expression, operation by operation, in the same float64:
equal bit for bit, except where a compiler fuses its multiplication and subtraction (no x86-64 wheel does).
"""

import itertools
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

CHUNK = 100_000
"""Number of pairs that are looked at together: their columns fit into a core's cache."""


def overlapping(
    *, group: Ints, box: Floats, object_group: Ints, object_box: Floats, crowd: Bools, threshold: float
) -> tuple[Ints, Ints, Floats]:
    """Pairs of the same group with at least this IoU, which is above 0.

    Args:
      group: [D] of the detections, ascending.
      box: [D, 4] x, y, width, height.
      object_group: [G] in any order.
      object_box: [G, 4]
      crowd: [G]
      threshold: smallest IoU.

    Returns:
      [P] detection, [P] object and [P] IoU, ordered by detection, then object.
    """
    found = [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))]
    for detection, which in _pairs(group, object_group):
        overlap = iou(box[detection], object_box[which], crowd[which])
        kept = np.flatnonzero(overlap >= threshold)
        found.append((detection[kept], which[kept], overlap[kept]))
    detection, which, overlap = (np.concatenate(column) for column in zip(*found, strict=True))
    order = np.lexsort((which, detection))
    return detection[order], which[order], overlap[order]


def _pairs(group: Ints, object_group: Ints) -> Iterator[tuple[Ints, Ints]]:
    """All pairs (detection, object) of the same group, in pieces of about CHUNK."""
    objects = np.argsort(object_group, kind="stable")
    first, last = (np.searchsorted(group, object_group[objects], side=side) for side in ("left", "right"))
    objects, first, count = objects[last > first], first[last > first], (last - first)[last > first]
    before = np.cumsum(count) - count
    bounds = np.append(np.flatnonzero(np.diff(before // CHUNK, prepend=-1)), len(objects))
    for low, high in itertools.pairwise(bounds.tolist()):
        counts = count[low:high]
        offset = np.repeat(first[low:high] - (before[low:high] - before[low]), counts)
        yield offset + np.arange(len(offset)), np.repeat(objects[low:high], counts)


def iou(box: Floats, object_box: Floats, crowd: Bools) -> Floats:
    """[P] of two boxes each; for a crowd, the share of the detection's box that it covers."""
    x, y, width, height = box.T
    object_x, object_y, object_width, object_height = object_box.T
    shared_width = np.minimum(width + x, object_width + object_x) - np.maximum(x, object_x)
    shared_height = np.minimum(height + y, object_height + object_y) - np.maximum(y, object_y)
    shared, area = shared_width * shared_height, width * height
    whole = np.where(crowd, area, area + object_width * object_height - shared)
    meet = (shared_width > 0) & (shared_height > 0)
    return np.divide(shared, whole, out=np.zeros_like(shared), where=meet)
