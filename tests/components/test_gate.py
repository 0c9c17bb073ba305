"""The decision, and what promote and hold make of it."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from kfp import dsl

from components.gate import gate
from components.hold import hold
from components.promote import promote
from tests.components.examples import artifact_with, evaluation_of, saved_model
from trainer.coco.match_table import MatchTable, to_bytes
from trainer.promotion.decision import read_decision
from trainer.promotion.evaluation import NoEvaluation
from trainer.promotion.publish import PromotionRefused
from trainer.registry.base import CHAMPION
from trainer.registry.digest import model_digest
from trainer.registry.local import LocalRegistry


@pytest.mark.parametrize(
    ("ap", "min_ap", "promoted"),
    [(0.6, 0.5, True), (0.5, 0.5, True), (0.4, 0.5, False), (float("nan"), 0.0, False)],
)
def test_gate_then_promote_or_hold(tmp_path: Path, ap: float, min_ap: float, promoted: bool) -> None:
    decision = dsl.Artifact(uri="backend/decision")
    nobody = NoEvaluation(status="none", reason="no champion")
    page = dsl.Markdown(uri="backend/page")
    model = dsl.Model(uri=saved_model(tmp_path / "model"))
    scored = replace(evaluation_of(ap), model_digest=model_digest(model.uri), parity={"passed": True})
    table = MatchTable(**{name: np.zeros(1, int) for name in MatchTable.__slots__})
    beside = {"matches.npz": to_bytes(table), "predictions.json": b"[]"}
    scored = replace(scored, files={name: hashlib.sha256(content).hexdigest() for name, content in beside.items()})
    candidate = artifact_with(tmp_path / "candidate", "evaluation.json", scored.to_json())
    for name, content in beside.items():
        (tmp_path / "candidate" / name).write_bytes(content)
    answer = gate(
        candidate=candidate,
        champion=artifact_with(tmp_path / "champion", "evaluation.json", nobody.to_json()),
        champion_version="",
        best=artifact_with(tmp_path / "best", "evaluation.json", nobody.to_json()),
        best_version="",
        page=page,
        config=f"gate: {{min_ap: {min_ap}}}",
        work_dir=str(tmp_path),
        decision=decision,
    )
    assert answer is promoted is read_decision(f"{decision.uri}/decision.json").promote
    heading = Path(page.uri).read_text().splitlines()[0]
    assert heading == ("# Promote" if promoted else "# Hold")
    registry = str(tmp_path / "registry")
    run = {"decision": decision, "model": model, "candidate": candidate, "registry": registry, "run_id": "run-1"}
    if promoted:
        assert promote(**run).startswith("promoted: v0001")
        assert LocalRegistry(registry).alias(CHAMPION) == "v0001"
    else:
        assert hold(decision=decision).startswith("held: ")
        with pytest.raises(PromotionRefused):  # also when a runner takes the wrong branch
            promote(**run)
        assert LocalRegistry(registry).alias(CHAMPION) is None
