"""`serving.json`: the score thresholds that a published model should be served with.

It is in the model's folder and outside the model's digest: the model is judged before its thresholds are known, and
other thresholds don't make it another model. Everything that shows or serves detections reads it here.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.files import read_bytes, read_text, write_text
from beam_preprocess.base.json import read
from trainer.coco.analysis import Analysis, OperatingPoint, ThresholdCurve, parse_analysis
from trainer.promotion.evaluation import ANALYSIS, Evaluation, is_fraction, read_evaluation
from trainer.registry.digest import SERVING_FILE
from trainer.shared.fixes import EVALUATE_AGAIN

SERVING_SCHEMA = 1
MIN_SUPPORT = 20
"""Minimum number of objects for a threshold of their own: with fewer, the best threshold is mostly chance."""
RULE = "highest F1 at IoU 0.5; of equal ones, the higher score"
PROMOTE_AGAIN = "promote the model again, or remove the file"


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassThreshold:
    """The threshold of one class."""

    category_id: int
    name: str
    score_threshold: float
    """The class's own, or the one of all classes."""
    own: bool
    """Whether the class has enough objects for its own."""
    objects: int
    precision: float | None
    """Precision of the class at its own threshold; None where it takes the one of all classes."""
    recall: float | None
    f1: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Serving:
    """Content of `serving.json`."""

    model_digest: str
    data_digest: str
    """Data that the thresholds were chosen on."""
    rule: str
    min_support: int
    """Classes with fewer objects take `score_threshold`."""
    score_threshold: float
    """One threshold for all classes."""
    objects: int
    precision: float
    recall: float
    f1: float
    classes: tuple[ClassThreshold, ...]

    def thresholds(self) -> dict[int, float]:
        """Category id to its threshold."""
        return {entry.category_id: entry.score_threshold for entry in self.classes}

    def to_json(self) -> str:
        """Text of `serving.json`."""
        return json.dumps({"schema_version": SERVING_SCHEMA, **asdict(self)}, indent=1, allow_nan=False) + "\n"


def recommend(analysis: Analysis, *, model_digest: str = "", data_digest: str = "") -> Serving | None:
    """The thresholds that an analysis recommends; None if all classes together have too few objects."""
    overall = _supported(analysis.overall)
    if overall is None:
        return None
    return Serving(
        model_digest=model_digest,
        data_digest=data_digest,
        rule=RULE,
        min_support=MIN_SUPPORT,
        score_threshold=overall.score,
        objects=analysis.overall.objects,
        precision=overall.precision,
        recall=overall.recall,
        f1=overall.f1,
        classes=tuple(
            _class_threshold(entry.category_id, entry.name, entry.thresholds, overall) for entry in analysis.per_class
        ),
    )


def _class_threshold(category_id: int, name: str, curve: ThresholdCurve, overall: OperatingPoint) -> ClassThreshold:
    own = _supported(curve)
    return ClassThreshold(
        category_id=category_id,
        name=name,
        score_threshold=(own or overall).score,
        own=own is not None,
        objects=curve.objects,
        precision=own.precision if own else None,
        recall=own.recall if own else None,
        f1=own.f1 if own else None,
    )


def _supported(curve: ThresholdCurve) -> OperatingPoint | None:
    return curve.best if curve.objects >= MIN_SUPPORT else None


def write_serving(model: str, evaluation: str) -> str:
    """Writes `serving.json` into the folder of a published model, from the evaluation that it was judged by.

    Args:
      model: URI of the published model's folder.
      evaluation: URI of its evaluation.json, next to analysis.json; "" if there is none.

    Returns:
      What was written, or why nothing was: a promotion does not fail for it.
    """
    path = f"{model.rstrip('/')}/{SERVING_FILE}"
    try:
        serving = _from_evaluation(evaluation)
    except InputError as error:
        return f"{SERVING_FILE}: not written ({error}); the export's threshold applies"
    if serving is None:
        return (
            f"{SERVING_FILE}: not written (the validation data has fewer than {MIN_SUPPORT} objects, or none was "
            "found); the export's threshold applies"
        )
    write_text(path, serving.to_json())
    own = sum(entry.own for entry in serving.classes)
    return (
        f"{SERVING_FILE}: score threshold {serving.score_threshold:.3f} (F1 {serving.f1:.3f}), {own} of "
        f"{len(serving.classes)} classes with their own"
    )


def _from_evaluation(uri: str) -> Serving | None:
    """The thresholds that an evaluation's analysis recommends.

    Raises:
      InputError: no evaluation was given, or the analysis is missing, damaged or of another evaluation.
    """
    if not uri:
        raise InputError("no evaluation was given")
    evaluation = read_evaluation(uri)
    if not isinstance(evaluation, Evaluation):
        raise InputError(f"{uri}: the model was not scored; {EVALUATE_AGAIN}")
    path = f"{uri.rpartition('/')[0] or '.'}/{ANALYSIS}"
    content = read_bytes(path, EVALUATE_AGAIN)
    if hashlib.sha256(content).hexdigest() != evaluation.files.get(ANALYSIS):
        raise InputError(f"{path}: is truncated or changed: its sha256 is not the evaluation's; {EVALUATE_AGAIN}")
    return recommend(
        parse_analysis(content.decode("utf-8"), path),
        model_digest=evaluation.model_digest,
        data_digest=evaluation.data_digest,
    )


def read_serving(model: str) -> Serving | None:
    """The thresholds in a model's folder; None if it has none.

    Raises:
      InputError: the file is damaged, of another schema version, or holds a threshold outside 0 to 1.
    """
    from beam_preprocess.base.storage import file_system

    path = f"{model.rstrip('/')}/{SERVING_FILE}"
    fs, place = file_system(path)
    if not fs.exists(place):
        return None
    serving = read(Serving, read_text(path, PROMOTE_AGAIN), path, PROMOTE_AGAIN, schema_version=SERVING_SCHEMA)
    checked: Sequence[tuple[str, Any]] = [
        ("score_threshold", serving.score_threshold),
        *((f"classes: {entry.name}", entry.score_threshold) for entry in serving.classes),
    ]
    for name, value in checked:
        if not is_fraction(value):
            raise InputError(f"{path}: {name}: is {value}; a threshold is from 0 to 1; {PROMOTE_AGAIN}")
    return serving
