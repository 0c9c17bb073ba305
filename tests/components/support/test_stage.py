"""A stage's folder, seconds and time limit."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from kfp import dsl

from beam_preprocess.base.cores import usable_cores
from beam_preprocess.base.errors import InputError
from components.support.events import EVENTS, read_events
from components.support.run_options import RunOptions, write_options
from components.support.stage import CORES, TIMEOUT, WORK_DIR, cores, folder_of, stage, step, threads


def backend(run: Path, **options: str) -> dsl.Artifact:
    """An output where a backend puts it, in a run with these options."""
    write_options(RunOptions(**options), f"{run}/data-check/report")
    return dsl.Artifact(uri=f"{run}/train/checkpoint")


def test_stage_points_the_artifact_into_the_work_dir_and_takes_the_time(tmp_path: Path) -> None:
    artifact = backend(tmp_path, work_dir="gs://bucket/run/")
    with stage("train", artifact) as output:
        assert output == artifact.uri == "gs://bucket/run/train"
    assert artifact.metadata["seconds"] >= 0


def test_an_artifact_is_handed_on_by_its_ready_file(tmp_path: Path) -> None:
    artifact = backend(tmp_path)
    with stage("train", artifact, ready="train.json") as output:
        assert artifact.uri == output, "the file is there at the end"
    assert artifact.uri == f"{output}/train.json"
    assert folder_of(artifact) == output


def test_stage_leaves_the_backends_place_without_a_work_dir(tmp_path: Path) -> None:
    with stage("train", backend(tmp_path)) as output:
        assert output == f"{tmp_path}/train/checkpoint"


def test_stage_refuses_a_run_without_options(tmp_path: Path) -> None:
    artifact = dsl.Artifact(uri=f"{tmp_path}/a/b/c")
    with (
        pytest.raises(InputError, match=r"run-options.json: missing; the stage 'check the data'"),
        stage("x", artifact),
    ):
        pytest.fail("the stage began")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("time.sleep(60)", ["error: stage 'slow' took longer than its limit of 0.3 s", "timeout_hours", "line 6"]),
        # PyDLL keeps the interpreter's lock: no Python code can print anything.
        ("ctypes.PyDLL(None).sleep(60)", ["Timeout (0:00:00.6", "line 6"]),
    ],
    ids=["in Python", "in native code that keeps the lock"],
)
def test_a_stage_over_its_limit_ends_the_process(body: str, expected: list[str]) -> None:
    program = f"""
import ctypes, time
from types import SimpleNamespace
from components.support import stage
stage.GRACE_SECONDS = 0.3
with stage.stage("slow", SimpleNamespace(uri="x", metadata=dict())): {body}
print("came to its end")
"""
    process = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, TIMEOUT: "0.3", WORK_DIR: "runs"},
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert process.returncode == 1
    assert process.stdout == ""
    for text in expected:
        assert text in process.stderr


def test_a_stage_within_its_limit_continues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TIMEOUT, "30")
    artifact = backend(tmp_path)
    with stage("train", artifact):
        assert any(isinstance(thread, threading.Timer) for thread in threading.enumerate())
    assert artifact.metadata["seconds"] < 30
    assert not any(isinstance(t, threading.Timer) and not t.finished.is_set() for t in threading.enumerate())


@pytest.mark.parametrize(("asked", "found"), [(None, usable_cores()), ("1", 1), ("100000", usable_cores())])
def test_cores(asked: str | None, found: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CORES, raising=False)
    if asked:
        monkeypatch.setenv(CORES, asked)
    assert cores() == found


def test_the_environment_can_give_the_folder_and_the_events_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the local runner does. The metadata are part of kfp's cache key there: they hold no seconds."""
    monkeypatch.setenv(WORK_DIR, str(tmp_path))
    monkeypatch.setenv(EVENTS, str(tmp_path / "events.jsonl"))
    artifact = dsl.Artifact(uri="backend/x")
    with stage("preprocess-train", artifact) as output:
        assert output == f"{tmp_path}/preprocess-train"
    assert artifact.metadata == {}
    with stage("data_check", artifact, title="check the data"), step("inner"):
        pass
    names = [(event.kind, event.stage) for event in read_events(tmp_path / "events.jsonl")[0]]
    assert names == [
        ("start", "preprocess train"),
        ("end", "preprocess train"),
        ("start", "check the data"),
        ("start", "inner"),
        ("end", "inner"),
        ("end", "check the data"),
    ]


def test_threads_are_few() -> None:
    assert 1 <= threads() <= 4
