"""From a request to the folder of a run."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from beam_preprocess.base.config_text import ConfigText
from beam_preprocess.base.errors import InputError
from pipeline.graph.layouts import coco_layout
from pipeline.graph.request import RunRequest
from pipeline.local import prepare, run_folder
from pipeline.local.demo_data import DemoData, generate
from pipeline.local.prepare import LocalOptions
from tests.cases.made_cases import Made, make
from trainer.config.sections import parse_config
from trainer.registry.local import LocalRegistry


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
    "change",
    [
        "trainer.train_steps=9",
        "preprocess.max_reject_fraction=0.5",
        "task={}",
        "gates.min_ap=1",
        "min_ap=1",
        "export.flip=true",
        "export={flip: true}",
    ],
)
def test_a_change_of_the_model_is_refused(change: str, earlier: run_folder.RunFolder) -> None:
    before = earlier.arguments()
    with pytest.raises(InputError, match=r"--resume takes keys of gate: and the bounds of export: \(parity_images, "):
        resume(earlier, "gate.min_ap=0.1", change)
    assert earlier.arguments() == before


def test_a_run_that_has_promoted_is_not_judged_again(earlier: run_folder.RunFolder, tmp_path: Path) -> None:
    """Its report would say `held` about the champion, or about one that came before a rollback."""
    model = tmp_path / "model"
    model.mkdir()
    (model / "saved_model.pb").write_bytes(b"graph")
    store = LocalRegistry(earlier.arguments()["registry"])
    store.publish(str(model), {}, key=earlier.arguments()["run_id"])
    resume(earlier, "gate.min_ap=0.1")  # it lost a race, or waits for approval
    before = earlier.arguments()
    store.swap_alias("champion", "v0001", expected=None)
    with pytest.raises(InputError, match=r"--set gate\.min_ap=0\.2: the run has promoted v0001.*rollback"):
        resume(earlier, "gate.min_ap=0.2")
    assert resume(earlier).arguments() == before, "what was killed behind its promotion is resumed as it was"


def test_data_that_is_gone_is_refused(earlier: run_folder.RunFolder, tmp_path: Path) -> None:
    (tmp_path / "coco").rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="--train-images"):
        resume(earlier)


class NoConfigCheck:
    """In place of the check of Model Garden's sections, which takes seconds."""

    def __init__(self, config: ConfigText, valid: Path) -> None:
        self.config = config

    def wait(self) -> None: ...
    def stop(self) -> None: ...


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    """A data set of which training repeats annotation ids."""
    monkeypatch.setattr(prepare, "ConfigCheck", NoConfigCheck)
    made = make(tmp_path / "data")
    for annotation in made.train.annotations:
        annotation["id"] %= 10
    return made.write()


def new_run(folder: Path, **request: Any) -> run_folder.RunFolder:
    options = LocalOptions(runs_dir=str(folder / "runs"))
    named = {"config": "custom-small", "registry": str(folder / "registry")}
    return prepare.new_run(RunRequest(**named | request), options)


def test_the_first_lines_warn_and_estimate(made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = new_run(tmp_path, **made.data())
    start, first, second, third = capsys.readouterr().out.splitlines()
    assert start == "weights              from scratch"
    assert first == "warnings:"
    assert second.startswith("  - ") and "14 of 16 annotations repeat an id" in second
    assert third.startswith("estimate             disk ")
    assert [f"  - {warning}" for warning in folder.warnings()] == [second]


def test_a_run_without_steps_prepares_a_few_images(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "UNTRAINED_IMAGES", 3)
    changes = ("trainer.train_steps=0", "task.init_checkpoint=./nowhere", "task.init_checkpoint_modules=all")
    with pytest.raises(InputError, match=r"task\.init_checkpoint: \./nowhere: no checkpoint there"):
        new_run(tmp_path, **made.data(), changes=changes)
    (few,) = (tmp_path / "runs" / prepare.SPLITS).iterdir()
    content = json.loads(few.read_text())
    assert len(content["images"]) == 3 and content["categories"] == made.train.content["categories"]


@pytest.mark.parametrize(
    ("start", "message"),
    [
        ("efficientnet-lite", "no such weights, file or folder; did you mean efficientnet-lite0"),
        ("garden:resnet50", "garden:resnet50 is for ResNet-50, and task.model.backbone.type is hourglass; set"),
        ("od-api:hg104", "od-api:hg104 is for Hourglass-104, .* give --config coco-centernet-hourglass-published"),
    ],
)
def test_a_start_that_doesn_t_fit_starts_no_run(made: Made, tmp_path: Path, start: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        new_run(tmp_path, **made.data(), config="custom-small", changes=(f"task.init_checkpoint={start}",))
    assert not (tmp_path / "runs").exists()


def test_strict_refuses_a_run_before_it_starts(made: Made, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"repeat an id.*--strict makes this warning an error"):
        new_run(tmp_path, **made.data(), strict=True)
    assert not list((tmp_path / "runs").iterdir())


def test_a_disk_that_is_too_small_starts_no_run(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9 - 1000, 1000))
    with pytest.raises(InputError, match="the disk has 1 kB free"):
        new_run(tmp_path, **made.data())
    assert not list((tmp_path / "runs").iterdir())


def test_one_file_is_split_before_the_run(made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = made.data()
    train = {name: data[name] for name in ("train_images", "train_annotations")}
    arguments = new_run(tmp_path, **train, val_fraction=0.4).arguments()
    assert arguments["val_images"] == arguments["train_images"] == data["train_images"]
    for split in ("train", "val"):
        assert Path(arguments[f"{split}_annotations"]).parent == tmp_path / "runs" / ".splits"
    assert "split by image content (--val-fraction 0.4)" in capsys.readouterr().out


def test_roboflows_layout(made: Made, tmp_path: Path) -> None:
    root = tmp_path / "roboflow"
    root.mkdir()
    for split, name in (("train", "train"), ("val", "valid")):
        (tmp_path / "data" / split).rename(root / name)
        (tmp_path / "data" / f"{split}.json").rename(root / name / "_annotations.coco.json")
    arguments = new_run(tmp_path, coco_dir=str(root)).arguments()
    assert arguments["val_annotations"] == str(root / "valid" / "_annotations.coco.json")


def test_a_yolo_folder_is_named(made: Made, tmp_path: Path) -> None:
    root = tmp_path / "yolo"
    root.mkdir()
    (root / "data.yaml").write_text("train: images/train\nnames: [a]\n")
    with pytest.raises(InputError, match=r"--coco-dir .*yolo: a folder of YOLO labels .*as COCO"):
        new_run(tmp_path, coco_dir=str(root))
    (root / "data.yaml").unlink()
    with pytest.raises(InputError, match=r"has none of the annotation files annotations/instances_train2017.json, "):
        new_run(tmp_path, coco_dir=str(root))


def test_without_a_config_one_is_written_and_kept(
    made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The steps are given, so that this machine isn't measured."""
    changes = ("trainer.train_steps=40", "gate.min_ap=0.7")
    folder = new_run(tmp_path, **made.data(), config="", changes=changes)
    titles = [line[:20].strip() for line in capsys.readouterr().out.splitlines()]
    assert titles[:6] == ["input", "network", "training", "augmentation", "gate", "weights"]
    text = folder.config.read_text()
    config = parse_config(text)
    assert config.experiment["trainer"]["train_steps"] == 40 and config.gate.min_ap == 0.7
    assert config.experiment["task"]["init_checkpoint"] == "efficientnet-lite0"
    assert "# Height and width. The shape of the images" in text
    assert "Only refuses a model that finds nothing" not in text, "the user's value has no comment of ours"
    assert prepare.resumed_run(RunRequest(), LocalOptions(resume=str(folder.path))).config.read_text() == text


@pytest.mark.parametrize(
    ("options", "request_", "message"),
    [
        ({"minutes": 0.0}, {}, "--minutes 0: give the minutes"),
        ({"minutes": float("nan")}, {}, "--minutes nan: give the minutes"),
        ({"minutes": 5.0}, {"config": "custom-small"}, "--minutes 5: only for your own data without --config"),
        ({}, {"changes": ("trainer.train_step=4",)}, "train_step"),
        ({}, {"changes": ("task.init_checkpoint=efficientnet-lite",)}, "did you mean efficientnet-lite0"),
        ({}, {"changes": ("task.init_checkpoint=keras:resnet50",)}, "is for ResNet-50"),
        ({}, {"config": "custom-gpu"}, "file/centernet/weights/garden-resnet50: garden:resnet50 can't be kept there"),
    ],
)
def test_what_is_wrong_is_said_before_the_machine_is_measured(
    options: dict[str, Any],
    request_: dict[str, Any],
    message: str,
    made: Made,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    request = RunRequest(registry=str(tmp_path / "registry"), **made.data(), **request_)
    with pytest.raises(InputError, match=message):
        prepare.new_run(request, LocalOptions(runs_dir=str(tmp_path / "runs"), **options))
    assert not (tmp_path / "runs").exists()
