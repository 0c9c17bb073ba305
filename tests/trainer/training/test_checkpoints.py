"""What a training survives: SIGTERM, a checkpoint torn by a dying machine; and that one seed gives one result."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.trainer.made_records import TINY_CONFIG, write_records
from trainer.training import checkpoints, loop, preemption
from trainer.training.run import train

ONE_LONG_LOOP = "trainer.train_steps=4000,trainer.steps_per_loop=4000,trainer.checkpoint_interval=4000"
"""Between its steps nothing is saved, and nothing is written down."""


def weights(folder: Path) -> dict[str, np.ndarray]:
    reader = tf.train.load_checkpoint(str(folder / checkpoints.WEIGHTS))
    return {n: reader.get_tensor(n) for n in reader.get_variable_to_shape_map() if n.endswith("VARIABLE_VALUE")}


def command(config: Path, folder: Path, records: Path, override: str, *more: str) -> list[str]:
    flags = {"model_dir": folder, "records": records, "config_file": config, "params_override": override}
    return [sys.executable, "-m", "trainer.train", *(f"--{name}={value}" for name, value in flags.items()), *more]


def run_until(command: list[str], line: str, number: int) -> tuple[int, list[str]]:
    """Sends a signal when such a line comes on stdout; (exit code, all lines of both streams)."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, bufsize=1
    )
    assert process.stdout
    lines = []
    try:
        for seen in process.stdout:
            lines.append(seen)
            if line in seen:
                process.send_signal(number)
        return process.wait(timeout=120), lines
    finally:
        process.kill()


def saved_step(folder: Path) -> int:
    return checkpoints.step_of(tf.train.latest_checkpoint(str(folder)))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(TINY_CONFIG)
    return path


def test_sigterm_within_a_loop_saves_and_says_that_there_is_more_to_do(
    records_folder: Path, tmp_path: Path, config: Path
) -> None:
    """One loop holds the whole training: who waits for its end misses the grace time."""
    folder = tmp_path / "model"
    code, lines = run_until(command(config, folder, records_folder, ONE_LONG_LOOP), "progress: ", signal.SIGTERM)
    assert code == preemption.EXIT_CODE == 75
    newest = tf.train.latest_checkpoint(str(folder))
    assert 0 < checkpoints.step_of(newest) < 4000
    assert any(f"saved {newest}; the rerun the same command" in line for line in lines), lines
    assert checkpoints.read_summary(str(folder)) is None
    assert [row["step"] for row in history.read_history(str(folder))] == [checkpoints.step_of(newest)]


@pytest.mark.slow
def test_sigterm_within_an_evaluation_saves_the_weights_and_not_their_averages(
    records_folder: Path, tmp_path: Path, config: Path, trained: Path
) -> None:
    """Of many images; the averages stand in the model's place then. What goes on is the undisturbed training, and it
    makes the evaluation that was left."""
    config.write_text(
        TINY_CONFIG.replace("  optimizer_config:\n", "  optimizer_config:\n    ema: {average_decay: 0.5}\n")
    )
    write_records(tmp_path / "val", images=2000, split="val", shards=1)
    override = "trainer.validation_interval=2,trainer.checkpoint_interval=1000"
    evaluate = f"--val_records={tmp_path / 'val'}", "--mode=train_and_eval"
    folder = tmp_path / "model"
    stopping = command(config, folder, records_folder, override, *evaluate)
    with (tmp_path / "output").open("w") as output:
        process = subprocess.Popen(stopping, stdout=output, stderr=output)
        while process.poll() is None and not history.read_history(str(folder)):
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=120) == 75, (tmp_path / "output").read_text()
    assert "validation loss" not in (tmp_path / "output").read_text()
    assert checkpoints.step_of(tf.train.latest_checkpoint(str(folder))) == 2

    subprocess.run(stopping, check=True, stdout=subprocess.DEVNULL)
    rows = history.read_history(str(folder))
    assert [row["step"] for row in rows if row["validation_loss"] > 0] == [2, 4, 6]
    # The weights without averaging take the same steps with it and without.
    last, undisturbed = (tf.train.load_checkpoint(str(f / "ckpt-6")) for f in (folder, trained))
    names = [
        name
        for name in undisturbed.get_variable_to_shape_map()
        if name.endswith("kernel/.ATTRIBUTES/VARIABLE_VALUE") and "OPTIMIZER_SLOT" not in name
    ]
    assert names
    for name in names:
        found, expected = last.get_tensor(name), undisturbed.get_tensor(name)
        np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-4, err_msg=name)


@pytest.mark.slow
def test_kill_after_kill_the_curve_joins(records_folder: Path, tmp_path: Path, config: Path) -> None:
    """kill -9 at arbitrary times, each run a few steps further; nothing of the dead runs is left."""
    override = (
        "trainer.train_steps=60,trainer.checkpoint_interval=7,trainer.steps_per_loop=5,"
        "trainer.optimizer_config.learning_rate.cosine.decay_steps=60"
    )
    killed, random = tmp_path / "killed", np.random.default_rng(0)
    running, starts = command(config, killed, records_folder, override), []
    while checkpoints.read_summary(str(killed)) is None:
        starts.append(saved_step(killed))
        with (tmp_path / "output").open("w") as output:
            process = subprocess.Popen(running, stdout=output, stderr=output)
        if len(starts) == 5:
            assert process.wait() == 0, (tmp_path / "output").read_text()
        while process.poll() is None and saved_step(killed) == starts[-1]:
            time.sleep(0.002)
        time.sleep(random.uniform(0.0, 0.1))
        process.kill()
        process.wait()
    assert len(set(starts)) > 2, starts
    undisturbed = tmp_path / "undisturbed"
    train(records=str(records_folder), output=str(undisturbed), config=config.read_text(), params_override=override)
    rows, expected = history.read_history(str(killed)), history.read_history(str(undisturbed))
    assert [row["step"] for row in rows] == [row["step"] for row in expected] == list(range(5, 61, 5))
    for row, other in zip(rows, expected, strict=True):
        assert row["total_loss"] == pytest.approx(other["total_loss"], rel=0.02), row["step"]
    assert not list(killed.glob("*_temp"))


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
    undisturbed, curve = weights(folder), history.read_history(str(folder))
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
    again = history.read_history(str(folder))
    assert [row["step"] for row in again] == [row["step"] for row in curve] == [2, 4, 6]
    assert again[-1]["total_loss"] == pytest.approx(curve[-1]["total_loss"], rel=1e-3)


def saved(folder: Path, *steps: int) -> list[str]:
    """Paths of checkpoints of these steps."""
    manager = checkpoints.Manager(tf.train.Checkpoint(x=tf.Variable(tf.ones([1000]))), str(folder), max_to_keep=9)
    return [manager.save(step) or "" for step in steps]


def test_a_checkpoint_that_was_written_but_not_listed_yet_counts(tmp_path: Path) -> None:
    """Killed between the two."""
    first, second = saved(tmp_path, 2, 10)
    listed = tf.train.get_checkpoint_state(str(tmp_path))
    tf.compat.v1.train.update_checkpoint_state(str(tmp_path), first, all_model_checkpoint_paths=[first])
    assert checkpoints.newest_whole(str(tmp_path), repair=False) == first, "a training may be writing it now"
    assert checkpoints.newest_whole(str(tmp_path), repair=True) == second
    assert tf.train.get_checkpoint_state(str(tmp_path)).all_model_checkpoint_paths == [first, second]
    assert list(listed.all_model_checkpoint_paths) == [first, second]


def test_what_a_kill_left_of_a_checkpoint_is_removed(tmp_path: Path) -> None:
    """Otherwise every kill while saving would leave gigabytes."""
    (whole,) = saved(tmp_path, 2)
    keep = {path.name for path in tmp_path.iterdir()} | {"ckpt-notes.txt", "tensorboard"}
    for part in ("ckpt-4_temp/part-00000-of-00001.data-00000-of-00001.tempstate123", "ckpt-2_temp/part"):
        (tmp_path / part).parent.mkdir()
        (tmp_path / part).write_bytes(b"half")
    for name in ("ckpt-4.data-00000-of-00001", "ckpt-4.index.tempstate7", "ckpt-notes.txt", "tensorboard"):
        (tmp_path / name).write_bytes(b"half")
    before = {path.name for path in tmp_path.iterdir()}
    assert checkpoints.newest_whole(str(tmp_path), repair=False) == whole
    assert {path.name for path in tmp_path.iterdir()} == before, "who only looks removes nothing"
    assert checkpoints.newest_whole(str(tmp_path), repair=True) == whole
    assert {path.name for path in tmp_path.iterdir()} == keep


def test_a_full_disk_is_one_line_and_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    """A limit on the size of a file stands for it: TensorFlow gets as far, and no further."""
    (whole,) = saved(tmp_path, 2)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, before[1]))
    try:
        with pytest.raises(checkpoints.SaveError, match=r"can't be written: .*; mend that, then the same") as error:
            saved(tmp_path, 4)
        with pytest.raises(checkpoints.SaveError, match="can't be written"):
            checkpoints.write(str(tmp_path / "history.jsonl"), "x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert str(tmp_path) in str(error.value)
    assert "\n" not in str(error.value)
    assert "{{" not in str(error.value)
    assert not (tmp_path / "history.jsonl").exists()
    assert checkpoints.newest_whole(str(tmp_path), repair=True) == whole
    assert not list(tmp_path.glob("ckpt-4*"))


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
    from trainer.data import input_pipeline

    real = input_pipeline.train_dataset

    def slow(*arguments: object, **options: object) -> tf.data.Dataset:
        def wait(*batch: tf.Tensor) -> tuple[tf.Tensor, ...]:
            with tf.control_dependencies([tf.py_function(lambda: time.sleep(0.5), [], [])]):
                return tf.nest.map_structure(tf.identity, batch)

        return real(*arguments, **options).map(wait)  # type: ignore[arg-type]

    train(records=str(records_folder), output=str(tmp_path / "quick"), config=TINY_CONFIG)
    monkeypatch.setattr(input_pipeline, "train_dataset", slow)
    train(records=str(records_folder), output=str(tmp_path / "slow"), config=TINY_CONFIG)
    waits = {name: history.read_history(str(tmp_path / name))[-1]["data_wait"] for name in ("quick", "slow")}
    assert 0.0 <= waits["quick"] < waits["slow"] <= 1.0
    assert waits["slow"] > 0.5
