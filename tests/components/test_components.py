"""Components are thin, and do right what is left for them to do. Their functions are called directly, without KFP."""

import ast
import hashlib
import json
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from kfp import dsl

from components.evaluate import evaluate
from components.gate import gate
from components.hold import hold
from components.promote import promote
from components.resolve_champion import resolve_champion
from components.support.stage import CORES, TIMEOUT, cores, stage
from trainer.coco.match_table import MatchTable, to_bytes
from trainer.coco.metrics import METRIC_NAMES
from trainer.promotion.decision import read_decision
from trainer.promotion.evaluation import Evaluation, NoEvaluation, read_evaluation
from trainer.promotion.publish import PromotionRefused
from trainer.registry.base import CHAMPION
from trainer.registry.digest import model_digest
from trainer.registry.local import LocalRegistry

FOLDER = Path(__file__).parents[2] / "components"
COMPONENTS = [
    path for path in FOLDER.glob("*.py") if path.stem != "stage" and f"\ndef {path.stem}(" in path.read_text()
]


@pytest.mark.parametrize("path", COMPONENTS, ids=lambda path: path.stem)
def test_thin_and_self_contained(path: Path) -> None:
    """KFP ships the function's source alone: the module may hold nothing else that the body needs."""
    text = path.read_text()
    assert len(text.splitlines()) <= 40
    kinds = [type(node) for node in ast.parse(text).body if not isinstance(node, ast.ImportFrom)]
    assert kinds == [ast.Expr, ast.FunctionDef]
    assert f"def {path.stem}(" in text


def test_every_component_has_its_time_limit() -> None:
    bodies = {path.stem: path.read_text() for path in COMPONENTS if path.stem != "unchanged"}  # which only prints
    assert len(bodies) == 12
    for name, text in bodies.items():
        assert " with stage(" in text or " with limited(" in text, name


def test_stage_points_the_artifact_into_the_work_dir_and_takes_the_time() -> None:
    artifact = dsl.Artifact(uri="backend/x")
    with stage("train", artifact, "gs://bucket/run/") as output:
        assert output == artifact.uri == "gs://bucket/run/train"
    assert artifact.metadata["seconds"] >= 0


def test_stage_leaves_the_backends_place_without_a_work_dir() -> None:
    artifact = dsl.Artifact(uri="backend/x")
    with stage("train", artifact, "") as output:
        assert output == "backend/x"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("time.sleep(60)", ["error: stage slow took longer than its limit of 0.3 s", "timeout_hours", "line 6"]),
        # PyDLL keeps the interpreter's lock: no Python code can say anything.
        ("ctypes.PyDLL(None).sleep(60)", ["Timeout (0:00:00.6", "line 6"]),
    ],
    ids=["in Python", "in native code that keeps the lock"],
)
def test_a_stage_over_its_limit_ends_the_process(body: str, says: list[str]) -> None:
    program = f"""
import ctypes, time
from types import SimpleNamespace
from components import stage
stage.GRACE_SECONDS = 0.3
with stage.stage("slow", SimpleNamespace(uri="x", metadata=dict()), ""): {body}
print("came to its end")
"""
    process = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, TIMEOUT: "0.3"},
        cwd=FOLDER.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert process.returncode == 1
    assert process.stdout == ""
    for text in says:
        assert text in process.stderr


def test_a_stage_within_its_limit_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TIMEOUT, "30")
    artifact = dsl.Artifact(uri="backend/x")
    with stage("train", artifact, ""):
        assert any(isinstance(thread, threading.Timer) for thread in threading.enumerate())
    assert artifact.metadata["seconds"] < 30
    assert not any(isinstance(t, threading.Timer) and not t.finished.is_set() for t in threading.enumerate())


@pytest.mark.parametrize(("asked", "found"), [(None, 1), ("1", 1), ("100000", os.cpu_count())])
def test_cores(asked: str | None, found: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CORES, raising=False)
    if asked:
        monkeypatch.setenv(CORES, asked)
    assert cores() == found


def saved_model(folder: Path, content: bytes = b"model") -> str:
    folder.mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(content)
    return str(folder)


def evaluation_of(ap: float) -> Evaluation:
    return Evaluation(
        model="model",
        data_digest="d1",
        images_expected=3,
        images_scored=3,
        images_missing=0,
        images_missing_ids=(),
        images_repeated=0,
        detections=9,
        objects_unusable=0,
        metrics=dict.fromkeys(METRIC_NAMES, ap),
        per_class=(),
        seconds=1.0,
    )


def artifact_with(folder: Path, name: str, text: str) -> dsl.Artifact:
    folder.mkdir()
    (folder / name).write_text(text)
    return dsl.Artifact(uri=str(folder))


def test_resolve_champion_none_then_ready_then_damaged(tmp_path: Path) -> None:
    root = str(tmp_path / "registry")
    champion = dsl.Model(uri="backend/champion")
    assert resolve_champion(registry=root, alias="champion", known="", champion=champion) == ""
    assert champion.metadata["status"] == "none"

    registry = LocalRegistry(root)
    version = registry.publish(saved_model(tmp_path / "model"), {}, key="run-1")
    registry.swap_alias(CHAMPION, version, expected=None)
    champion = dsl.Model(uri="backend/champion")
    assert resolve_champion(registry=root, alias="champion", known="", champion=champion) == version
    assert champion.metadata["status"] == "ready"
    assert (Path(champion.uri) / "saved_model.pb").read_bytes() == b"model"

    (Path(champion.uri) / "version.json").unlink(missing_ok=True)
    for marker in (tmp_path / "registry").rglob("version.json"):
        marker.unlink()
    champion = dsl.Model(uri="backend/champion")
    assert resolve_champion(registry=root, alias="champion", known="", champion=champion) == version
    assert champion.metadata["status"] == "failed"
    assert version in champion.metadata["reason"]


@pytest.mark.parametrize("status", ["none", "failed"])
def test_a_champion_that_is_not_there_is_said_and_not_scored(tmp_path: Path, status: str) -> None:
    model = dsl.Model(uri=str(tmp_path / "nothing"), metadata={"status": status, "reason": "because"})
    evaluation = dsl.Artifact(uri="backend/evaluation")
    evaluate(
        model=model,
        images="images",
        annotations="annotations",
        data_digest="d1",
        name="evaluate-champion",
        work_dir=str(tmp_path),
        evaluation=evaluation,
    )
    assert read_evaluation(f"{evaluation.uri}/evaluation.json") == NoEvaluation(status=status, reason="because")


@pytest.mark.parametrize(
    ("metadata", "raises"),
    [({"status": "ready"}, False), ({}, True)],
    ids=["a champion that can't be loaded is held against it", "a candidate that can't be loaded ends the run"],
)
def test_a_model_that_cannot_be_loaded(tmp_path: Path, metadata: dict[str, str], raises: bool) -> None:
    annotations = tmp_path / "val.json"
    annotations.write_text(json.dumps({"images": [], "annotations": [], "categories": []}))
    arguments = {
        "model": dsl.Model(uri=saved_model(tmp_path / "model", b"broken"), metadata=metadata),
        "images": str(tmp_path),
        "annotations": str(annotations),
        "data_digest": "d1",
        "name": "scored",
        "work_dir": str(tmp_path),
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
    if promoted:
        assert promote(decision=decision, model=model, registry=registry, run_id="run-1").startswith("promoted: v0001")
        assert LocalRegistry(registry).alias(CHAMPION) == "v0001"
    else:
        assert hold(decision=decision).startswith("held: ")
        with pytest.raises(PromotionRefused):  # also when a runner takes the wrong branch
            promote(decision=decision, model=model, registry=registry, run_id="run-1")
        assert LocalRegistry(registry).alias(CHAMPION) is None
