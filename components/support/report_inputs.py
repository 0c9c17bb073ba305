"""From the artifacts of all stages to the summary of the run."""

import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.files import read_json
from components.support.events import EVENTS, stage_seconds
from components.support.stage import Artifact, folder_of
from trainer.promotion.decision import read_decision
from trainer.promotion.evaluation import Evaluation, read_evaluation
from trainer.promotion.judge import read_champion
from trainer.promotion.summary import Summary, build_summary, read_history
from trainer.shared.commit import commit
from trainer.weights.origin import sentence

STAGE_FIX = "rerun the stage that writes it"
LEFT_OUT = ("shards", "examples", "over_limit")
"""Facts of a split that the summary does not repeat."""


def collect(
    outcome: str,
    config: str,
    data: Artifact,
    train_records: Artifact,
    checkpoint: Artifact,
    model: Artifact,
    candidate: Artifact,
    champion: Artifact,
    decision: Artifact,
) -> Summary:
    """The content of summary.json.

    Args:
      outcome: what promote or hold returned.
      config: the run's YAML text.
      data, train_records, checkpoint, model, candidate, champion, decision: the stages' output artifacts.

    Raises:
      InputError: a file of a stage is missing or damaged.
    """
    scored = read_evaluation(candidate.uri)
    assert isinstance(scored, Evaluation), "a candidate that cannot be scored ends the run before the report"
    facts = {
        "train": read_json(train_records.uri, STAGE_FIX),
        # There are no records of the validation images: their facts are the data check's.
        "val": read_json(f"{data.uri}/data.json", STAGE_FIX)["val"],
    }
    stages = {
        "check the data": data,
        "preprocess train": train_records,
        "train": checkpoint,
        "export": model,
        "evaluate candidate": candidate,
        "evaluate champion": champion,
        "gate": decision,
    }
    return build_summary(
        candidate=scored,
        champion=read_champion(champion.uri),
        decision=read_decision(f"{decision.uri}/decision.json"),
        outcome=outcome,
        config=config,
        data={split: {k: v for k, v in values.items() if k not in LEFT_OUT} for split, values in facts.items()},
        history=read_history(f"{folder_of(checkpoint)}/history.jsonl"),
        seconds=_seconds(stages),
        parity=_parity(folder_of(model)),
        paths={
            "model": folder_of(model),
            "checkpoint": folder_of(checkpoint),
            "predictions": f"{folder_of(candidate)}/predictions.json",
            "evaluation": candidate.uri,
            "analysis": f"{folder_of(candidate)}/analysis.json",
            "decision": f"{decision.uri}/decision.json",
            "train_records": folder_of(train_records),
        },
        run=run_name(decision.uri),
        created=datetime.now(UTC).isoformat(timespec="minutes"),
        commit=commit(),
        weights=sentence(read_json(checkpoint.uri, STAGE_FIX)),
    )


def run_name(uri: str) -> str:
    """The run that an artifact belongs to: its folder on this machine, its job on a service; "" if unknown.

    Args:
      uri: of an output that is never taken from another run's cache.
    """
    found = re.search(r"([^/]+)/stages/[^/]+/?$|([^/]+)/[^/]+_-?\d+/[^/]+/?$", uri)
    return (found[1] or found[2]) if found else ""


def _seconds(stages: dict[str, Artifact]) -> dict[str, float]:
    """Seconds by stage: from the run's events, or from the artifacts where there are none.

    Stages whose result came from an earlier run's cache took no time, and are left out.
    """
    if path := os.environ.get(EVENTS):
        ended = stage_seconds(Path(path))
        return {name: ended[name] for name in stages if name in ended}
    return {name: float(artifact.metadata["seconds"]) for name, artifact in stages.items()}


def _parity(model: str) -> dict[str, Any] | None:
    """The model's parity.json; None for an export without validation images."""
    try:
        return dict(read_json(f"{model}/assets.extra/parity.json", "export again with validation images"))
    except InputError as error:
        print(f"warning: the report has no parity: {error}", flush=True)
        return None
