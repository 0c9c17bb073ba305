"""Which folders each mode reads, and what it refuses."""

import gc
from pathlib import Path

import pytest
import tensorflow as tf

from tests.trainer.made_records import TINY_CONFIG
from trainer.train import main


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--mode=eval", "--val_records=V"], "no checkpoint there; train first"),
        (
            ["--mode=continuous_eval", "--val_records=V", "--params_override=trainer.continuous_eval_timeout=1"],
            "no checkpoint appeared within 1 s; train first",
        ),
        (["--mode=eval"], "--val-records: mode eval needs it; give a folder of records"),
        (["--mode=eval", "--val_records=V", "--records=R"], "--records R: mode eval doesn't read it; remove it"),
        (["--mode=train", "--records=R", "--val_records=V"], "mode train doesn't read it"),
        (["--mode=eval", "--val_records=V", "--tpu=local"], "runtime.tpu: local: no TPU there"),
    ],
)
def test_bad_input(
    val_records_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    flags: list[str],
    message: str,
) -> None:
    """An empty model folder is an error, never AP 0."""
    config = tmp_path / "run.yaml"
    config.write_text(TINY_CONFIG)
    if "--tpu=local" in flags:
        # TensorFlow collects garbage before it looks for a TPU: a minute, with the graphs of other tests.
        monkeypatch.setattr(gc, "collect", lambda: 0)
        (tmp_path / "empty").mkdir()
        tf.train.CheckpointManager(tf.train.Checkpoint(x=tf.Variable(1.0)), str(tmp_path / "empty"), 1).save(1)
    given = [flag.replace("=V", f"={val_records_folder}") for flag in flags]
    assert main([*given, f"--model_dir={tmp_path / 'empty'}", f"--config_file={config}"]) == 2
    assert message in capsys.readouterr().err
