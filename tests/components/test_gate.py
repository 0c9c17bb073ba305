"""The decision, and what promote and hold make of it."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
from kfp import dsl

from components.gate import gate
from components.hold import hold
from components.promote import promote
from components.support.stage import WORK_DIR
from tests.components.examples import evaluation_of, handed_on, saved_model
from tests.trainer.made_evaluation import proven, table_with, write_evaluation
from trainer.promotion.decision import read_decision
from trainer.promotion.evaluation import NoEvaluation
from trainer.promotion.publish import PromotionRefused
from trainer.registry.base import CHALLENGER, CHAMPION
from trainer.registry.digest import model_digest
from trainer.registry.local import LocalRegistry


@pytest.mark.parametrize(
    ("ap", "min_ap", "approval", "answer"),
    [
        (0.6, 0.5, "none", "promote"),
        (0.5, 0.5, "none", "promote"),
        (0.6, 0.5, "required", "ask"),
        (0.4, 0.5, "required", "hold"),
        (float("nan"), 0.0, "none", "hold"),
    ],
)
def test_gate_then_promote_or_hold(
    tmp_path: Path, ap: float, min_ap: float, approval: str, answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(WORK_DIR, str(tmp_path))
    decision = dsl.Artifact(uri="backend/decision")
    nobody = NoEvaluation(status="none", reason="no champion")
    page = dsl.Markdown(uri="backend/page")
    folder = saved_model(tmp_path / "model")
    model = handed_on(tmp_path / "model" / "saved_model.pb")
    scored = replace(evaluation_of(ap), model_digest=model_digest(folder), parity={"passed": True})
    table = table_with(0.0 if math.isnan(ap) else ap)
    if not math.isnan(ap):
        scored = proven(scored, table)
    write_evaluation(tmp_path / "candidate", scored, table)
    none = tmp_path / "none.json"
    none.write_text(nobody.to_json())
    config = f"gate: {{min_ap: {min_ap}, approval: {approval}}}"
    promoted = answer != "hold"
    given = gate(
        candidate=handed_on(tmp_path / "candidate" / "evaluation.json"),
        champion=handed_on(none),
        champion_version="",
        best=handed_on(none),
        best_version="",
        page=page,
        val_objects=100,
        config=config,
        decision=decision,
    )
    assert given == answer
    assert read_decision(f"{decision.uri}/decision.json").promote is promoted
    heading = Path(page.uri).read_text().splitlines()[0]
    assert heading == {"promote": "# Promote", "ask": "# Promote, once somebody approves it", "hold": "# Hold"}[answer]
    registry = str(tmp_path / "registry")
    scores = handed_on(tmp_path / "candidate" / "evaluation.json")
    run = {"decision": decision, "model": model, "candidate": scores, "registry": registry, "run_id": "run-1"}
    if promoted:
        with pytest.raises(PromotionRefused, match="other thresholds"):
            promote(**run, config="gate: {min_ap: 0.01}")
        outcome = promote(**run, config=config)
        assert outcome.startswith(
            "promoted: v0001" if answer == "promote" else "pending approval: v0001 (no champion yet)"
        )
        alias = CHAMPION if answer == "promote" else CHALLENGER
        assert LocalRegistry(registry).alias(alias) == "v0001"
    else:
        assert hold(decision=decision).startswith("held: ")
        with pytest.raises(PromotionRefused):  # also when a runner takes the wrong branch
            promote(**run, config=config)
        assert LocalRegistry(registry).alias(CHAMPION) is None
