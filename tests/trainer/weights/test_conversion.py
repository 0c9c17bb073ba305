"""Archives of the Object Detection API: converted, or refused if they don't fit."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.trainer.families import family_config
from tests.trainer.weights.models import TWO_STACKS, build, drawn, same
from trainer.config.experiment import build_experiment
from trainer.config.sections import parse_config
from trainer.init_weights import main
from trainer.model import network
from trainer.weights import conversion, loading
from trainer.weights.conversion import SUMMARY

pytestmark = pytest.mark.xdist_group("od_api")  # one archive for all of them

WIDER = TWO_STACKS.replace("input_channel_dims: 4", "input_channel_dims: 8")


@pytest.mark.slow
def test_an_archive_with_other_classes_gives_backbone_and_matching_heads(
    archive: tuple[network.CenterNetModel, Path], tmp_path: Path
) -> None:
    original, path = archive
    transfer = conversion.convert(
        source=str(path),
        output=str(tmp_path),
        task=build_experiment(parse_config(TWO_STACKS)).task,
        build_model=network.build_model,
        modules="matching",
        num_classes=2,
    )
    assert len(transfer.misfits) == 4, "kernel and bias on both stacks"
    target = build(TWO_STACKS, 2, seed=4)
    loading.load(str(tmp_path), "all", target)
    assert all(same(target.backbone, original.backbone))


def test_an_object_detection_archive_is_converted(
    archive: tuple[network.CenterNetModel, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    original, path = archive
    config = tmp_path / "config.yaml"
    config.write_text(TWO_STACKS)
    output = tmp_path / "init"
    flags = ["--from", str(path), "--to", str(output), "--config_file", str(config)]
    assert main([*flags, "--modules", "all", "--num_classes", "90"]) == 0
    assert str(output) in capsys.readouterr().out
    expected = [*original.backbone.get_weights(), *original.head.get_weights()]
    drawn(original, seed=4)
    loading.load(str(output), "all", original)  # has its own weights again
    found = [*original.backbone.get_weights(), *original.head.get_weights()]
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))
    summary = json.loads((output / SUMMARY).read_text())
    assert len(summary["loaded"]) == len(expected)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--from", "./nowhere"], "nowhere: no checkpoint there"),
        (["--from", "nowhere.tar.gz"], "nowhere.tar.gz: no checkpoint there"),
        (["--modules", "all"], "--num-classes 0"),
        (["--num_classes", "4", "--records", "x"], "give one of them"),
        (["--to", "/proc/init"], "--to /proc/init: can't be written: "),
        # test_starts.py has it without the command every day.
        pytest.param(["--modules", "all", "--num_classes", "4"], r"[90], here [4]", marks=pytest.mark.slow),
        (["--from", "hg104"], "hg104: no such weights, file or folder; did you mean od-api:hg104?"),
        (["--from", "cut.tar.gz"], "cut.tar.gz: can't be unpacked"),
        (
            ["--from", "efficientnet-lite0"],
            "efficientnet-lite0 is for EfficientNet-lite0, and task.model.backbone.type is hourglass; give "
            "--config custom-cpu, or set task.model.backbone.type: efficientnet",
        ),
        (["--config_file", "wider.yaml"], "doesn't fit task.model (Hourglass 20 x 2)"),
        (["--config_file", "resnet.yaml"], "task.model.backbone.type is resnet; give a configuration with the hourgl"),
    ],
)
def test_bad_input_is_exit_code_2(
    archive: tuple[network.CenterNetModel, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    flags: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("two.yaml").write_text(TWO_STACKS)
    Path("wider.yaml").write_text(WIDER)
    Path("cut.tar.gz").write_bytes(archive[1].read_bytes()[:-1000])
    Path("resnet.yaml").write_text(family_config("resnet"))
    defaults = {"--from": str(archive[1]), "--to": "init", "--config_file": "two.yaml"}
    given = defaults | dict(zip(flags[::2], flags[1::2], strict=True))
    assert main([part for pair in given.items() for part in pair]) == 2
    assert message in capsys.readouterr().err
    assert not Path("init", SUMMARY).exists()
