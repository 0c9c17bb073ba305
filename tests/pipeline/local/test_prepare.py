"""From a request to the folder of a run."""

import json
from pathlib import Path

import pytest

from beam_preprocess.base.config_text import ConfigText
from beam_preprocess.base.errors import InputError
from pipeline.graph.layouts import coco_layout
from pipeline.graph.request import RunRequest
from pipeline.local import prepare, run_folder
from pipeline.local.demo_data import DemoData, generate
from pipeline.local.prepare import LocalOptions


@pytest.fixture
def earlier(tmp_path: Path) -> run_folder.RunFolder:
    """The folder of a run on tiny data."""
    small = DemoData(train_images=1, val_images=1, height=(64, 64), width=(64, 64), side=(20.0, 40.0))
    data = coco_layout(str(generate(tmp_path / "coco", small)))
    arguments = {**data, "config": "gate: {min_ap: 0.9}\n", "registry": str(tmp_path / "registry"), "seed": 3}
    return run_folder.create(tmp_path / "runs", arguments)


def resume(earlier: run_folder.RunFolder, *changes: str) -> run_folder.RunFolder:
    return prepare.resumed_run(RunRequest(changes=changes), LocalOptions(resume=str(earlier.path)))


def test_a_resumed_run_is_what_it_was(earlier: run_folder.RunFolder) -> None:
    before = earlier.arguments()
    assert resume(earlier).arguments() == before


@pytest.mark.parametrize("change", ["gate.min_ap=0.1", "export.parity_images=4", "gate={min_ap: 0.1}"])
def test_a_change_that_only_judges_is_kept(
    change: str, earlier: run_folder.RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = ConfigText(text="gate: {min_ap: 0.1}\n", where="made")
    monkeypatch.setattr(prepare, "resolve", lambda name, changes: found)
    before = earlier.arguments()
    assert resume(earlier, change).arguments() == {**before, "config": found.text}
    assert json.loads((earlier.path / "run.json").read_text())["changes"] == [change]


@pytest.mark.parametrize(
    "change", ["trainer.train_steps=9", "preprocess.max_reject_fraction=0.5", "task={}", "gates.min_ap=1", "min_ap=1"]
)
def test_a_change_that_would_train_again_is_refused(change: str, earlier: run_folder.RunFolder) -> None:
    before = earlier.arguments()
    with pytest.raises(InputError, match=r"--resume takes keys of gate: and export: only"):
        resume(earlier, "gate.min_ap=0.1", change)
    assert earlier.arguments() == before


def test_data_that_is_gone_is_refused(earlier: run_folder.RunFolder, tmp_path: Path) -> None:
    (tmp_path / "coco").rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="--train-images"):
        resume(earlier)
