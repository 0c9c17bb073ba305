"""What a training survives: SIGTERM, a checkpoint torn by a dying machine; and that one seed gives one result."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from made_records import TINY_CONFIG

from trainer import checkpoints, loop, preemption
from trainer.train import train

MANY_STEPS = "trainer.train_steps=400,trainer.checkpoint_interval=1000"


def weights(folder: Path) -> dict[str, np.ndarray]:
    reader = tf.train.load_checkpoint(str(folder / checkpoints.WEIGHTS))
    return {n: reader.get_tensor(n) for n in reader.get_variable_to_shape_map() if n.endswith("VARIABLE_VALUE")}


def test_sigterm_saves_and_says_that_there_is_more_to_do(records_folder: Path, tmp_path: Path) -> None:
    config = tmp_path / "run.yaml"
    config.write_text(TINY_CONFIG)
    folder = tmp_path / "model"
    flags = {"model_dir": folder, "records": records_folder, "config_file": config, "params_override": MANY_STEPS}
    command = [sys.executable, "-m", "trainer.train", *(f"--{name}={value}" for name, value in flags.items())]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    assert process.stdout
    assert process.stderr
    # Read both, or a full pipe would stop the training.
    errors: list[str] = []
    reader = threading.Thread(target=lambda: errors.extend(process.stderr or []), daemon=True)
    reader.start()
    for line in process.stdout:
        if line.startswith("progress: "):
            break
    process.send_signal(signal.SIGTERM)
    for _ in process.stdout:
        pass
    assert process.wait(timeout=120) == preemption.EXIT_CODE == 75
    reader.join(timeout=10)
    newest = tf.train.latest_checkpoint(str(folder))
    assert checkpoints.step_of(newest) >= 2, "the interval alone would have saved nothing before step 1000"
    assert any(f"saved {newest}; the same command goes on" in line for line in errors), errors
    assert checkpoints.read_summary(str(folder)) is None
    assert loop.read_history(str(folder))[-1]["step"] == checkpoints.step_of(newest)


@pytest.mark.parametrize(
    "damage",
    ["data cut", pytest.param("data gone", marks=pytest.mark.slow), pytest.param("index cut", marks=pytest.mark.slow)],
)
def test_a_torn_checkpoint_is_skipped_with_a_warning(
    trained: Path,
    records_folder: Path,
    val_records_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    damage: str,
) -> None:
    """As after a power cut while the newest was written: the one before it is used, and the curve joins."""
    folder = tmp_path / "model"
    shutil.copytree(trained, folder)
    undisturbed, curve = weights(folder), loop.read_history(str(folder))
    (folder / "train.json").unlink()
    data, index = folder / "ckpt-6.data-00000-of-00001", folder / "ckpt-6.index"
    if damage == "data gone":
        data.unlink()
    else:
        torn = data if damage == "data cut" else index
        torn.write_bytes(torn.read_bytes()[: torn.stat().st_size // 2])
    train(
        records=str(records_folder),
        output=str(folder),
        config=TINY_CONFIG,
        val_records=str(val_records_folder),
        params_override="trainer.validation_interval=6",
    )
    output = capsys.readouterr().out
    assert "ckpt-6 is torn and skipped" in output
    assert "steps 4 to 6, resumed" in output
    for name, value in weights(folder).items():
        np.testing.assert_allclose(value, undisturbed[name], rtol=2e-3, atol=2e-4, err_msg=name)
    again = loop.read_history(str(folder))
    assert [row["step"] for row in again] == [row["step"] for row in curve] == [2, 4, 6]
    assert again[-1]["total_loss"] == pytest.approx(curve[-1]["total_loss"], rel=1e-3)


def test_only_torn_checkpoints_are_no_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved = tf.train.CheckpointManager(tf.train.Checkpoint(x=tf.Variable(1.0)), str(tmp_path), max_to_keep=3)
    prefix = Path(saved.save(2))
    prefix.with_suffix(".data-00000-of-00001").write_bytes(b"")
    assert checkpoints.newest_whole(str(tmp_path), repair=False) is None
    assert prefix.with_suffix(".index").exists(), "who only looks removes nothing"
    assert checkpoints.newest_whole(str(tmp_path), repair=True) is None
    assert not list(tmp_path.glob("ckpt-2*"))
    assert tf.train.latest_checkpoint(str(tmp_path)) is None
    assert capsys.readouterr().out.count("torn and skipped") == 2


@pytest.mark.parametrize("kept", [0, 20, 60])
def test_a_torn_list_of_checkpoints_is_made_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str], kept: int) -> None:
    """TensorFlow takes such a folder for empty, or stops with a ValueError: hours of training would be lost."""
    saved = tf.train.CheckpointManager(tf.train.Checkpoint(x=tf.Variable(1.0)), str(tmp_path), max_to_keep=3)
    prefixes = [saved.save(step) for step in (8, 10, 12)]
    torn = tmp_path / "checkpoint"
    torn.write_bytes(torn.read_bytes()[:kept])
    assert checkpoints.newest_whole(str(tmp_path), repair=False) == prefixes[-1]
    assert torn.stat().st_size == kept, "who only looks writes nothing"
    assert checkpoints.newest_whole(str(tmp_path), repair=True) == prefixes[-1]
    assert "checkpoint is torn: looked for the checkpoints themselves" in capsys.readouterr().out
    assert tf.train.get_checkpoint_state(str(tmp_path)).all_model_checkpoint_paths == prefixes


@pytest.mark.slow
def test_one_seed_gives_one_result_and_another_another(records_folder: Path, tmp_path: Path) -> None:
    made = {}
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        train(records=str(records_folder), output=str(tmp_path / name), config=TINY_CONFIG, seed=seed)
        made[name] = weights(tmp_path / name)
    kernels = [name for name in made["a"] if "kernel" in name]
    for name in made["a"]:
        np.testing.assert_array_equal(made["a"][name], made["b"][name], err_msg=name)
    assert all((made["a"][name] != made["c"][name]).any() for name in kernels)


@pytest.mark.slow
def test_the_wait_for_data_is_measured(records_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against an input that takes half a second a batch: most of the time is waiting."""
    from trainer import input_pipeline

    real = input_pipeline.train_dataset

    def slow(*arguments: object, **options: object) -> tf.data.Dataset:
        def wait(*batch: tf.Tensor) -> tuple[tf.Tensor, ...]:
            with tf.control_dependencies([tf.py_function(lambda: time.sleep(0.5), [], [])]):
                return tf.nest.map_structure(tf.identity, batch)

        return real(*arguments, **options).map(wait)  # type: ignore[arg-type]

    train(records=str(records_folder), output=str(tmp_path / "quick"), config=TINY_CONFIG)
    monkeypatch.setattr(input_pipeline, "train_dataset", slow)
    train(records=str(records_folder), output=str(tmp_path / "slow"), config=TINY_CONFIG)
    waits = {name: loop.read_history(str(tmp_path / name))[-1]["data_wait"] for name in ("quick", "slow")}
    assert 0.0 <= waits["quick"] < waits["slow"] <= 1.0
    assert waits["slow"] > 0.5
