"""One training as a whole: what it leaves, what it reuses and refuses, where it starts; kills don't change it."""

import json
import math
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from beam_preprocess.base.errors import InputError
from tests.trainer.made_records import TINY_CONFIG, write_records
from tests.trainer.training.runs import command, saved_step, weights
from trainer.data.input_pipeline import load_manifest
from trainer.training import checkpoints
from trainer.training.history import read_history
from trainer.training.run import make_experiment, train
from trainer.training.task import Task
from trainer.weights import finished


def test_a_finished_folder(trained: Path) -> None:
    summary = json.loads((trained / "train.json").read_text())
    assert summary["steps"] == 6
    assert summary["categories"][2] == {"index": 2, "id": 30, "name": "class2"}
    assert (trained / "config.yaml").read_text() == TINY_CONFIG
    rows = read_history(str(trained))
    assert [row["step"] for row in rows] == [2, 4, 6]
    assert all(math.isfinite(row["total_loss"]) for row in rows)
    assert rows[-1]["validation_loss"] > 0
    assert weights(trained)


def test_the_same_training_is_not_done_twice(
    trained: Path, records_folder: Path, val_records_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {p: p.stat().st_mtime_ns for p in trained.rglob("*") if p.is_file()}
    train(
        records=str(records_folder),
        output=str(trained),
        config=TINY_CONFIG,
        val_records=str(val_records_folder),
        params_override="trainer.validation_interval=6",
    )
    assert "result: reused" in capsys.readouterr().out
    assert before == {p: p.stat().st_mtime_ns for p in trained.rglob("*") if p.is_file()}


def test_another_training_does_not_overwrite(trained: Path, records_folder: Path) -> None:
    with pytest.raises(InputError, match="holds a training of other records, configuration or seed"):
        train(records=str(records_folder), output=str(trained), config=TINY_CONFIG, seed=1)


@pytest.mark.parametrize("modules", ["backbone", "all"])
def test_a_model_starts_from_the_weights_of_another(
    trained: Path, records_folder: Path, tmp_path: Path, modules: str
) -> None:
    """Also from the Orbit checkpoint in a model folder, which Model Garden's "all" cannot load. What a training holds
    before its first step; tests/trainer/weights/test_loading.py trains from it."""
    newest = tf.train.latest_checkpoint(str(trained))
    manifest, original = load_manifest(str(records_folder)), weights(trained)
    for name, path in (("finished", str(trained)), ("orbit", newest)):
        override = f"task.init_checkpoint={path},task.init_checkpoint_modules={modules}"
        task = Task(make_experiment(TINY_CONFIG, override, manifest, str(records_folder), "", 0).task, manifest)
        model = task.build_model()
        task.initialize(model)
        tf.train.Checkpoint(**model.checkpoint_items).write(str(tmp_path / name / checkpoints.WEIGHTS))
        started = weights(tmp_path / name)
        same = {n for n in original if n.endswith("kernel/.ATTRIBUTES/VARIABLE_VALUE")}
        assert same
        equal = {n for n in same if np.array_equal(started[n], original[n])}
        assert equal == (same if modules == "all" else {n for n in same if n.startswith("backbone")})


def test_records_of_another_size_are_refused(tmp_path: Path) -> None:
    write_records(tmp_path / "records")
    config = TINY_CONFIG.replace("image_size: [32, 64]", "image_size: [64, 64]")
    with pytest.raises(InputError, match="image_size"):
        train(records=str(tmp_path / "records"), output=str(tmp_path / "out"), config=config)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(TINY_CONFIG)
    return path


@pytest.mark.slow
def test_kill_after_kill_the_curve_joins(records_folder: Path, tmp_path: Path, config: Path) -> None:
    """kill -9 at arbitrary times, each run a few steps further; nothing is left of the dead runs."""
    override = (
        "trainer.train_steps=60,trainer.checkpoint_interval=7,trainer.steps_per_loop=5,"
        "trainer.optimizer_config.learning_rate.cosine.decay_steps=60"
    )
    killed, random = tmp_path / "killed", np.random.default_rng(0)
    running, starts = command(config, killed, records_folder, override), []
    while finished.read_summary(str(killed)) is None:
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
    rows, expected = read_history(str(killed)), read_history(str(undisturbed))
    assert [row["step"] for row in rows] == [row["step"] for row in expected] == list(range(5, 61, 5))
    for row, other in zip(rows, expected, strict=True):
        assert row["total_loss"] == pytest.approx(other["total_loss"], rel=0.02), row["step"]
    assert not list(killed.glob("*_temp"))


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
