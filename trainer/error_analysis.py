"""Where AP is lost: every detection at or above a score threshold gets one name, and every object it misses is counted.

At IoU 0.5, as COCO matches (Hoiem et al., Diagnosing Error in Object Detectors, ECCV 2012; the order of the questions
is TIDE's, Bolya et al., ECCV 2020):

    correct        took an object of its class
    duplicate      overlaps an object of its class by 0.5 or more, but a detection of higher score has it
    confused       overlaps an object of another class by 0.5 or more
    mislocalised   overlaps an object of its class by 0.1 to 0.5
    background     none of these
    missed         objects that no detection took

Detections that took a crowd region, or overlap a crowd of their class by 0.5 or more, are neither right nor wrong.

The confusion matrix takes each object and each detection at most once: correct ones are its diagonal; of the others,
detections take by falling score the free object of another class that they overlap most, by 0.5 or more; what is left
stands in the last column (missed) and the last row (background).
"""

import numpy as np
import numpy.typing as npt

from trainer.analysis import (
    ERROR_NAMES,
    Analysis,
    CalibrationBin,
    ClassCurve,
    Confusion,
    Curve,
    ImageCounts,
    PrecisionRecall,
)
from trainer.coco_accumulate import Curves
from trainer.coco_matching import RECALL_THRESHOLDS, Floats, Ints, Matches
from trainer.coco_metrics import Scored

SCORE_THRESHOLD = 0.3
IOU_THRESHOLD = 0.5
BINS = 10

Bools = npt.NDArray[np.bool_]


def analyse(scored: Scored, score_threshold: float = SCORE_THRESHOLD) -> Analysis:
    """The analysis of one scored set of detections.

    Args:
      scored: result of `coco_metrics.score_arrays`.
      score_threshold: detections below it are left out of errors, confusion and image counts.
    """
    matches = scored.matches
    shown = matches.score >= score_threshold
    right = matches.matched[:, 0, 0] & ~matches.ignored[:, 0, 0]
    names = _names(matches, right, shown)
    found = np.zeros(len(matches.objects.image), bool)
    found[matches.taken[right & shown]] = True
    missed = ~matches.object_ignored[:, 0] & ~found
    errors = {name: int(np.count_nonzero(names == name)) for name in ERROR_NAMES}
    return Analysis(
        score_threshold=score_threshold,
        iou_threshold=IOU_THRESHOLD,
        precision_recall=_precision_recall(scored.curves),
        per_class=tuple(
            ClassCurve(category_id=entry.category_id, name=entry.name, precision50=_curve(scored.curves, k))
            for k, entry in enumerate(scored.metrics.per_class)
        ),
        errors={**errors, "missed": int(missed.sum())},
        confusion=_confusion(scored, names, right & shown, missed),
        calibration=_calibration(matches, right),
        images=_images(scored, names, missed),
    )


def _names(matches: Matches, right: Bools, shown: Bools) -> npt.NDArray[np.str_]:
    """[D] the name of every detection; "" for those that are not shown or neither right nor wrong."""
    detection, which, iou = matches.pair_detection, matches.pair_object, matches.pair_iou
    same = matches.category[detection] == matches.objects.category[which]
    crowd = matches.objects.crowd[which]

    def any_pair(pairs: Bools) -> Bools:
        marked = np.zeros(len(right), bool)
        marked[detection[pairs]] = True
        return marked

    overlaps = iou >= IOU_THRESHOLD
    in_crowd = any_pair(same & overlaps & crowd) | matches.ignored[:, 0, 0]
    questions = [
        (~shown, ""),
        (right, "correct"),
        (in_crowd, ""),
        (any_pair(same & overlaps & ~crowd), "duplicate"),
        (any_pair(~same & overlaps & ~crowd), "confused"),
        (any_pair(same & ~overlaps & ~crowd), "mislocalised"),
    ]
    conditions, answers = zip(*questions, strict=True)
    return np.select(conditions, answers, default="background")


def _confusion(scored: Scored, names: npt.NDArray[np.str_], right: Bools, missed: Bools) -> Confusion:
    matches = scored.matches
    count = len(scored.category_ids)
    matrix = np.zeros((count + 1, count + 1), int)
    of_object = matches.objects.category
    np.add.at(matrix, (of_object[matches.taken[right]], matches.category[right]), 1)
    free = missed.copy()
    alone = np.isin(names, ("duplicate", "confused", "mislocalised", "background"))
    pairs = np.flatnonzero(
        alone[matches.pair_detection]
        & free[matches.pair_object]
        & (matches.pair_iou >= IOU_THRESHOLD)
        & (matches.category[matches.pair_detection] != of_object[matches.pair_object])
    )
    order = np.lexsort((-matches.pair_iou[pairs], -matches.score[matches.pair_detection[pairs]]))
    for pair in pairs[order].tolist():
        detection, which = matches.pair_detection[pair], matches.pair_object[pair]
        if alone[detection] and free[which]:
            alone[detection] = free[which] = False
            matrix[of_object[which], matches.category[detection]] += 1
    matrix[:count, count] = np.bincount(of_object[free], minlength=count)
    matrix[count, :count] = np.bincount(matches.category[alone], minlength=count)
    return Confusion(classes=list(scored.category_ids), matrix=matrix.tolist())


def _calibration(matches: Matches, right: Bools) -> tuple[CalibrationBin, ...]:
    """Every detection that is right or wrong, by score; a score outside 0 to 1 stands in the nearest bin."""
    judged = ~matches.ignored[:, 0, 0]
    score, good = matches.score[judged], right[judged]
    place = np.clip(np.floor(score * BINS).astype(int), 0, BINS - 1)
    count = np.bincount(place, minlength=BINS)
    sums, hits = (np.bincount(place, weights=values, minlength=BINS) for values in (score, good))
    return tuple(
        CalibrationBin(
            low=i / BINS,
            high=(i + 1) / BINS,
            count=int(n),
            mean_score=float(sums[i] / n) if n else None,
            precision=float(hits[i] / n) if n else None,
        )
        for i, n in enumerate(count.tolist())
    )


def _images(scored: Scored, names: npt.NDArray[np.str_], missed: Bools) -> tuple[ImageCounts, ...]:
    matches = scored.matches

    def by_image(column: Ints) -> Ints:
        return np.bincount(column, minlength=matches.images)

    correct = by_image(matches.image[names == "correct"])
    false = by_image(matches.image[(names != "") & (names != "correct")])
    lost = by_image(matches.objects.image[missed])
    place = {image: i for i, image in enumerate(scored.image_ids)}
    return tuple(
        ImageCounts(image_id=image, correct=int(correct[i]), missed=int(lost[i]), false=int(false[i]))
        for image, i in ((image, place[image]) for image in scored.file_order)
    )


def _precision_recall(curves: Curves) -> PrecisionRecall:
    precision = curves.precision[:, :, :, 0, -1]  # all areas, 100 detections
    present = precision[:, :, (precision[0, 0] > -1)]
    return PrecisionRecall(
        recall=RECALL_THRESHOLDS.tolist(),
        precision={
            "mean": _mean(present.mean(axis=0) if present.size else present[0]),
            "0.50": _mean(present[0]),
            "0.75": _mean(present[5]),
        },
    )


def _mean(precision: Floats) -> Curve:
    """[101, K] to its mean over the classes."""
    return [float(value) for value in precision.mean(axis=1)] if precision.size else None


def _curve(curves: Curves, k: int) -> Curve:
    precision = curves.precision[0, :, k, 0, -1]
    return [float(value) for value in precision] if precision[0] > -1 else None
