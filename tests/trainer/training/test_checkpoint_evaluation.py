"""AP while training, and the modes that only evaluate."""

import json
import shutil
from pathlib import Path

import pytest
import tensorflow as tf

from tests.trainer.made_records import TINY_CONFIG
from trainer.train import main
from trainer.training import checkpoint_evaluation, checkpoints
from trainer.training.checkpoint_evaluation import HISTORY
from trainer.training.history import read_history


@pytest.fixture
def model_dir(trained: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    shutil.copytree(trained, folder)
    return folder


@pytest.mark.parametrize("mode", ["eval", pytest.param("continuous_eval", marks=pytest.mark.slow)])
def test_the_newest_checkpoint_is_evaluated_as_while_training(
    model_dir: Path, val_records_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], mode: str
) -> None:
    config = tmp_path / "run.yaml"
    config.write_text(TINY_CONFIG)
    before = (model_dir / "history.jsonl").read_text()
    flags = [f"--mode={mode}", f"--model_dir={model_dir}", f"--val_records={val_records_folder}"]
    assert main([*flags, f"--config_file={config}"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("result: ")]
    row = json.loads(line.removeprefix("result: "))
    expected = read_history(str(model_dir))[-1]
    assert row["step"] == expected["step"] == 6
    assert row["validation_loss"] == pytest.approx(expected["validation_loss"], rel=1e-4)
    assert row["ap"] == pytest.approx(expected["ap"], abs=1e-6)
    assert read_history(str(model_dir), HISTORY) == [row]
    assert (model_dir / "history.jsonl").read_text() == before


def test_each_checkpoint_is_evaluated_as_it_appears_and_read_once(
    model_dir: Path, val_records_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training beside it saves steps 2, 4 and 6; between them the mode looks at the list alone."""
    config = tmp_path / "run.yaml"
    config.write_text(TINY_CONFIG)
    to_come, looks, reads = [2, 2, 4, 4, 6], [0], [0]
    (model_dir / "checkpoint").unlink()
    read = checkpoints.newest_whole

    def time_passes(_seconds: float) -> None:
        looks[0] += 1
        prefix = str(model_dir / f"ckpt-{to_come.pop(0)}")
        tf.compat.v1.train.update_checkpoint_state(str(model_dir), prefix)

    def counted(folder: str, **options: bool) -> str | None:
        reads[0] += 1
        return read(folder, **options)

    monkeypatch.setattr(checkpoint_evaluation.time, "sleep", time_passes)
    monkeypatch.setattr(checkpoint_evaluation.checkpoints, "newest_whole", counted)
    flags = ["--mode=continuous_eval", f"--model_dir={model_dir}", f"--val_records={val_records_folder}"]
    assert main([*flags, f"--config_file={config}"]) == 0
    assert [row["step"] for row in read_history(str(model_dir), HISTORY)] == [2, 4, 6]
    assert not to_come
    assert (looks[0], reads[0]) == (5, 5), "before the first look, at the first, and once for each that came"


@pytest.mark.parametrize(
    "change",
    [
        "task.model.backbone.hourglass.input_channel_dims=8",
        "task: {model: {backbone: {hourglass: {num_hourglasses: 2}}, head: {input_levels: ['2_0', '2']}}}",
    ],
)
def test_a_checkpoint_of_another_configuration_is_not_scored_as_initialised(
    model_dir: Path, val_records_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: str
) -> None:
    config = tmp_path / "run.yaml"
    config.write_text(TINY_CONFIG)
    flags = ["--mode=eval", f"--model_dir={model_dir}", f"--val_records={val_records_folder}"]
    assert main([*flags, f"--config_file={config}", f"--params_override={change}"]) == 2
    assert "ckpt-6: isn't of this configuration: " in capsys.readouterr().err
    assert not (model_dir / HISTORY).read_text()
