"""`analysis.json`: where a model's AP is lost. trainer.evaluate writes it, the report reads it.

No numpy. trainer.coco.error_kinds makes the counts and defines them, trainer.coco.thresholds makes the curves over the
score.
"""

import json
from dataclasses import asdict, dataclass

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.files import read_text
from beam_preprocess.base.json import read
from trainer.shared.fixes import EVALUATE_AGAIN

ANALYSIS_SCHEMA = 2
RECALL_POINTS = 101
THRESHOLD_POINTS = 101
ERROR_NAMES = ("correct", "missed", "duplicate", "mislocalised", "confused", "background")

Curve = list[float] | None
"""Precision at each of the 101 recall points; None where there is no ground truth."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PrecisionRecall:
    """Interpolated precision, mean over the classes that have ground truth."""

    recall: list[float]
    """0, 0.01, …, 1."""
    precision: dict[str, Curve]
    """"mean" (over the ten IoU thresholds), "0.50" and "0.75"."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OperatingPoint:
    """What a score threshold gives at IoU 0.5."""

    score: float
    """Detections with this score or a higher one are shown."""
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ThresholdCurve:
    """Precision, recall and F1 at IoU 0.5 for the score thresholds 0, 0.01, …, 1."""

    objects: int
    """Without crowd regions."""
    precision: list[float | None]
    """None where no detection reaches the threshold."""
    recall: list[float | None]
    """None without objects."""
    f1: list[float]
    best: OperatingPoint | None
    """The highest F1 of all thresholds; of equal ones, the highest threshold. None if no object was found."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassCounts:
    """Objects and detections of one class at the score threshold and IoU 0.5."""

    correct: int
    missed: int
    """Objects that no detection of the class found, including the confused ones."""
    confused: int
    """Those of the missed objects that were found as another class."""
    false: int
    """Detections of the class that found no object of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassAnalysis:
    """One class at IoU 0.5."""

    category_id: int
    name: str
    precision50: Curve
    counts: ClassCounts
    thresholds: ThresholdCurve


@dataclass(frozen=True, kw_only=True, slots=True)
class Confusion:
    """Objects against detections. Each is counted at most once."""

    classes: list[int]
    """Category ids, in the order of rows and columns."""
    matrix: list[list[int]]
    """Row: class of the object, background in the last row. Column: class of the detection, missed in the last one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CalibrationBin:
    """Detections with a score from `low` to below `high`."""

    low: float
    high: float
    count: int
    mean_score: float | None
    precision: float | None
    """Fraction of them that found an object at IoU 0.5; None in an empty bin."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageCounts:
    """One image at the score threshold and IoU 0.5."""

    image_id: int
    correct: int
    missed: int
    false: int
    confused: int
    """Those of the missed objects that were found as another class."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Analysis:
    """Content of `analysis.json`."""

    score_threshold: float
    """Score threshold of `errors`, `confusion` and `images`."""
    iou_threshold: float
    precision_recall: PrecisionRecall
    per_class: tuple[ClassAnalysis, ...]
    overall: ThresholdCurve
    """All classes with one common threshold."""
    objects_by_size: dict[str, int]
    """small, medium, large to the number of objects that the AP of the size covers: by `area`, without crowd regions.
    An area exactly on a border counts on both sides, as in COCO."""
    errors: dict[str, int]
    """ERROR_NAMES to counts."""
    confusion: Confusion
    calibration: tuple[CalibrationBin, ...]
    images: tuple[ImageCounts, ...]
    """Every image once, in the annotation file's order."""

    def to_json(self) -> str:
        """Text of `analysis.json`: strict JSON, without NaN."""
        return json.dumps({"schema_version": ANALYSIS_SCHEMA, **asdict(self)}, allow_nan=False) + "\n"


def parse_analysis(text: str, where: str) -> Analysis:
    """Reads the text of `analysis.json`.

    Raises:
      InputError: not JSON, another schema version, an unknown or missing key, a value of another type, a list of
        another length, or a negative count.
    """
    analysis = read(Analysis, text, where, EVALUATE_AGAIN, schema_version=ANALYSIS_SCHEMA)
    curves = [*analysis.precision_recall.precision.values(), *(entry.precision50 for entry in analysis.per_class)]
    lengths = {len(curve) for curve in curves if curve is not None} | {len(analysis.precision_recall.recall)}
    size = len(analysis.confusion.classes) + 1
    matrix = analysis.confusion.matrix
    if lengths != {RECALL_POINTS}:
        raise InputError(f"{where}: a curve has {sorted(lengths)} points, not {RECALL_POINTS}; {EVALUATE_AGAIN}")
    for points in (analysis.overall, *(entry.thresholds for entry in analysis.per_class)):
        if {len(points.precision), len(points.recall), len(points.f1)} != {THRESHOLD_POINTS}:
            raise InputError(f"{where}: a threshold curve has not {THRESHOLD_POINTS} points; {EVALUATE_AGAIN}")
    if [len(row) for row in matrix] != [size] * size:
        raise InputError(f"{where}: the confusion matrix is not {size} x {size}; {EVALUATE_AGAIN}")
    if set(analysis.errors) != set(ERROR_NAMES):
        found = ", ".join(sorted(analysis.errors))
        raise InputError(f"{where}: errors holds {found}; needs {', '.join(ERROR_NAMES)}; {EVALUATE_AGAIN}")
    images = [(image.correct, image.missed, image.false, image.confused) for image in analysis.images]
    images += [(c.correct, c.missed, c.confused, c.false) for c in (entry.counts for entry in analysis.per_class)]
    counts = [*(bin_.count for bin_ in analysis.calibration), *analysis.errors.values()]
    counts += [*analysis.objects_by_size.values(), analysis.overall.objects]
    counts += [entry.thresholds.objects for entry in analysis.per_class]
    lowest = min((min(row) for row in (*matrix, *images, counts) if row), default=0)
    if lowest < 0:
        raise InputError(f"{where}: holds the count {lowest}; counts are not negative; {EVALUATE_AGAIN}")
    return analysis


def read_analysis(uri: str) -> Analysis:
    """Reads `analysis.json`.

    Raises:
      InputError: there is no such file, or see `parse_analysis`.
    """
    return parse_analysis(read_text(uri, EVALUATE_AGAIN), uri)
