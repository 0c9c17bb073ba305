"""`summary.json`: one run in one file, for the terminal's table, the report, and comparisons between runs."""

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from typing import Any, Literal

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.files import read_text, write_text
from beam_preprocess.base.json import parse, read
from trainer.coco.bootstrap import Comparison, Interval
from trainer.coco.metrics import METRIC_NAMES, ClassMetrics
from trainer.promotion.decision import Decision, RuleResult
from trainer.promotion.evaluation import Evaluation, NoEvaluation
from trainer.shared.fixes import RUN_AGAIN, TRAIN_AGAIN

SUMMARY_SCHEMA = 4

Kind = Literal["promoted", "held", "pending approval"]
KINDS: tuple[Kind, ...] = ("promoted", "held", "pending approval")
"""What can become of a candidate."""
PACKAGES = (
    "tensorflow",
    "tf-models-official",
    "kfp",
    "google-cloud-pipeline-components",
    "apache-beam",
    "pycocotools",
    "numpy",
    "pillow",
    "opencv-python-headless",
    "centernet-pipeline",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What became of the candidate."""

    outcome: Kind
    sentence: str
    """What promote or hold returned."""
    champion_version: str
    """The champion that was compared with, "" for none."""
    new_version: str
    """The version that was published, as champion or as challenger; "" for a held candidate."""
    rules: tuple[RuleResult, ...]
    ap_interval: Interval | None
    intervals: dict[str, Comparison | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class ChampionScores:
    """The champion on the same images, or why it has no scores."""

    status: Literal["scored", "none", "failed", "champion"]
    version: str
    reason: str = ""
    """"" for a scored champion."""
    data_digest: str = ""
    metrics: dict[str, float | None] = field(default_factory=dict)
    per_class: tuple[ClassMetrics, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """Content of `summary.json`: first the twelve metrics of the candidate, as in METRIC_NAMES."""

    ap: float | None
    ap50: float | None
    ap75: float | None
    ap_small: float | None
    ap_medium: float | None
    ap_large: float | None
    ar_1: float | None
    ar_10: float | None
    ar_100: float | None
    ar_small: float | None
    ar_medium: float | None
    ar_large: float | None
    per_class: tuple[ClassMetrics, ...]
    images: int
    detections: int
    objects_unusable: int
    decision: Outcome
    champion: ChampionScores
    seconds: dict[str, float]
    """Stage to seconds."""
    versions: dict[str, str]
    """Python and packages to versions."""
    config: str
    """The run's configuration, YAML text."""
    data: dict[str, dict[str, Any]]
    """"train" and "val" to facts of their data: manifest fields, or data_digest and counts."""
    data_digest: str
    paths: dict[str, str]
    """What the run wrote, by name."""
    parity: dict[str, Any] | None
    """Content of the model's parity.json, or None."""
    history: tuple[dict[str, Any], ...]
    """Rows of history.jsonl."""
    run: str = ""
    """Name of the run; "" if unknown."""
    created: str = ""
    """When this summary was made: UTC, ISO 8601."""
    commit: str = ""
    """Commit of the code."""
    weights: str = ""
    """What the training started from, and under which licence; "" if unknown."""

    @property
    def metrics(self) -> dict[str, float | None]:
        """METRIC_NAMES to the candidate's values."""
        return {name: getattr(self, name) for name in METRIC_NAMES}


def build_summary(
    *,
    candidate: Evaluation,
    champion: Evaluation | NoEvaluation,
    decision: Decision,
    outcome: str,
    config: str,
    data: Mapping[str, Mapping[str, Any]],
    history: Sequence[Mapping[str, Any]] = (),
    seconds: Mapping[str, float] | None = None,
    paths: Mapping[str, str] | None = None,
    parity: Mapping[str, Any] | None = None,
    run: str = "",
    created: str = "",
    commit: str = "",
    weights: str = "",
) -> Summary:
    """The summary of one run.

    Args:
      candidate: the new model's evaluation.
      champion: the champion's evaluation on the same images, or why there is none.
      decision: what the gate decided.
      outcome: what promote or hold returned: "promoted: v0002 (was v0001)", "pending approval: v0002 (…)" or "held: …".
      config: see `Summary`, like the arguments after it.

    Raises:
      InputError: `outcome` begins with none of them.
    """
    kind, rest = split_outcome(outcome)
    return Summary(
        **{name: candidate.metrics.get(name) for name in METRIC_NAMES},
        per_class=candidate.per_class,
        images=candidate.images_scored,
        detections=candidate.detections,
        objects_unusable=candidate.objects_unusable,
        decision=Outcome(
            outcome=kind,
            sentence=outcome,
            champion_version=decision.champion_version,
            new_version="" if kind == "held" else rest.split(" ")[0],
            rules=decision.rules,
            ap_interval=decision.ap_interval,
            intervals=decision.intervals,
        ),
        champion=_champion(champion, decision.champion_version),
        seconds=dict(seconds or {}),
        versions=installed_versions(),
        config=config,
        data={name: dict(facts) for name, facts in data.items()},
        data_digest=candidate.data_digest,
        paths=dict(paths or {}),
        parity=dict(parity) if parity else None,
        history=tuple(dict(row) for row in history),
        run=run,
        created=created,
        commit=commit,
        weights=weights,
    )


def split_outcome(outcome: str) -> tuple[Kind, str]:
    """What became of the candidate, and the rest of the sentence, which begins with the version if there is one.

    Raises:
      InputError: it is not a sentence of promote or hold.
    """
    kind, _, rest = outcome.partition(": ")
    if rest:
        for known in KINDS:
            if kind == known:
                return known, rest
    begin = " nor ".join(f"'{known}: '" for known in KINDS)
    raise InputError(f"outcome: {outcome!r} begins with neither {begin}; pass promote's or hold's")


def _champion(champion: Evaluation | NoEvaluation, version: str) -> ChampionScores:
    if isinstance(champion, NoEvaluation):
        return ChampionScores(status=champion.status, reason=champion.reason, version=version)
    return ChampionScores(
        status="scored",
        version=version,
        data_digest=champion.data_digest,
        metrics=dict(champion.metrics),
        per_class=champion.per_class,
    )


def installed_versions() -> dict[str, str]:
    """Versions of Python and of the packages that can change a result; packages that are not installed are left out."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def write_summary(summary: Summary, uri: str) -> None:
    """Writes summary.json. NaN (a broken model's metric) becomes null, so that other tools can read the file."""
    content = {"schema_version": SUMMARY_SCHEMA, **asdict(summary)}
    write_text(uri, json.dumps(_strict(content), indent=1, allow_nan=False) + "\n")


def read_summary(uri: str) -> Summary:
    """Reads summary.json.

    Raises:
      InputError: there is no such file, or it is not JSON, has another schema version, an unknown or missing key, or a
        value of another type.
    """
    return read(Summary, read_text(uri, RUN_AGAIN), uri, RUN_AGAIN, schema_version=SUMMARY_SCHEMA)


def _strict(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(item) for item in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value


def read_history(uri: str) -> list[dict[str, Any]]:
    """Rows of history.jsonl, which training writes: one JSON object per line.

    Raises:
      InputError: there is no such file, or a line is not a JSON object.
    """
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(read_text(uri, TRAIN_AGAIN).splitlines(), start=1):
        where = f"{uri}: line {number}"
        row = parse(line, where, TRAIN_AGAIN)
        if not isinstance(row, dict):
            raise InputError(f"{where}: is not an object; {TRAIN_AGAIN}")
        rows.append(row)
    return rows
