"""What a loop's numbers become: a history row, a progress line, or an error."""

import math
from pathlib import Path

import pytest
import tensorflow as tf

from tests.trainer.made_records import TINY_CONFIG
from trainer.config.experiment import build_experiment
from trainer.config.sections import parse_config
from trainer.training import monitors
from trainer.training.history import History, read_history
from trainer.training.run import train
from trainer.training.throughput import Throughput
from trainer.weights import finished


@pytest.mark.slow
def test_a_non_finite_loss_stops_the_run_and_names_the_steps(records_folder: Path, tmp_path: Path) -> None:
    override = "trainer.optimizer_config.learning_rate.cosine.initial_learning_rate=1e30,task.gradient_clip_norm=0"
    with pytest.raises(monitors.NonFiniteLoss, match=r"between steps \d+ and \d+"):
        train(records=str(records_folder), output=str(tmp_path), config=TINY_CONFIG, params_override=override)
    assert finished.read_summary(str(tmp_path)) is None


class Model:
    """Stands for a network of one weight."""

    def __init__(self, weight: float) -> None:
        self.trainable_variables = [tf.Variable([1.0, weight])]


def _monitor(folder: Path, weight: float, step: tf.Variable) -> monitors.LoopMonitor:
    experiment = build_experiment(parse_config(TINY_CONFIG))
    throughput = Throughput(batch=4)
    throughput.begin_loop(0)
    return monitors.LoopMonitor(
        experiment,
        10,
        model=Model(weight),
        step=step,
        throughput=throughput,
        history=History(str(folder), 0, []),
    )


GOOD = {"total_loss": 3.0, "ct_loss": 1.0, "scale_loss": 10.0, "ct_offset_loss": 1.0}
REST = {"training_loss": 3.0, "learning_rate": 0.5}


@pytest.mark.parametrize(
    ("losses", "weight", "message"),
    [
        ({}, 2.0, None),
        ({"ct_loss": math.nan}, 2.0, "ct_loss became nan between steps 1 and 2; the last checkpoint is older"),
        ({"ct_loss": math.inf, "total_loss": math.inf}, 2.0, "ct_loss became inf, total_loss became inf between"),
        ({}, math.nan, "a weight became NaN or infinite between steps 1 and 2"),  # after a finite loss
    ],
)
def test_a_loop_is_recorded_or_refused(
    tmp_path: Path, losses: dict[str, float], weight: float, message: str | None
) -> None:
    step = tf.Variable(0, dtype=tf.int64)
    monitor = _monitor(tmp_path, weight, step)
    step.assign(2)
    output = {name: tf.constant(value) for name, value in (GOOD | REST | losses).items()}
    if message:
        with pytest.raises(monitors.NonFiniteLoss, match=message):
            monitor.after_loop(output)
        assert read_history(str(tmp_path)) == []
        return
    monitor.after_loop(output)
    (row,) = read_history(str(tmp_path))
    assert row.items() >= {"step": 2, "epoch": 0.8, "learning_rate": 0.5, **GOOD}.items()
    assert "training_loss" not in row


def test_within_a_loop_only_the_line_shows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    step = tf.Variable(0, dtype=tf.int64)
    monitor = _monitor(tmp_path, 1.0, step)
    step.assign(1)
    monitor.within_loop({name: tf.constant(value) for name, value in (GOOD | REST).items()})
    assert "progress: train step 1/6  loss 3.000 (centre 1.000, size 10.000" in capsys.readouterr().out
    assert read_history(str(tmp_path)) == []


@pytest.mark.parametrize(("ap", "shown"), [(0.5, "AP 0.5000 (AP50 0.7500)"), (-1.0, "AP n/a")])
def test_a_validation_without_objects_has_no_ap(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], ap: float, shown: str
) -> None:
    history = History(str(tmp_path), 0, [])
    monitor = monitors.ValidationMonitor(tf.Variable(4, dtype=tf.int64), history, "held-out training images")
    found = monitor.after_validation({"total_loss": tf.constant(2.0), "ap": ap, "ap50": ap * 1.5, "images": 7})
    assert found == history.last()["ap"] == (ap if ap >= 0 else None)
    assert history.last()["measured_on"] == "7 held-out training images"
    assert (
        f"note: train step 4: validation loss 2.000, {shown} on 7 held-out training images" in capsys.readouterr().out
    )
