"""`summary.json`: one run in one file, for the terminal's table, the report and whoever compares runs."""

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib import metadata
from typing import Any

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.files import parse_json, read_text, write_text
from trainer.coco.metrics import METRIC_NAMES
from trainer.promotion.decision import Decision
from trainer.promotion.evaluation import Evaluation, NoEvaluation

SCHEMA_VERSION = 1

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


def build_summary(
    *,
    candidate: Evaluation,
    champion: Evaluation | NoEvaluation,
    decision: Decision,
    outcome: str,
    config: str,
    data: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]] = (),
    seconds: Mapping[str, float] | None = None,
    paths: Mapping[str, str] | None = None,
    parity: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The summary of one run, JSON-able.

    Args:
      candidate: the new model's evaluation.
      champion: the champion's on the same images, or why there is none.
      decision: what the gate decided.
      outcome: what promote or hold returned: "promoted: v0002 (was v0001)" or "held: …".
      config: the run's configuration, YAML text.
      data: "train" and "val" to facts of their data (manifest fields, or data_digest and counts).
      history: rows of history.jsonl.
      seconds: stage to seconds.
      paths: what the run wrote, by name.
      parity: content of the model's parity.json, or None.

    Raises:
      InputError: an outcome that is neither promoted nor held.
    """
    intervals = asdict(decision)
    kind, _, rest = outcome.partition(": ")
    if kind not in ("promoted", "held") or not rest:
        raise InputError(
            f"outcome: {outcome!r} begins with neither 'promoted: ' nor 'held: '; pass promote's or hold's"
        )
    return {
        "schema_version": SCHEMA_VERSION,
        **{name: candidate.metrics.get(name) for name in METRIC_NAMES},
        "per_class": [asdict(entry) for entry in candidate.per_class],
        "images": candidate.images_scored,
        "detections": candidate.detections,
        "objects_unusable": candidate.objects_unusable,
        "decision": {
            "outcome": kind,
            "sentence": outcome,
            "champion_version": decision.champion_version,
            "new_version": rest.split(" ")[0] if kind == "promoted" else "",
            "rules": [asdict(rule) for rule in decision.rules],
            "ap_interval": intervals.get("ap_interval"),
            "intervals": intervals.get("intervals"),
        },
        "champion": _champion(champion, decision.champion_version),
        "seconds": dict(seconds or {}),
        "versions": installed_versions(),
        "config": config,
        "data": dict(data),
        "data_digest": candidate.data_digest,
        "paths": dict(paths or {}),
        "parity": dict(parity) if parity else None,
        "history": [dict(row) for row in history],
    }


def _champion(champion: Evaluation | NoEvaluation, version: str) -> dict[str, Any]:
    if isinstance(champion, NoEvaluation):
        return {"status": champion.status, "reason": champion.reason, "version": version}
    return {
        "status": "scored",
        "version": version,
        "data_digest": champion.data_digest,
        "metrics": dict(champion.metrics),
        "per_class": [asdict(entry) for entry in champion.per_class],
    }


def installed_versions() -> dict[str, str]:
    """Python's version and those of the packages that shape a result; absent ones are left out."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def write_summary(summary: Mapping[str, Any], uri: str) -> None:
    """Writes summary.json. NaN (a broken model's metric) becomes null: other tools must be able to read it."""
    write_text(uri, json.dumps(_strict(summary), indent=1, allow_nan=False) + "\n")


def _strict(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(item) for item in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value


def read_history(uri: str) -> list[dict[str, Any]]:
    """Rows of history.jsonl, which training writes: one JSON object a line.

    Raises:
      InputError: no such file, or a line that is no JSON object.
    """
    text = read_text(uri, "it is written by python -m trainer.train")
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        row = parse_json(line, f"{uri}: line {number}", "train again")
        if not isinstance(row, dict):
            raise InputError(f"{uri}: line {number}: is no object; train again")
        rows.append(row)
    return rows
