"""`analysis.json`: where a model's AP is lost, written by trainer.evaluate and read by the report.

Standard library only. What the counts mean is said in trainer.coco.error_analysis, which makes them.
"""

import json
from dataclasses import asdict, dataclass, fields
from typing import Any

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.files import parse_json, read_text

SCHEMA_VERSION = 1
FIX = "write it with python -m trainer.evaluate"

RECALL_POINTS = 101
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
class ClassCurve:
    """Precision of one class at IoU 0.5."""

    category_id: int
    name: str
    precision50: Curve


@dataclass(frozen=True, kw_only=True, slots=True)
class Confusion:
    """Objects against detections, each at most once."""

    classes: list[int]
    """Category ids, in the order of rows and columns."""
    matrix: list[list[int]]
    """Row: class of the object, the last one is background. Column: class of the detection, the last one is missed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CalibrationBin:
    """Detections with a score from `low` to below `high`."""

    low: float
    high: float
    count: int
    mean_score: float | None
    precision: float | None
    """Share of them that found an object at IoU 0.5; None in an empty bin."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageCounts:
    """One image at the score threshold and IoU 0.5."""

    image_id: int
    correct: int
    missed: int
    false: int
    confused: int
    """Of the missed ones: found as another class."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Analysis:
    """Content of `analysis.json`."""

    score_threshold: float
    """Of `errors`, `confusion` and `images`."""
    iou_threshold: float
    precision_recall: PrecisionRecall
    per_class: tuple[ClassCurve, ...]
    errors: dict[str, int]
    """ERROR_NAMES to counts."""
    confusion: Confusion
    calibration: tuple[CalibrationBin, ...]
    images: tuple[ImageCounts, ...]
    """Every image once, in the annotation file's order."""

    def to_json(self) -> str:
        """Text of `analysis.json`: strict JSON, without NaN."""
        return json.dumps({"schema_version": SCHEMA_VERSION, **asdict(self)}, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str) -> "Analysis":
        """Reads an analysis.

        Raises:
          InputError: not JSON, another schema version, unknown or missing keys, lists of another length.
        """
        values = parse_json(text, where, FIX)
        version = values.pop("schema_version", None) if isinstance(values, dict) else None
        if version != SCHEMA_VERSION:
            raise InputError(f"{where}: schema_version is {version!r}, this code reads {SCHEMA_VERSION}; {FIX}")
        _same_keys(cls, values, where)
        try:
            read = cls(
                **{
                    **values,
                    "precision_recall": _read(PrecisionRecall, values["precision_recall"], where),
                    "per_class": tuple(_read(ClassCurve, entry, where) for entry in values["per_class"]),
                    "confusion": _read(Confusion, values["confusion"], where),
                    "calibration": tuple(_read(CalibrationBin, entry, where) for entry in values["calibration"]),
                    "images": tuple(_read(ImageCounts, entry, where) for entry in values["images"]),
                }
            )
            read._check(where)
        except (TypeError, AttributeError) as error:
            raise InputError(f"{where}: is not an analysis ({error}); {FIX}") from error
        return read

    def _check(self, where: str) -> None:
        curves = [*self.precision_recall.precision.values(), *(entry.precision50 for entry in self.per_class)]
        lengths = {len(curve) for curve in curves if curve is not None} | {len(self.precision_recall.recall)}
        size = len(self.confusion.classes) + 1
        if lengths != {RECALL_POINTS}:
            raise InputError(f"{where}: a curve has {sorted(lengths)} points, not {RECALL_POINTS}; {FIX}")
        if [len(row) for row in self.confusion.matrix] != [size] * size:
            raise InputError(f"{where}: the confusion matrix is not {size} x {size}; {FIX}")
        if set(self.errors) != set(ERROR_NAMES):
            raise InputError(f"{where}: errors holds {sorted(self.errors)}, needs {', '.join(ERROR_NAMES)}; {FIX}")


def read_analysis(uri: str) -> Analysis:
    """Reads `analysis.json`.

    Raises:
      InputError: see `Analysis.from_json`; or no such file.
    """
    return Analysis.from_json(read_text(uri, FIX), uri)


def _read(kind: type, values: Any, where: str) -> Any:
    _same_keys(kind, values, where)
    return kind(**values)


def _same_keys(kind: type, values: Any, where: str) -> None:
    names = {field.name for field in fields(kind)}
    if not isinstance(values, dict) or set(values) != names:
        found = sorted(values) if isinstance(values, dict) else values
        raise InputError(f"{where}: {kind.__name__} holds {found!r}, needs exactly {sorted(names)}; {FIX}")
