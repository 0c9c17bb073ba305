"""The weights of the best validation: chosen, kept for what a resumed run may need, and the end of a training."""

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from beam_preprocess.base.errors import InputError
from tests.trainer.made_records import TINY_CONFIG
from tests.trainer.training.runs import command, saved_step, weights
from trainer.training.best import BestWeights, Validation
from trainer.training.history import read_history
from trainer.training.run import train
from trainer.weights import finished

HOLDOUT = "trainer.holdout_fraction=0.3,trainer.choose_checkpoint=best"


class Model:
    """Stands for a network of one weight."""

    def __init__(self) -> None:
        self.weight = tf.Variable(0.0)
        self.checkpoint_items = {"weight": self.weight}


def best_weights(folder: Path, first_step: int, model: Model) -> BestWeights:
    made: Any = model
    optimizer = tf_keras.optimizers.SGD()
    return BestWeights(
        str(folder),
        str(folder),
        first_step,
        model=made,
        optimizer=optimizer,
        cross_worker_sum=lambda values: np.asarray(values, np.float32),
    )


def validate(best: BestWeights, model: Model, aps: dict[int, float], saved: list[int]) -> None:
    for step, ap in aps.items():
        model.weight.assign(float(step))
        best.after_validation(step, ap, [step_saved for step_saved in saved if step_saved <= step])


@pytest.mark.parametrize(
    ("aps", "step"),
    [
        ({2: 0.1, 4: 0.3, 6: 0.2}, 4),
        ({2: 0.3, 4: 0.3}, 2),  # the first of equal ones
        ({2: 0.0}, 2),
        ({2: 0.1, 4: 0.2, 6: 0.3}, 6),
    ],
)
def test_the_highest_ap_is_restored(tmp_path: Path, aps: dict[int, float], step: int) -> None:
    model = Model()
    best = best_weights(tmp_path, 0, model)
    validate(best, model, aps, [])
    assert best.restore() == Validation(step=step, ap=float(np.float32(aps[step])))
    assert float(model.weight) == step
    kept = {path.name.split(".")[0] for path in (tmp_path / "best").iterdir()}
    assert kept == {"best", f"step-{step}"}, "the others are removed"
    best.clear()
    assert not (tmp_path / "best").exists()


@pytest.mark.parametrize(
    ("first_step", "after", "step"),
    [
        (10, {12: 0.1}, 8),  # nothing is lost
        (6, {8: 0.4, 10: 0.4}, 8),  # repeated with the same result
        (6, {8: 0.2, 10: 0.2}, 4),  # on a machine that rounds otherwise
        (4, {6: 0.1, 8: 0.1}, 4),
        (2, {4: 0.1, 6: 0.1}, 2),
    ],
)
def test_a_resumed_run_starts_from_what_was_best_up_to_its_checkpoint(
    tmp_path: Path, first_step: int, after: dict[int, float], step: int
) -> None:
    """As if the steps after the checkpoint had never been made."""
    model = Model()
    validate(best_weights(tmp_path, 0, model), model, {2: 0.2, 4: 0.3, 6: 0.1, 8: 0.4, 10: 0.3}, [2, 4, 6, 10])
    resumed = best_weights(tmp_path, first_step, model)
    validate(resumed, model, after, [2, 4, 6, 10])
    assert resumed.restore().step == step
    assert float(model.weight) == step
    # A further run doesn't find what the interrupted one had.
    again = best_weights(tmp_path, max(after), Model())
    assert again.restore().step == step


def test_a_hold_out_without_objects_chooses_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the held-out images have no objects"):
        best_weights(tmp_path, 0, Model()).after_validation(2, None, [])


@pytest.mark.parametrize("ema", [pytest.param(False, marks=pytest.mark.slow), True])
def test_a_training_ends_with_its_best_weights(
    records_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], ema: bool
) -> None:
    """In six steps the AP stays about 0. The first of equal ones counts, so the best weights are not the last."""
    text = TINY_CONFIG
    if ema:
        text = text.replace("  optimizer_config:\n", "  optimizer_config:\n    ema: {average_decay: 0.5}\n")
    override = f"{HOLDOUT},trainer.validation_interval=2"
    summary = train(records=str(records_folder), output=str(tmp_path), config=text, params_override=override)
    output = capsys.readouterr().out
    rows = [row for row in read_history(str(tmp_path)) if "ap" in row]
    assert [row["measured_on"] for row in rows] == ["3 held-out training images"] * 3
    assert "on 7 images x 2 views (3 more held out)" in output
    assert (summary["images"], summary["held_out"]) == (7, 3)
    best = max(rows, key=lambda row: (row["ap"], -row["step"]))
    assert summary["chosen"]["step"] == best["step"] < 6
    assert f"weights of step {best['step']}, the best on the hold-out" in output
    assert not (tmp_path / "best").exists()
    # The weights are those that the run had at that step: a checkpoint was saved there, too.
    found = weights(tmp_path)
    saved = tf.train.load_checkpoint(str(tmp_path / f"ckpt-{best['step']}"))
    kernels = [name for name in found if name.endswith("kernel/.ATTRIBUTES/VARIABLE_VALUE")]
    assert kernels
    equal = [np.array_equal(found[name], saved.get_tensor(name)) for name in kernels]
    assert all(equal) is not ema, "with averages, those are the weights"


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("trainer.choose_checkpoint=best", "best needs a hold-out"),
        ("trainer.choose_checkpoint=first", "use last or best"),
        ("trainer.holdout_fraction=0.6", "out of range; use 0 to 0.5"),
        ("trainer.holdout_fraction=0.05", "of the 10 images in .* is less than one"),
    ],
)
def test_bad_input(records_folder: Path, tmp_path: Path, override: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        train(records=str(records_folder), output=str(tmp_path), config=TINY_CONFIG, params_override=override)


def test_a_hold_out_and_validation_records_are_one_too_many(
    records_folder: Path, val_records_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"holdout_fraction is 0.3, so the training is monitored on its hold-out"):
        train(
            records=str(records_folder),
            output=str(tmp_path),
            config=TINY_CONFIG,
            val_records=str(val_records_folder),
            params_override="trainer.holdout_fraction=0.3",
        )


@pytest.mark.slow
def test_kill_after_kill_the_same_weights_are_chosen(records_folder: Path, tmp_path: Path) -> None:
    """kill -9 at arbitrary times, between validations and checkpoints at other steps."""
    config = tmp_path / "run.yaml"
    config.write_text(TINY_CONFIG)
    override = (
        f"{HOLDOUT},trainer.train_steps=60,trainer.checkpoint_interval=7,trainer.steps_per_loop=5,"
        "trainer.validation_interval=5,trainer.optimizer_config.learning_rate.cosine.decay_steps=60"
    )
    killed, random, starts = tmp_path / "killed", np.random.default_rng(0), []
    running = command(config, killed, records_folder, override)
    while finished.read_summary(str(killed)) is None:
        starts.append(saved_step(killed))
        with (tmp_path / "output").open("w") as output:
            process = subprocess.Popen(running, stdout=output, stderr=output)
        if len(starts) == 4:
            assert process.wait() == 0, (tmp_path / "output").read_text()
        while process.poll() is None and saved_step(killed) == starts[-1]:
            time.sleep(0.002)
        time.sleep(random.uniform(0.0, 0.1))
        process.kill()
        process.wait()
    assert len(set(starts)) > 2, starts
    undisturbed = tmp_path / "undisturbed"
    train(records=str(records_folder), output=str(undisturbed), config=TINY_CONFIG, params_override=override)
    found, expected = (json.loads((f / "train.json").read_text())["chosen"] for f in (killed, undisturbed))
    assert found["step"] == expected["step"]
    assert found["ap"] == pytest.approx(expected["ap"], abs=1e-3)
    ours, theirs = weights(killed), weights(undisturbed)
    for name in ours:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=2e-3, atol=2e-3, err_msg=name)
