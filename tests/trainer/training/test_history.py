"""`history.jsonl` and TensorBoard: every field, and both agree."""

import math
from pathlib import Path

import pytest
import tensorflow as tf

from trainer.training.history import History, read_history

LOSSES = ("total_loss", "ct_loss", "scale_loss", "ct_offset_loss")
TRAINING = {"step", "epoch", *LOSSES, "learning_rate", "images_per_second", "data_wait"}
VALIDATION = {"validation_loss", "ap", "ap50", "measured_on"}
BATCH, IMAGES, STEPS, RATE = 4, 10, 6, 0.001
"""Values of `made_records.TINY_CONFIG` and of the fixture's records."""


def test_a_row_has_every_field_and_the_last_one_the_validation(trained: Path) -> None:
    rows = read_history(str(trained))
    assert [set(row) for row in rows] == [TRAINING, TRAINING, TRAINING | VALIDATION]
    for row in rows:
        assert row["epoch"] == pytest.approx(row["step"] * BATCH / IMAGES)
        # Cosine from the first step on; the one step of warm-up is over.
        expected = RATE * (1 + math.cos(math.pi * row["step"] / STEPS)) / 2
        assert row["learning_rate"] == pytest.approx(expected, abs=1e-9)
        # 1, 0.1 and 1 are the weights of the three.
        assert row["total_loss"] == pytest.approx(
            row["ct_loss"] + 0.1 * row["scale_loss"] + row["ct_offset_loss"], rel=1e-4
        )
        assert row["images_per_second"] > 0
        assert 0 <= row["data_wait"] <= 1
    assert rows[-1]["validation_loss"] > 0
    assert 0 <= rows[-1]["ap"] <= rows[-1]["ap50"] <= 1


def test_tensorboard_agrees(trained: Path) -> None:
    found: dict[tuple[int, str], float] = {}
    for path in (trained / "tensorboard").glob("events.*"):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                found[event.step, value.tag] = float(tf.make_ndarray(value.tensor))
    rows = read_history(str(trained))
    numbers = ({key: value for key, value in row.items() if not isinstance(value, str)} for row in rows)
    expected = {(row["step"], name): row[name] for row in numbers for name in row if name != "step"}
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert found[key] == pytest.approx(value, rel=1e-5), key


def test_history_of_a_resumed_run_drops_the_rows_after_its_checkpoint(tmp_path: Path) -> None:
    history = History(str(tmp_path), 0, [])
    for step in (2, 4, 6):
        history.add({"step": step, "total_loss": 1.0})
    history.add({"step": 6, "validation_loss": 2.0})
    assert read_history(str(tmp_path))[-1] == {"step": 6, "total_loss": 1.0, "validation_loss": 2.0}
    assert History(str(tmp_path), 4, read_history(str(tmp_path))).last()["step"] == 4
    assert [row["step"] for row in read_history(str(tmp_path))] == [2, 4]
