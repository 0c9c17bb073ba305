"""SIGTERM within a loop and within an evaluation: saved, reported, resumed."""

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.trainer.made_records import TINY_CONFIG, write_records
from tests.trainer.training.runs import command
from trainer.config.experiment import build_experiment
from trainer.config.sections import parse_config
from trainer.train import main
from trainer.training import checkpoints, controller, preemption
from trainer.training.history import read_history
from trainer.weights import finished

ONE_LONG_LOOP = "trainer.train_steps=4000,trainer.steps_per_loop=4000,trainer.checkpoint_interval=4000"
"""Nothing is saved or recorded between its steps."""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(TINY_CONFIG)
    return path


class Terminated(io.StringIO):
    """Output of this process, which gets SIGTERM at its first line of progress."""

    def write(self, text: str) -> int:
        if "progress: " in text and "progress: " not in self.getvalue():
            os.kill(os.getpid(), signal.SIGTERM)
        return super().write(text)


def test_sigterm_within_a_loop_saves_and_reports_that_there_is_more_to_do(
    records_folder: Path, tmp_path: Path, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One loop holds the whole training: waiting for its end would take longer than the grace time."""
    folder, output = tmp_path / "model", Terminated()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", output)
        patch.setattr(sys, "stderr", output)
        code = main(command(config, folder, records_folder, ONE_LONG_LOOP)[3:])
    lines = output.getvalue().splitlines()
    assert code == preemption.EXIT_CODE == 75, lines
    newest = tf.train.latest_checkpoint(str(folder))
    assert 0 < checkpoints.step_of(newest) < 4000
    assert any(f"saved {newest}; rerun the same command" in line for line in lines), lines
    assert finished.read_summary(str(folder)) is None
    assert [row["step"] for row in read_history(str(folder))] == [checkpoints.step_of(newest)]


@pytest.mark.slow
def test_sigterm_within_an_evaluation_saves_the_weights_and_not_their_averages(
    records_folder: Path, tmp_path: Path, config: Path, trained: Path
) -> None:
    """The validation has many images, and the model holds the averages meanwhile. Resuming gives the undisturbed
    training, and makes the validation that was interrupted."""
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
        while process.poll() is None and not read_history(str(folder)):
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=120) == 75, (tmp_path / "output").read_text()
    assert "validation loss" not in (tmp_path / "output").read_text()
    assert checkpoints.step_of(tf.train.latest_checkpoint(str(folder))) == 2

    subprocess.run(stopping, check=True, stdout=subprocess.DEVNULL)
    rows = read_history(str(folder))
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


class Recorder:
    """Stands for the trainer, the checkpoint manager and both monitors: notes the order of the events."""

    def __init__(self, step: int) -> None:
        self.global_step, self.events = tf.Variable(step, dtype=tf.int64), []

    def train(self, steps: tf.Tensor) -> dict[str, tf.Tensor]:
        self.global_step.assign_add(int(steps))
        return {}

    def evaluate(self, _steps: tf.Tensor) -> dict[str, tf.Tensor]:
        return {}

    def save(self, step: int, *, check_interval: bool) -> None:
        assert not check_interval
        self.events.append(f"save {step}")

    def after_loop(self, _output: object) -> None:
        self.events.append(f"loop {int(self.global_step)}")

    def after_validation(self, _output: object) -> None:
        self.events.append(f"validate {int(self.global_step)}")


@pytest.mark.parametrize("first", [0, 2, 4, 5, 8])
def test_events_come_at_the_same_steps_wherever_a_run_starts(first: int) -> None:
    experiment = build_experiment(parse_config(TINY_CONFIG))
    settings = experiment.trainer
    settings.train_steps, settings.steps_per_loop, settings.checkpoint_interval = 8, 2, 3
    settings.validation_interval, experiment.task.validation_data.input_path = 4, "val"

    def events(step: int) -> list[str]:
        recorder: Any = Recorder(step)
        controller.run_events(experiment, recorder, recorder, recorder, recorder)
        return recorder.events

    whole = ["loop 2", "loop 4", "save 4", "validate 4", "loop 6", "save 6", "loop 8", "save 8", "validate 8"]
    assert events(0) == whole
    assert set(events(first)) <= {*whole, f"save {first}"}
    after = [event for event in whole if int(event.split()[1]) > first]
    assert [event for event in events(first) if int(event.split()[1]) > first] == after
