"""Promote and hold read the gate's decision, and refuse a damaged one."""

from pathlib import Path

import pytest

from beam_preprocess.base.errors import InputError
from components.hold import hold
from components.promote import promote
from tests.components.examples import artifact_with, handed_on, saved_model


def test_a_damaged_decision_is_neither_promoted_nor_held(tmp_path: Path) -> None:
    decision = artifact_with(tmp_path / "decision", "decision.json", "{")
    saved_model(tmp_path / "model")
    with pytest.raises(InputError, match=r"decision\.json"):
        hold(decision=decision)
    with pytest.raises(InputError, match=r"decision\.json"):
        promote(
            decision=decision,
            model=handed_on(tmp_path / "model" / "saved_model.pb"),
            candidate=handed_on(tmp_path / "candidate" / "evaluation.json"),
            registry=str(tmp_path / "registry"),
            config="gate: {}",
            run_id="run-1",
        )
    assert not (tmp_path / "registry" / "aliases.json").exists()
