"""`centernet init`: the file can be used as it is; bad input is one line."""

import json
from pathlib import Path

import pytest

from beam_preprocess.base.config_text import resolve
from pipeline.commands.init import main
from pipeline.local.demo_data import DemoData, generate
from trainer.config.sections import parse_config

GPU = ["--hardware", "gpu:a100"]


@pytest.fixture(scope="module")
def coco(tmp_path_factory: pytest.TempPathFactory) -> Path:
    parameters = DemoData(train_images=8, val_images=4, height=(64, 64), width=(96, 96), side=(20.0, 40.0))
    return generate(tmp_path_factory.mktemp("data") / "coco", parameters)


def test_the_file_is_a_config_with_reasons(coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--coco-dir", str(coco), *GPU, "--minutes", "30"]) == 0
    out, err = capsys.readouterr()
    (tmp_path / "my.yaml").write_text(out)
    parse_config(resolve(str(tmp_path / "my.yaml")).text)
    lines = out.splitlines()
    assert lines[0].startswith("# Written by centernet init for gpu:a100 and 30 minutes")
    assert "base: custom-gpu" in lines
    keys = [i for i, line in enumerate(lines) if ": " in line and not line.lstrip().startswith(("#", "base:"))]
    assert all(lines[i - 1].lstrip().startswith("#") for i in keys), "a comment above every value"
    assert "stated, not measured" in err and len(err.splitlines()) >= 5


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "--coco-dir: not given"),
        (["--coco-dir", "COCO", "--hardware", "gpu:a10"], "did you mean gpu:a100?"),
        (["--coco-dir", "COCO", "--minutes", "0"], "--minutes 0: give the minutes"),
        (["--coco-dir", "COCO", "--init", "keras:resnet"], "did you mean keras:resnet50?"),
        (["--coco-dir", "COCO", "--init", "keras:resnet50"], "is for ResNet-50"),
        (["--coco-dir", "nowhere", *GPU], "--coco-dir nowhere: no such folder"),
        (["--coco-dir", "COCO", "--val-fraction", "2"], "--val-fraction"),
    ],
)
def test_bad_input(flags: list[str], message: str, coco: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([flag.replace("COCO", str(coco)) for flag in flags]) == 2
    found = capsys.readouterr()
    assert found.out == ""
    assert len(found.err.splitlines()) == 1 and message in found.err


def test_one_file_is_split(coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = ["--train-images", str(coco / "train2017")]
    data += ["--train-annotations", str(coco / "annotations" / "instances_train2017.json")]
    assert main([*data, "--val-fraction", "0.4", *GPU]) == 0
    assert "split by image content" in capsys.readouterr().err


@pytest.mark.slow
def test_this_machine_is_measured(coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from pipeline.recommend import speed

    config = resolve("custom-small", ["preprocess.image_size=[64, 64]"]).text
    known = tmp_path / "trials.json"
    first = speed.measured(config, 6, 4 * 64 * 64, known)
    assert first.pixels_per_second > 0 and "measured here" in first.origin
    kept = known.read_text()
    assert speed.measured(config, 6, 4 * 64 * 64, known) == first and known.read_text() == kept
    assert len(json.loads(kept)) == 1
