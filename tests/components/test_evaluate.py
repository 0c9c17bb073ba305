"""Scoring a model, or noting why there is no score."""

import json
from pathlib import Path

import pytest
from kfp import dsl

from components.evaluate import evaluate
from components.support.stage import WORK_DIR
from tests.components.examples import saved_model
from trainer.promotion.evaluation import NoEvaluation, read_evaluation


@pytest.mark.parametrize("status", ["none", "failed"])
def test_without_a_champion_the_evaluation_gives_the_reason(
    tmp_path: Path, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(WORK_DIR, str(tmp_path))
    evaluation = dsl.Artifact(uri="backend/evaluation")
    evaluate(
        model="",
        model_digest="",
        status=status,
        reason="because",
        images="images",
        annotations="annotations",
        data_digest="d1",
        name="evaluate-champion",
        evaluation=evaluation,
    )
    assert read_evaluation(evaluation.uri) == NoEvaluation(status=status, reason="because")


@pytest.mark.parametrize(
    ("status", "raises"),
    [("ready", False), ("candidate", True)],
    ids=["a champion that can't be loaded is held against it", "a candidate that can't be loaded ends the run"],
)
def test_a_model_that_cannot_be_loaded(
    tmp_path: Path, status: str, raises: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(WORK_DIR, str(tmp_path))
    annotations = tmp_path / "val.json"
    annotations.write_text(json.dumps({"images": [], "annotations": [], "categories": []}))
    arguments = {
        "model": saved_model(tmp_path / "model", b"broken"),
        "model_digest": "",
        "status": status,
        "reason": "",
        "images": str(tmp_path),
        "annotations": str(annotations),
        "data_digest": "d1",
        "name": "scored",
        "evaluation": dsl.Artifact(uri="backend/evaluation"),
    }
    if raises:
        with pytest.raises(Exception, match=r"\w"):
            evaluate(**arguments)
        assert not (tmp_path / "scored" / "evaluation.json").exists()
    else:
        evaluate(**arguments)
        found = read_evaluation(str(tmp_path / "scored" / "evaluation.json"))
        assert isinstance(found, NoEvaluation)
        assert found.status == "failed"
