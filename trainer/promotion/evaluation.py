"""`evaluation.json`: what one exported model scored on one set of images."""

import json
import math
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, TypeGuard

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.files import parse_json, read_text
from trainer.coco.metrics import METRIC_NAMES, ClassMetrics, Metrics

SCHEMA_VERSION = 2
LISTED_MISSING = 20
"""At most so many ids of missing images are named."""

FIX = "write it with python -m trainer.evaluate"

PREDICTIONS, MATCHES, ANALYSIS, EVALUATION = "predictions.json", "matches.npz", "analysis.json", "evaluation.json"
"""Names of the files of one evaluation, which stand in one folder."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NoEvaluation:
    """The place of a champion's or the best's evaluation when there is none."""

    status: Literal["none", "failed", "champion"]
    """"none": the registry has no champion (or no best). "failed": it has one, which could not be loaded or scored.
    "champion": the best is the champion, whose evaluation stands for it."""
    reason: str

    def to_json(self) -> str:
        """Text of `evaluation.json`."""
        return json.dumps({"schema_version": SCHEMA_VERSION, **asdict(self)}, indent=1) + "\n"


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """One model on all images of one annotation file."""

    model: str
    """URI of the SavedModel that was scored."""
    data_digest: str
    """Of annotations and images: two evaluations compare only when theirs are equal."""
    images_expected: int
    images_scored: int
    """Different images that went through the model."""
    images_missing: int
    images_missing_ids: tuple[int, ...]
    """The first LISTED_MISSING of them."""
    images_repeated: int
    """Images that went through the model more than once."""
    detections: int
    objects_unusable: int
    """Annotations that could not be scored (box not four finite numbers)."""
    metrics: dict[str, float | None]
    """Names of METRIC_NAMES to fractions; None: the images have no such ground truth. A name may be absent and
    a value may be NaN in a file from elsewhere: then the gate holds."""
    per_class: tuple[ClassMetrics, ...]
    seconds: float
    model_digest: str = ""
    """Of the SavedModel's files (trainer.registry.digest); promotion refuses another model."""
    objects_by_size: dict[str, int] = field(default_factory=dict)
    """small, medium, large to objects: what stands behind the AP of a size."""
    latency_ms: float | None = None
    """Median time of single-image calls of the signature, decoding included; None: not measured."""
    parity: dict[str, Any] | None = None
    """What the export wrote into assets.extra/parity.json; None: the model holds none."""
    files: dict[str, str] = field(default_factory=dict)
    """The other files of the evaluation (PREDICTIONS, MATCHES, ANALYSIS) to their sha256."""

    @classmethod
    def from_metrics(cls, metrics: Metrics, *, model: str, data_digest: str, seconds: float) -> "Evaluation":
        """The evaluation of one `coco_metrics.score` call; what the metrics do not hold is left at its default."""
        return cls(
            model=model,
            data_digest=data_digest,
            images_expected=metrics.images_expected,
            images_scored=metrics.images_scored,
            images_missing=len(metrics.images_missing),
            images_missing_ids=metrics.images_missing[:LISTED_MISSING],
            images_repeated=metrics.images_repeated,
            detections=metrics.detections,
            objects_unusable=metrics.objects_unusable,
            metrics=dict(metrics.values),
            per_class=metrics.per_class,
            objects_by_size=dict(metrics.objects_by_size),
            seconds=seconds,
        )

    @property
    def incomplete(self) -> str:
        """Why not every expected image was scored exactly once; empty when it was."""
        reasons = []
        if self.images_expected < 1:
            reasons.append("no image was expected")
        if self.images_scored != self.images_expected:
            reasons.append(f"{self.images_scored} of {self.images_expected} images were scored")
        if self.images_missing:
            named = ", ".join(str(i) for i in self.images_missing_ids[:5])
            reasons.append(f"{self.images_missing} are missing" + (f" (ids {named}, …)" if named else ""))
        if self.images_repeated:
            reasons.append(f"{self.images_repeated} were scored more than once")
        return "; ".join(reasons)

    def to_json(self) -> str:
        """Text of `evaluation.json`."""
        return json.dumps({"schema_version": SCHEMA_VERSION, **asdict(self)}, indent=1) + "\n"


def from_json(text: str, where: str) -> Evaluation | NoEvaluation:
    """Reads `evaluation.json`.

    Args:
      text: the file's content.
      where: its path, for messages.

    Raises:
      InputError: not JSON, another schema version, unknown or missing keys, a value of another type.
    """
    values = parse_json(text, where, FIX)
    if not isinstance(values, dict):
        raise InputError(f"{where}: is a {type(values).__name__}, not an object; {FIX}")
    version = values.pop("schema_version", None)
    if version != SCHEMA_VERSION:
        raise InputError(f"{where}: schema_version is {version!r}, this code reads {SCHEMA_VERSION}; {FIX}")
    if "status" in values:
        return _no_evaluation(values, where)
    _same_keys(values, {f.name for f in fields(Evaluation)}, where)
    for name in ("model", "data_digest", "model_digest"):
        if not isinstance(values[name], str):
            raise InputError(f"{where}: {name} is {values[name]!r}, not a string; {FIX}")
    for name in (f.name for f in fields(Evaluation) if f.type is int):
        if type(values[name]) is not int or values[name] < 0:
            raise InputError(f"{where}: {name} is {values[name]!r}, not a count; {FIX}")
    if not _is_number(values["seconds"]):
        raise InputError(f"{where}: seconds is {values['seconds']!r}, not a number; {FIX}")
    if not isinstance(values["images_missing_ids"], list) or not isinstance(values["per_class"], list):
        raise InputError(f"{where}: images_missing_ids or per_class is not a list; {FIX}")
    if values["latency_ms"] is not None and not _is_number(values["latency_ms"]):
        raise InputError(f"{where}: latency_ms is {values['latency_ms']!r}, not a number or null; {FIX}")
    if values["parity"] is not None and not isinstance(values["parity"], dict):
        raise InputError(f"{where}: parity is {values['parity']!r}, not an object or null; {FIX}")
    _mapping(values["objects_by_size"], int, f"{where}: objects_by_size")
    _mapping(values["files"], str, f"{where}: files")
    values["images_missing_ids"] = tuple(values["images_missing_ids"])
    values["metrics"] = _metrics(values["metrics"], where)
    values["per_class"] = tuple(_class_metrics(entry, where) for entry in values["per_class"])
    return Evaluation(**values)


def read_evaluation(uri: str) -> Evaluation | NoEvaluation:
    """Reads an evaluation file.

    Raises:
      InputError: see `from_json`; or no such file.
    """
    return from_json(read_text(uri, FIX), uri)


def _no_evaluation(values: dict[str, Any], where: str) -> NoEvaluation:
    _same_keys(values, {"status", "reason"}, where)
    if values["status"] not in ("none", "failed", "champion") or not isinstance(values["reason"], str):
        raise InputError(
            f"{where}: status {values['status']!r} is not 'none', 'failed' or 'champion' with a reason; {FIX}"
        )
    return NoEvaluation(**values)


def _mapping(values: Any, kind: type, where: str) -> None:
    if not isinstance(values, dict) or not all(type(value) is kind for value in values.values()):
        raise InputError(f"{where}: is {values!r}, not an object of {kind.__name__}; {FIX}")


def _metrics(values: Any, where: str) -> dict[str, float | None]:
    if not isinstance(values, dict):
        raise InputError(f"{where}: metrics is {values!r}, not an object of numbers; {FIX}")
    for name, value in values.items():
        if name not in METRIC_NAMES:
            raise InputError(f"{where}: metrics.{name}: unknown; known are {', '.join(METRIC_NAMES)}")
        if value is not None and not _is_number(value):
            raise InputError(f"{where}: metrics.{name} is {value!r}, not a number or null; {FIX}")
    return values


def _class_metrics(entry: Any, where: str) -> ClassMetrics:
    if not isinstance(entry, dict):
        raise InputError(f"{where}: per_class holds {entry!r}, not an object; {FIX}")
    _same_keys(entry, {f.name for f in fields(ClassMetrics)}, f"{where}: per_class")
    for name in ("ap", "ap50"):
        if entry[name] is not None and not _is_number(entry[name]):
            raise InputError(f"{where}: per_class.{name} is {entry[name]!r}, not a number or null; {FIX}")
    return ClassMetrics(**entry)


def _same_keys(values: dict[str, Any], names: set[str], where: str) -> None:
    missing, unknown = sorted(names - set(values)), sorted(set(values) - names)
    if missing:
        raise InputError(f"{where}: lacks {', '.join(missing)}; {FIX}")
    if unknown:
        raise InputError(f"{where}: unknown key {', '.join(unknown)}; {FIX}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_fraction(value: Any) -> TypeGuard[float]:
    """Whether a metric is a finite number from 0 to 1; None, NaN, infinities, percents and pycocotools' -1 are not."""
    return _is_number(value) and math.isfinite(value) and 0 <= value <= 1
