"""Speed and data wait: which time counts, and that a slow input shows."""

import os
import subprocess
import time
from pathlib import Path

import pytest
import tensorflow as tf

from tests.trainer.made_records import TINY_CONFIG
from tests.trainer.training.runs import command
from trainer.training import throughput
from trainer.training.history import read_history
from trainer.training.run import train
from trainer.training.throughput import Throughput


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
    waits = {name: read_history(str(tmp_path / name))[-1]["data_wait"] for name in ("quick", "slow")}
    assert 0.0 <= waits["quick"] < waits["slow"] <= 1.0
    assert waits["slow"] > 0.5


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux can bind a process to a core")
def test_a_step_on_one_core_is_not_waiting(records_folder: Path, tmp_path: Path) -> None:
    """There the clock must be read before the step's operations have their turn."""
    config, folder = tmp_path / "run.yaml", tmp_path / "model"
    config.write_text(TINY_CONFIG)
    core = max(os.sched_getaffinity(0))
    made = command(
        config,
        folder,
        records_folder,
        "trainer.train_steps=6,runtime.enable_xla=false,task.model.backbone.hourglass.input_channel_dims=64",
    )
    subprocess.run(made, check=True, preexec_fn=lambda: os.sched_setaffinity(0, {core}))
    assert read_history(str(folder))[-1]["data_wait"] < 0.5


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(throughput.time, "monotonic", lambda: now[0])
    return now


def test_the_first_step_does_not_count(clock: list[float]) -> None:
    measured = Throughput(batch=8)
    measured.begin_loop(0)
    clock[0] += 60  # TensorFlow builds the graph
    measured.exclude_until(1)
    clock[0] += 2
    measured.add_wait(tf.constant(0.5, tf.float64))
    assert measured.measure(5) == (16.0, 0.25)
    measured.end_loop(5)
    assert measured.measure(5) == (16.0, 0.25)


def test_a_loop_of_only_the_first_step_counts_it(clock: list[float]) -> None:
    """As when it is asked to stop after it: there is nothing else to measure."""
    measured = Throughput(batch=8)
    measured.begin_loop(0)
    clock[0] += 60
    measured.exclude_until(1)
    measured.end_loop(1)
    clock[0] += 4
    assert measured.measure(1) == (8 / 64, 0.0)


def test_the_time_between_two_loops_does_not_count(clock: list[float]) -> None:
    measured = Throughput(batch=4)
    measured.begin_loop(0)
    clock[0] += 1000  # a validation
    measured.add_wait(tf.constant(7.0, tf.float64))
    measured.begin_loop(10)
    clock[0] += 5
    assert measured.measure(20) == (8.0, 0.0)
