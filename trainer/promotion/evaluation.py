"""`evaluation.json`: what one exported model scored on one set of images."""

import dataclasses
import hashlib
import json
import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeGuard

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.files import read_bytes, read_text
from beam_preprocess.base.json import build, checked_version, nearest, parse
from trainer.coco.metrics import METRIC_NAMES, ClassMetrics, Metrics
from trainer.promotion.classes import Classes
from trainer.promotion.seal import check_seal, sealed
from trainer.shared.fixes import EVALUATE_AGAIN

EVALUATION_SCHEMA = 4
SERVED = "serving_default"
"""The signature that a server calls."""
LISTED_MISSING = 20
"""Maximum number of missing images whose ids are listed."""

PREDICTIONS, MATCHES, ANALYSIS, EVALUATION = "predictions.json", "matches.npz", "analysis.json", "evaluation.json"
SMOKE, PROFILE = "smoke.json", "profile.npz"
"""Names of the files of one evaluation, which are in one folder."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NoEvaluation:
    """What replaces the evaluation of the champion or of the best version when there is none."""

    status: Literal["none", "failed", "champion"]
    """"none": the registry has no champion (or no best version). "failed": it has one that could not be loaded or
    scored. "champion": the best version is the champion, whose evaluation is used."""
    reason: str
    digest: str = field(default="", compare=False)
    """The digest of the file's content, filled when it is read."""

    def to_json(self) -> str:
        """Text of `evaluation.json`."""
        return _text(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """One model on all images of one annotation file."""

    model: str
    """URI of the SavedModel that was scored."""
    data_digest: str
    """Digest of annotations and images: two evaluations can be compared only if their digests are equal."""
    images_expected: int
    images_scored: int
    """Distinct images that went through the model."""
    images_missing: int
    images_missing_ids: tuple[int, ...]
    """The first LISTED_MISSING ids."""
    images_repeated: int
    """Images that went through the model more than once."""
    detections: int
    objects: int
    """Objects scored, without crowd regions; the data check counts the same ones."""
    crowds: int
    """Crowd regions."""
    objects_unusable: int
    """Annotations that could not be scored (box not four finite numbers)."""
    metrics: dict[str, float | None]
    """METRIC_NAMES to fractions; None: the images have no such ground truth. In a file that other code wrote, a name
    may be absent and a value may be NaN: then the gate holds the candidate."""
    per_class: tuple[ClassMetrics, ...]
    seconds: float
    classes: Classes = field(default_factory=Classes)
    """How the model's classes were matched to the annotation file's."""
    signature: str = SERVED
    """The model's signature that was scored."""
    model_digest: str = ""
    """Digest of the SavedModel's files (trainer.registry.digest); promotion refuses another model."""
    objects_by_size: dict[str, int] = field(default_factory=dict)
    """small, medium, large to the number of objects that the AP of the size covers."""
    latency_ms: float | None = None
    """Median time of single-image calls of the signature, decoding included; None: not measured."""
    parity: dict[str, Any] | None = None
    """What the export wrote into assets.extra/parity.json; None: the model has no such file."""
    files: dict[str, str] = field(default_factory=dict)
    """The other files of the evaluation (PREDICTIONS, MATCHES, ANALYSIS, SMOKE, PROFILE) to their sha256."""
    digest: str = field(default="", compare=False)
    """The digest of the file's content, filled when it is read."""

    @classmethod
    def from_metrics(cls, metrics: Metrics, *, model: str, data_digest: str, seconds: float) -> "Evaluation":
        """The evaluation that holds these metrics; the other fields keep their defaults."""
        return cls(
            model=model,
            data_digest=data_digest,
            images_expected=metrics.images_expected,
            images_scored=metrics.images_scored,
            images_missing=len(metrics.images_missing),
            images_missing_ids=metrics.images_missing[:LISTED_MISSING],
            images_repeated=metrics.images_repeated,
            detections=metrics.detections,
            objects=metrics.objects,
            crowds=metrics.crowds,
            objects_unusable=metrics.objects_unusable,
            metrics=dict(metrics.values),
            per_class=metrics.per_class,
            objects_by_size=dict(metrics.objects_by_size),
            seconds=seconds,
        )

    @property
    def incomplete(self) -> str:
        """Why this is not the score of every expected image, each once, as the model is served; "" if it is."""
        reasons = []
        if self.signature != SERVED:
            reasons.append(f"the signature {self.signature} was scored, which is not the served one")
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
        return _text(self)


def _text(value: Evaluation | NoEvaluation) -> str:
    content = sealed({"schema_version": EVALUATION_SCHEMA, **asdict(value)})
    return json.dumps(content, indent=1) + "\n"


def parse_evaluation(text: str, where: str) -> Evaluation | NoEvaluation:
    """Reads the text of `evaluation.json`.

    Args:
      text: the file's content.
      where: its path, for messages.

    Raises:
      InputError: not JSON, another schema version, an unknown or missing key, a value of another type, a negative
        count, or a file that was changed after it was written.
    """
    content = parse(text, where, EVALUATE_AGAIN)
    values = checked_version(content, EVALUATION_SCHEMA, where, EVALUATE_AGAIN)
    if "status" in values:
        nothing = build(NoEvaluation, values, where, EVALUATE_AGAIN)
        check_seal(content, where, EVALUATE_AGAIN)
        return nothing
    evaluation = build(Evaluation, values, where, EVALUATE_AGAIN)
    for name in evaluation.metrics:
        if name not in METRIC_NAMES:
            raise InputError(f"{where}: metrics: unknown key {name!r}{nearest(name, METRIC_NAMES)}; {EVALUATE_AGAIN}")
    _check_counts(evaluation, where)
    for entry in evaluation.per_class:
        _check_counts(entry, f"{where}: class {entry.category_id}")
    for size, objects in evaluation.objects_by_size.items():
        _check_count(objects, f"{where}: objects_by_size.{size}")
    check_seal(content, where, EVALUATE_AGAIN)
    return evaluation


def read_evaluation(uri: str) -> Evaluation | NoEvaluation:
    """Reads `evaluation.json`.

    Raises:
      InputError: there is no such file, or see `parse_evaluation`.
    """
    return parse_evaluation(read_text(uri, EVALUATE_AGAIN), uri)


def read_part(uri: str, name: str) -> bytes:
    """The content of a file that was written with an evaluation.

    Args:
      uri: evaluation.json, in the same folder.
      name: the file's.

    Raises:
      InputError: no evaluation was given, it has no such file, or the file is damaged or of another evaluation.
    """
    if not uri:
        raise InputError("no evaluation was given")
    evaluation = read_evaluation(uri)
    if not isinstance(evaluation, Evaluation) or name not in evaluation.files:
        raise InputError(f"{uri}: has no {name}; {EVALUATE_AGAIN}")
    path = f"{uri.rpartition('/')[0] or '.'}/{name}"
    content = read_bytes(path, EVALUATE_AGAIN)
    if hashlib.sha256(content).hexdigest() != evaluation.files[name]:
        raise InputError(f"{path}: is truncated or changed: its sha256 is not the evaluation's; {EVALUATE_AGAIN}")
    return content


def _check_counts(record: Evaluation | ClassMetrics, where: str) -> None:
    """Whole numbers of a record are counts, apart from ids."""
    for entry in dataclasses.fields(record):
        if entry.type is int and not entry.name.endswith("_id"):
            _check_count(getattr(record, entry.name), f"{where}: {entry.name}")


def _check_count(value: int, where: str) -> None:
    if value < 0:
        raise InputError(f"{where}: is {value}, a count cannot be negative; {EVALUATE_AGAIN}")


def is_fraction(value: Any) -> TypeGuard[float]:
    """Whether a metric is a finite number from 0 to 1; None, NaN, infinities, percents and pycocotools' -1 are not."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and 0 <= value <= 1
