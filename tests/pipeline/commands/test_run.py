"""Bad input: exit code 2 and one line that names the thing, the value and the fix, before a run starts."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.commands.cli import main
from pipeline.local.demo_data import DemoData, generate
from pipeline.local.run import _with_reject_limit
from trainer.config.sections import parse_config


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


RUN = ["run", "--runs-dir", "runs", "--registry", "registry"]


@pytest.mark.parametrize(
    ("kind", "flags", "says"),
    [
        ("missing file", ["--coco-dir", "coco"], ["instances_val2017.json", "no such annotation file"]),
        ("not JSON", ["--coco-dir", "coco"], ["instances_val2017.json", "JSON"]),
        ("not COCO", ["--coco-dir", "coco"], ["instances_val2017.json", "COCO"]),
        ("no image in common", ["--coco-dir", "coco"], ["--val-images", "none of the 2 images", "other-"]),
        ("no image folder", ["--coco-dir", "coco"], ["--val-images", "no such folder"]),
        ("nothing", ["--coco-dir", "coco", "--train-images", "d"], ["--coco-dir", "--train-images"]),
        ("nothing", ["--train-images", "coco/train2017"], ["--train-annotations", "all four"]),
        ("nothing", ["--coco-dir", "coco", "--config", "nowhere.yaml"], ["nowhere.yaml", "custom-small"]),
        ("file in the way", ["--coco-dir", "coco", "--runs-dir", "taken/runs"], ["--runs-dir", "taken/runs"]),
        ("file in the way", ["--coco-dir", "coco", "--registry", "taken"], ["--registry", "taken"]),
        ("file in the way", ["--resume", "taken"], ["--resume", "run.json"]),
        ("file in the way", ["--demo-data-dir", "coco/annotations", "--config", "custom-small"], ["--demo-data-dir"]),
        ("nothing", ["--coco-dir", "coco", "--runs-dir", "python3/runs"], ["--runs-dir", "python3"]),
        ("nothing", ["--coco-dir", "coco", "--max-reject-fraction", "7"], ["max_reject_fraction", "7"]),
    ],
)
def test_bad_input(
    kind: str,
    flags: list[str],
    says: list[str],
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
    for part in says:
        assert part in lines[0]
    assert not list(Path().glob("runs/2*")), "no run was started"


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ("preprocess: {image_siez: [64, 64]}", "preprocess.image_siez"),
        ("gait: {}", "gait"),
        ("task: {model: {backbon: {}}}", "backbon"),  # known to Model Garden's classes only
        ("gate: [", "not YAML"),
    ],
)
def test_unknown_config_key(
    config: str, says: str, coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.yaml").write_text(config)
    flags = ["--runs-dir", str(tmp_path / "runs"), "--registry", str(tmp_path / "registry")]
    assert main(["run", "--coco-dir", str(coco), "--config", str(tmp_path / "mine.yaml"), *flags]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert says in lines[0]
    assert not list(tmp_path.glob("runs/2*")), "no run was started"


@pytest.mark.parametrize("arguments", [["run", "--help"], ["compile", "--help"]])
def test_help_has_examples(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 0
    assert "examples:" in capsys.readouterr().out


def test_a_reject_limit_changes_nothing_else_of_the_configuration() -> None:
    text = "preprocess: {heatmap_cutoff: 1e-3}\ntask: {augmentation: {hue: 5e-2}}\n"
    limited = _with_reject_limit(text, 0.5)
    assert parse_config(limited).preprocess == replace(parse_config(text).preprocess, max_reject_fraction=0.5)
    assert parse_config(limited).experiment == parse_config(text).experiment
    assert _with_reject_limit(text, None) == text
