"""The folder of a run: creating, resuming, finishing."""

import json
import os
from pathlib import Path

import pytest

from beam_preprocess.base.errors import InputError
from pipeline.local import run_folder

EARLIER = Path("../earlier/stages")
"""Stages of the run whose checkpoint is reused."""
ARGUMENTS = {"train_images": "/data/train", "config": "gate: {}\n", "seed": 3}


def finished(folder: run_folder.RunFolder) -> None:
    report = folder.stages / "report"
    report.mkdir()
    (report / "report.html").write_text("<html>")
    (report / "label_errors.json").write_text("{}")
    for stage in (folder.stages / "export", folder.stages / "evaluate-candidate", EARLIER / "train"):
        (folder.path / stage).mkdir(parents=True)
    predictions = folder.stages / "evaluate-candidate" / "predictions.json"
    predictions.write_text("[]")
    paths = {
        "model": str(folder.stages / "export"),
        "checkpoint": str(folder.path / EARLIER / "train"),
        "predictions": str(predictions),
    }
    (report / "summary.json").write_text(json.dumps({"ap": 0.5, "seconds": {"train": 1.0}, "paths": paths}))


def test_create_and_resume_give_the_same_arguments(tmp_path: Path) -> None:
    made = run_folder.create(tmp_path / "runs", ARGUMENTS)
    arguments = made.arguments()
    assert arguments["config"] == ARGUMENTS["config"]
    assert arguments["work_dir"] == str(made.stages)
    assert arguments["run_id"].startswith(made.path.name)
    (made.pipeline_root / "left").mkdir()
    again = run_folder.resume(tmp_path / "runs" / "latest")
    assert again.arguments() == arguments
    assert list(again.pipeline_root.iterdir()) == []


def test_two_runs_in_one_second_have_two_folders_and_latest_is_the_second(tmp_path: Path) -> None:
    first, second = (run_folder.create(tmp_path, ARGUMENTS) for _ in range(2))
    assert first.path != second.path
    assert first.arguments()["run_id"] != second.arguments()["run_id"]
    assert (tmp_path / "latest").resolve() == second.path
    assert os.readlink(tmp_path / "latest") == second.path.name, "relative: the parent folder can be moved"


def test_finish_puts_the_result_at_the_top(tmp_path: Path) -> None:
    folder = run_folder.create(tmp_path, ARGUMENTS)
    finished(folder)
    for _ in range(2):  # a resumed run finishes again
        summary = folder.finish({"train": 2.0, "total": 3.0})
    assert summary == json.loads(folder.summary.read_text())
    assert (summary["ap"], summary["seconds"]) == (0.5, {"train": 2.0, "total": 3.0})
    assert folder.report.read_text() == "<html>"
    assert os.readlink(folder.path / "label_errors.json") == "stages/report/label_errors.json"
    assert not (folder.path / "label_errors.coco.json").is_symlink(), "a link to a file that the stage did not write"
    assert (folder.path / "saved_model").resolve() == folder.stages / "export"
    assert (folder.path / "checkpoint").resolve() == tmp_path / "earlier" / "stages" / "train"
    assert os.readlink(folder.path / "saved_model") == "stages/export", "relative: the parent folder can be moved"
    assert json.loads((folder.path / "predictions.json").read_text()) == []
    assert not [path for path in folder.path.iterdir() if path.name.startswith(".")]


def test_resume_refuses_a_folder_that_is_not_a_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no run\.json"):
        run_folder.resume(tmp_path)


def test_resume_refuses_a_run_that_was_moved(tmp_path: Path) -> None:
    made = run_folder.create(tmp_path / "runs", ARGUMENTS)
    moved = made.path.rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="move the folder back"):
        run_folder.resume(moved)


def test_changes_are_kept_for_the_next_resume(tmp_path: Path) -> None:
    made = run_folder.create(tmp_path, ARGUMENTS)
    made.change("gate: {min_ap: 0.1}\n", ["gate.min_ap=0.1"])
    made.change("gate: {min_ap: 0.2}\n", ["gate.min_ap=0.2"])
    again = run_folder.resume(made.path)
    assert again.arguments() == {**made.arguments(), "config": "gate: {min_ap: 0.2}\n"}
    assert again.arguments()["seed"] == 3
    assert json.loads((made.path / "run.json").read_text())["changes"] == ["gate.min_ap=0.1", "gate.min_ap=0.2"]


def test_paths_are_shown_relative_to_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_folder.shown(tmp_path / "runs" / "1") == "runs/1"
    assert run_folder.shown(tmp_path.parent) == str(tmp_path.parent)
