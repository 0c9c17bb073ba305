"""Where AP is lost: names every detection at or above a score threshold, and counts the missed objects.

Detections are matched at IoU 0.5, as COCO does (after Hoiem et al., Diagnosing Error in Object Detectors, ECCV 2012,
and TIDE, Bolya et al., ECCV 2020). A detection gets the first name that applies:

    correct        matched an object of its class
    duplicate      overlaps an object of its class by 0.5 or more, but a detection with a higher score matched it
    confused       overlaps a missed object of another class by 0.5 or more, and takes it
    duplicate      overlaps an object of another class by 0.5 or more, but another detection has it
    mislocalised   overlaps an object of its class by 0.1 to 0.5
    background     none of these

    missed         objects that no detection of their class matched, including the confused ones

Detections that matched a crowd region, or overlap a crowd of their class by 0.5 or more, are neither right nor wrong.

An object is taken once: detections that are neither correct nor a duplicate in their own class take missed objects of
other classes, by descending score, then by descending overlap. (TIDE calls every overlap with another class a class
error. Here, a second detection of an object that was found is a duplicate, so that the counts are those of the
confusion matrix.)

The confusion matrix counts each object and each detection once: correct ones are on the diagonal, confused ones are off
the diagonal, the other missed objects are in the last column, the other detections in the last row (background).
"""

import numpy as np
import numpy.typing as npt

from trainer.coco.accumulate import Curves
from trainer.coco.analysis import (
    ERROR_NAMES,
    Analysis,
    CalibrationBin,
    ClassAnalysis,
    ClassCounts,
    Confusion,
    Curve,
    ImageCounts,
    PrecisionRecall,
    ThresholdCurve,
)
from trainer.coco.matching import RECALL_THRESHOLDS, Matches
from trainer.coco.metrics import Scored
from trainer.coco.overlaps import Bools, Floats, Ints, overlapping
from trainer.coco.thresholds import threshold_curve

SCORE_THRESHOLD = 0.3
IOU_THRESHOLD = 0.5
OVERLAP = 0.1
"""IoU from which a detection is about an object at all."""
BINS = 10


def analyse(scored: Scored, score_threshold: float = SCORE_THRESHOLD) -> Analysis:
    """The analysis of one scored set of detections.

    Args:
      scored: result of `metrics.score_arrays`.
      score_threshold: detections below it are left out of errors, confusion and image counts.
    """
    matches = scored.matches
    shown = matches.score >= score_threshold
    right = (matches.true & 1).astype(bool)
    found = np.zeros(len(matches.objects.image), bool)
    found[matches.taken[right & shown]] = True
    missed = ~matches.object_ignored[:, 0] & ~found
    names, confused = _names(matches, right, shown, missed)
    errors = {name: int(np.count_nonzero(names == name)) for name in ERROR_NAMES}
    confusion = _confusion(scored, names, missed, confused)
    return Analysis(
        score_threshold=score_threshold,
        iou_threshold=IOU_THRESHOLD,
        precision_recall=_precision_recall(scored.curves),
        per_class=_per_class(scored, right, confusion),
        overall=_thresholds(matches, right, np.ones(len(right), bool), int((~matches.object_ignored[:, 0]).sum())),
        objects_by_size=dict(scored.metrics.objects_by_size),
        errors={**errors, "missed": int(missed.sum())},
        confusion=confusion,
        calibration=_calibration(matches, right),
        images=_images(scored, names, missed),
    )


def _names(matches: Matches, right: Bools, shown: Bools, missed: Bools) -> tuple[npt.NDArray[np.str_], Ints]:
    """[D] the name of each detection, "" for those that are not shown or neither right nor wrong.

    Also [D] the object of another class that a confused detection takes, -1 for the others.
    """
    rows = np.flatnonzero(shown)
    place, which, iou = overlapping(
        group=matches.image[rows],
        box=matches.box[rows],
        object_group=matches.objects.image,
        object_box=matches.objects.box,
        crowd=matches.objects.crowd,
        threshold=OVERLAP,
    )
    detection = rows[place]
    same = matches.category[detection] == matches.objects.category[which]
    crowd = matches.objects.crowd[which]

    def any_pair(pairs: Bools) -> Bools:
        marked = np.zeros(len(right), bool)
        marked[detection[pairs]] = True
        return marked

    enough = iou >= IOU_THRESHOLD
    overlaps = enough & ~crowd
    in_crowd = any_pair(same & enough & crowd) | (matches.ignored & 1).astype(bool)
    twice = any_pair(same & overlaps)
    alone = ~right & ~in_crowd & ~twice
    pairs = np.flatnonzero(~same & overlaps & alone[detection] & missed[which])
    order = pairs[np.lexsort((-iou[pairs], -matches.score[detection[pairs]]))]
    confused = _confused(detection[order], which[order], len(right))
    questions = [
        (~shown, ""),
        (right, "correct"),
        (in_crowd, ""),
        (twice, "duplicate"),
        (confused >= 0, "confused"),
        (any_pair(~same & overlaps), "duplicate"),
        (any_pair(same & ~overlaps & ~crowd), "mislocalised"),
    ]
    conditions, answers = zip(*questions, strict=True)
    return np.select(conditions, answers, default="background"), confused


def _confused(detection: Ints, which: Ints, detections: int) -> Ints:
    """[D] the object that each detection takes, -1 for none: every pair in its turn, if both are free."""
    taken = np.full(detections, -1)
    gone: set[int] = set()
    for one, other in zip(detection.tolist(), which.tolist(), strict=True):
        if taken[one] < 0 and other not in gone:
            taken[one] = other
            gone.add(other)
    return taken


def _confusion(scored: Scored, names: npt.NDArray[np.str_], missed: Bools, confused: Ints) -> Confusion:
    matches = scored.matches
    count = len(scored.category_ids)
    matrix = np.zeros((count + 1, count + 1), int)
    of_object = matches.objects.category
    correct = names == "correct"
    np.add.at(matrix, (of_object[matches.taken[correct]], matches.category[correct]), 1)
    wrong_class = confused >= 0
    np.add.at(matrix, (of_object[confused[wrong_class]], matches.category[wrong_class]), 1)
    lost = missed.copy()
    lost[confused[wrong_class]] = False
    matrix[:count, count] = np.bincount(of_object[lost], minlength=count)
    rest = np.isin(names, ("duplicate", "mislocalised", "background"))
    matrix[count, :count] = np.bincount(matches.category[rest], minlength=count)
    return Confusion(classes=list(scored.category_ids), matrix=matrix.tolist())


def _per_class(scored: Scored, right: Bools, confusion: Confusion) -> tuple[ClassAnalysis, ...]:
    matches, matrix = scored.matches, np.array(confusion.matrix)
    correct = np.diag(matrix)[:-1]
    objects, detections = matrix.sum(axis=1)[:-1], matrix.sum(axis=0)[:-1]
    confused = matrix[:-1, :-1].sum(axis=1) - correct
    return tuple(
        ClassAnalysis(
            category_id=entry.category_id,
            name=entry.name,
            precision50=_curve(scored.curves, k),
            counts=ClassCounts(
                correct=int(correct[k]),
                missed=int(objects[k] - correct[k]),
                confused=int(confused[k]),
                false=int(detections[k] - correct[k]),
            ),
            thresholds=_thresholds(matches, right, matches.category == k, int(objects[k])),
        )
        for k, entry in enumerate(scored.metrics.per_class)
    )


def _thresholds(matches: Matches, right: Bools, rows: Bools, objects: int) -> ThresholdCurve:
    """The curve over the score of some detections, without those that are neither right nor wrong."""
    judged = rows & ~(matches.ignored & 1).astype(bool)
    return threshold_curve(matches.score[judged], right[judged], objects)


def _calibration(matches: Matches, right: Bools) -> tuple[CalibrationBin, ...]:
    """Every detection that is right or wrong, by score; a score outside 0 to 1 counts in the nearest bin."""
    judged = ~(matches.ignored & 1).astype(bool)
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
    confused = by_image(matches.image[names == "confused"])
    place = {image: i for i, image in enumerate(scored.image_ids)}
    return tuple(
        ImageCounts(
            image_id=image, correct=int(correct[i]), missed=int(lost[i]), false=int(false[i]), confused=int(confused[i])
        )
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
    """Mean over the classes of [101, K]."""
    return [float(value) for value in precision.mean(axis=1)] if precision.size else None


def _curve(curves: Curves, k: int) -> Curve:
    precision = curves.precision[0, :, k, 0, -1]
    return [float(value) for value in precision] if precision[0] > -1 else None
