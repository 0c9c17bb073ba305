"""What the report takes from the stages, and which run an output belongs to."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from kfp import dsl

from components.support import report_inputs
from components.support.events import EVENTS, Event
from components.support.report_inputs import run_name


def test_seconds_of_a_service_are_in_the_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(EVENTS, raising=False)
    stages = {"train": dsl.Model(uri="x", metadata={"seconds": 3})}
    assert report_inputs._seconds(stages) == {"train": 3.0}


def test_seconds_of_a_local_run_are_in_its_events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stage that the cache answered has none."""
    path = tmp_path / "events.jsonl"
    events = [Event(kind="start", stage="train", time=1.0), Event(kind="end", stage="train", time=3.5)]
    path.write_text("".join(json.dumps(asdict(event)) + "\n" for event in events))
    monkeypatch.setenv(EVENTS, str(path))
    stages = {name: dsl.Artifact(uri=name) for name in ("preprocess train", "train")}
    assert report_inputs._seconds(stages) == {"train": 2.5}


def test_a_model_without_parity_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report_inputs._parity(str(tmp_path)) is None
    assert "warning: the report has no parity" in capsys.readouterr().out
    (tmp_path / "assets.extra").mkdir()
    (tmp_path / "assets.extra" / "parity.json").write_text('{"passed": true}')
    assert report_inputs._parity(str(tmp_path)) == {"passed": True}


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("/data/runs/20261122-030000/stages/gate", "20261122-030000"),
        ("/data/runs/20261122-030000-2/stages/gate/", "20261122-030000-2"),
        (
            "gs://b/root/1234/centernet-training-20261124-030000/gate_-8832/decision",
            "centernet-training-20261124-030000",
        ),
        ("gs://b/root/1234/job-1/gate-2_77/decision", "job-1"),
        ("s3://b/somewhere/else", ""),
        ("", ""),
    ],
)
def test_run_name(uri: str, name: str) -> None:
    assert run_name(uri) == name
