"""`centernet run`: bad input is refused before the run, in one line that names the thing, the value and the fix."""

import json
import shutil
from pathlib import Path

import pytest

from pipeline.commands.run import FIXED_BY_RESUME, main, parser
from pipeline.graph.request import RunRequest
from pipeline.local import run as local_run
from pipeline.local.containers import IMAGE
from pipeline.local.demo_data import DemoData, generate
from pipeline.local.prepare import LocalOptions


@pytest.fixture(scope="module")
def coco(tmp_path_factory: pytest.TempPathFactory) -> Path:
    parameters = DemoData(train_images=2, val_images=2, height=(64, 64), width=(64, 64), side=(20.0, 40.0))
    return generate(tmp_path_factory.mktemp("data") / "coco", parameters)


ANNOTATIONS = "coco/annotations/instances_val2017.json"


def spoil(kind: str) -> None:
    """Makes one thing wrong in the current folder, which holds a copy of the data set."""
    path = Path(ANNOTATIONS)
    if kind == "missing file":
        path.unlink()
    elif kind == "not JSON":
        path.write_text("{images")
    elif kind == "not COCO":
        path.write_text(json.dumps({"pictures": []}))
    elif kind == "no image in common":
        content = json.loads(path.read_text())
        for image in content["images"]:
            image["file_name"] = f"other-{image['file_name']}"
        path.write_text(json.dumps(content))
    elif kind == "no image folder":
        shutil.rmtree("coco/val2017")
    elif kind == "file in the way":
        Path("taken").write_text("")


WATCH = ["--pipeline", "watch", "--images"]
RUN = ["--runs-dir", "runs", "--registry", "registry"]


@pytest.mark.parametrize(
    ("kind", "flags", "parts"),
    [
        ("missing file", ["--coco-dir", "coco"], ["instances_val2017.json", "no such annotation file"]),
        ("not JSON", ["--coco-dir", "coco"], ["instances_val2017.json", "JSON"]),
        ("not COCO", ["--coco-dir", "coco"], ["instances_val2017.json", "COCO"]),
        ("no image in common", ["--coco-dir", "coco"], ["--val-images", "none of the 2 images", "other-"]),
        ("no image folder", ["--coco-dir", "coco"], ["--val-images", "no such folder"]),
        ("nothing", ["--coco-dir", "coco", "--train-images", "d"], ["--coco-dir", "--train-images"]),
        ("nothing", ["--train-images", "coco/train2017"], ["--train-annotations", "all four data flags"]),
        ("nothing", ["--coco-dir", "coco", "--config", "nowhere.yaml"], ["nowhere.yaml", "custom-small"]),
        ("file in the way", ["--coco-dir", "coco", "--runs-dir", "taken/runs"], ["--runs-dir", "taken/runs"]),
        ("file in the way", ["--coco-dir", "coco", "--registry", "taken"], ["--registry", "taken"]),
        ("file in the way", ["--demo-data-dir", "coco/annotations", "--config", "custom-small"], ["--demo-data-dir"]),
        ("nothing", ["--pipeline", "watch", "--coco-dir", "coco"], ["--images: not given"]),
        ("nothing", ["--images", "coco/val2017"], ["--images coco/val2017", "--pipeline watch"]),
        (
            "nothing",
            [*WATCH, "coco/no", "--coco-dir", "coco", "--config", "demo"],
            ["--images coco/no", "no such folder"],
        ),
        ("nothing", [*WATCH, "coco/val2017", "--coco-dir", "coco"], ["--config: not given", "runs/latest/config.yaml"]),
        ("nothing", [*WATCH, "coco/val2017", "--only-if-changed"], ["--only-if-changed", "always compares"]),
        ("nothing", ["--coco-dir", "coco", "--max-reject-fraction", "7"], ["max_reject_fraction", "7"]),
    ],
)
def test_bad_input(
    kind: str,
    flags: list[str],
    parts: list[str],
    coco: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(coco, "coco")
    spoil(kind)
    assert main([*RUN, *flags]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    for part in parts:
        assert part in lines[0]
    assert not list(Path().glob("runs/2*")), "no run was started"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("preprocess: {image_siez: [64, 64]}", "preprocess.image_siez"),
        ("gait: {}", "gait"),
        ("task: {model: {backbon: {}}}", "backbon"),  # known to Model Garden's classes only
        ("gate: [", "not YAML"),
    ],
)
def test_unknown_config_key(
    config: str, message: str, coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.yaml").write_text(config)
    flags = ["--runs-dir", str(tmp_path / "runs"), "--registry", str(tmp_path / "registry")]
    assert main(["--coco-dir", str(coco), "--config", str(tmp_path / "mine.yaml"), *flags]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert message in lines[0]
    assert not list(tmp_path.glob("runs/2*")), "no run was started"


FIXED = {
    "--pipeline": "watch",
    "--images": "photos",
    "--since": "1d",
    "--train-images": "d",
    "--train-annotations": "f",
    "--val-images": "d",
    "--val-annotations": "f",
    "--coco-dir": "d",
    "--val-fraction": "0.2",
    "--demo-data-dir": "d",
    "--config": "demo",
    "--minutes": "5",
    "--init": "scratch",
    "--train-steps": "7",
    "--max-reject-fraction": "0",
    "--seed": "0",  # the default, too: the run may have another one
    "--registry": "registry",
    "--runs-dir": "runs",
    "--only-if-changed": "",
    "--in-containers": "",
    "--image": "localhost/python-cpu:1",
}


def test_every_flag_is_honoured_or_refused_by_a_resume() -> None:
    flags = {option for action in parser()._actions for option in action.option_strings if option.startswith("--")}
    honoured = {"--help", "--resume", "--set", "--no-cache", "--notify", "--webhook-secret", "--strict", "--verbose"}
    assert flags == honoured | FIXED.keys(), "a new flag needs a decision"
    assert {f"--{name.replace('_', '-')}" for name in FIXED_BY_RESUME} == FIXED.keys()


@pytest.mark.parametrize("flag", FIXED)
def test_a_flag_that_a_resume_cannot_honour(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    value = [FIXED[flag]] if FIXED[flag] else []
    assert main(["--resume", "runs/latest", flag, *value]) == 2
    assert capsys.readouterr().err.startswith(f"error: {flag}: a resumed run keeps its own value")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "has no run.json"),
        (["--set", "gate.min_ap=0"], "has no run.json"),
    ],
)
def test_a_folder_that_is_not_a_run(
    flags: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--resume", str(tmp_path), *flags]) == 2
    assert message in capsys.readouterr().err


def test_an_image_without_containers_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--image", "mine:1"]) == 2
    assert "--image mine:1: given without --in-containers; add it, or leave out --image" in capsys.readouterr().err


def test_what_the_flags_ask_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(local_run, "run", lambda request, options: asked.append((request, options)) or 0)
    assert (
        main(["--coco-dir", "c", "--set", "gate.min_ap=0.4", "--max_reject_fraction", "0.5", "--no-cache", "-v"]) == 0
    )
    assert main([]) == 0
    assert main(["--resume", "runs/1", "--set", "gate.min_ap=0.4"]) == 0
    assert main(["--in-containers"]) == main(["--in-containers", "--image", "mine:1"]) == 0
    *asked, (_, contained), (_, chosen) = asked
    assert (contained, chosen) == (LocalOptions(image=IMAGE), LocalOptions(image="mine:1"))
    (request, options), (demo, defaults), (again, resumed) = asked
    assert (request.coco_dir, request.cached, options.verbose) == ("c", False, True)
    assert request.changes == ("gate.min_ap=0.4", "preprocess.max_reject_fraction=0.5")
    assert (demo, defaults) == (RunRequest(), LocalOptions())
    assert (again, resumed) == (RunRequest(changes=("gate.min_ap=0.4",)), LocalOptions(resume="runs/1"))
