"""Precision, recall and F1 against the score threshold, and the threshold with the highest F1.

Detections are matched at IoU 0.5, as COCO does: by descending score, so a threshold only cuts off the end of the list
and changes no match above it.
"""

import numpy as np
import numpy.typing as npt

from trainer.coco.analysis import THRESHOLD_POINTS, OperatingPoint, ThresholdCurve

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

DECIMALS = 4
"""Rounding of the curves, which are only drawn; the best threshold is exact."""


def threshold_curve(score: Floats, right: Bools, objects: int) -> ThresholdCurve:
    """The curve of one class, or of all classes with one common threshold.

    Args:
      score: [D] of the detections that are right or wrong, in any order.
      right: [D] whether each found an object.
      objects: number of objects to find.
    """
    order = np.argsort(-score, kind="stable")
    score, found = score[order], np.concatenate([[0], np.cumsum(right[order])])
    # How many detections reach each of the thresholds 0.00, 0.01, …, 1.00.
    kept = np.searchsorted(-score, -np.linspace(0, 1, THRESHOLD_POINTS), side="right")
    true = found[kept]
    return ThresholdCurve(
        objects=objects,
        precision=[round(int(t) / int(n), DECIMALS) if n else None for t, n in zip(true, kept, strict=True)],
        recall=[round(int(t) / objects, DECIMALS) if objects else None for t in true],
        f1=[round(_f1(int(t), int(n), objects), DECIMALS) for t, n in zip(true, kept, strict=True)],
        best=_best(score, found, objects),
    )


def _best(score: Floats, found: npt.NDArray[np.int64], objects: int) -> OperatingPoint | None:
    """The highest F1 over all distinct scores; of equal ones, the higher score. None if nothing was found."""
    if not objects or not found[-1]:
        return None
    # Detections of one score pass a threshold together: only the last of each counts.
    ends = np.flatnonzero(np.r_[score[1:] != score[:-1], True]) + 1
    f1 = 2 * found[ends] / (ends + objects)  # equal fractions give equal numbers, so ties are exact
    kept = int(ends[np.argmax(f1)])
    true = int(found[kept])
    return OperatingPoint(
        score=float(score[kept - 1]),
        precision=true / kept,
        recall=true / objects,
        f1=_f1(true, kept, objects),
    )


def _f1(true: int, detections: int, objects: int) -> float:
    """Harmonic mean of precision and recall; 0 without detections and objects."""
    return 2 * true / (detections + objects) if detections + objects else 0.0
