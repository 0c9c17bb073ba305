import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from made_records import TINY_CONFIG, write_records

from beam_preprocess.errors import InputError
from trainer import checkpoints, loop
from trainer.train import main, train


def _weights(folder: Path) -> dict[str, np.ndarray]:
    reader = tf.train.load_checkpoint(str(folder / checkpoints.WEIGHTS))
    return {n: reader.get_tensor(n) for n in reader.get_variable_to_shape_map() if "OBJECT_GRAPH" not in n}


def test_a_finished_folder(trained: Path) -> None:
    summary = json.loads((trained / "train.json").read_text())
    assert summary["steps"] == 6
    assert summary["categories"][2] == {"index": 2, "id": 30, "name": "class2"}
    assert (trained / "config.yaml").read_text() == TINY_CONFIG
    rows = loop.read_history(str(trained))
    assert [row["step"] for row in rows] == [2, 4, 6]
    assert all(math.isfinite(row["total_loss"]) for row in rows)
    assert rows[-1]["validation_loss"] > 0
    assert _weights(trained)


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


def test_a_killed_run_goes_on_to_the_same_weights(records_folder: Path, tmp_path: Path) -> None:
    """SIGKILL after the first checkpoint; the second process resumes, and ends where an undisturbed run ends."""
    steps = "trainer.train_steps=12"
    config = tmp_path / "run.yaml"
    config.write_text(TINY_CONFIG)

    def command(folder: Path) -> list[str]:
        flags = {"model_dir": folder, "records": records_folder, "config_file": config, "params_override": steps}
        return [sys.executable, "-m", "trainer.train", *(f"--{name}={value}" for name, value in flags.items())]

    killed = tmp_path / "killed"
    process = subprocess.Popen(command(killed), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 240
    while checkpoints.step_of(tf.train.latest_checkpoint(str(killed))) < 2:
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    stopped_at = checkpoints.step_of(tf.train.latest_checkpoint(str(killed)))
    assert checkpoints.read_summary(str(killed)) is None

    resumed = subprocess.run(command(killed), capture_output=True, text=True, check=True)
    assert re.search(rf"steps {stopped_at} to 12, resumed from", resumed.stdout)
    undisturbed = tmp_path / "undisturbed"
    train(records=str(records_folder), output=str(undisturbed), config=TINY_CONFIG, params_override=steps)
    expected, found = _weights(undisturbed), _weights(killed)
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=2e-3, atol=2e-4, err_msg=name)
    assert [row["step"] for row in loop.read_history(str(killed))] == [2, 4, 6, 8, 10, 12]


def test_ema_weights_are_the_ones_that_go_on(records_folder: Path, tmp_path: Path) -> None:
    config = TINY_CONFIG.replace("  optimizer_config:\n", "  optimizer_config:\n    ema: {average_decay: 0.5}\n")
    train(records=str(records_folder), output=str(tmp_path / "ema"), config=config)
    train(records=str(records_folder), output=str(tmp_path / "raw"), config=TINY_CONFIG)
    averaged, raw = _weights(tmp_path / "ema"), _weights(tmp_path / "raw")
    assert checkpoints.read_summary(str(tmp_path / "ema"))["ema"]
    kernel = next(n for n in raw if "kernel" in n)
    assert np.abs(averaged[kernel] - raw[kernel]).max() > 1e-5
    assert np.abs(averaged[kernel] - raw[kernel]).max() < 0.1


@pytest.mark.parametrize("modules", ["backbone", "all"])
def test_a_model_starts_from_another_ones_weights(
    trained: Path, records_folder: Path, tmp_path: Path, modules: str
) -> None:
    """Also from the Orbit checkpoint in a model folder, which Model Garden's "all" cannot load."""
    newest = tf.train.latest_checkpoint(str(trained))
    for name, path in (("finished", str(trained)), ("orbit", newest)):
        override = (
            f"task.init_checkpoint={path},task.init_checkpoint_modules={modules},"
            "trainer.optimizer_config.learning_rate.cosine.initial_learning_rate=0.0,trainer.train_steps=2"
        )
        folder = tmp_path / name
        train(records=str(records_folder), output=str(folder), config=TINY_CONFIG, params_override=override)
        started, original = _weights(folder), _weights(trained)
        same = {n for n in original if n.endswith("kernel/.ATTRIBUTES/VARIABLE_VALUE")}
        equal = {n for n in same if np.array_equal(started[n], original[n])}
        assert equal == (same if modules == "all" else {n for n in same if n.startswith("backbone")})


def test_a_non_finite_loss_stops_the_run_and_names_the_steps(records_folder: Path, tmp_path: Path) -> None:
    override = "trainer.optimizer_config.learning_rate.cosine.initial_learning_rate=1e30,task.gradient_clip_norm=0"
    with pytest.raises(loop.NonFiniteLoss, match=r"between steps \d+ and \d+"):
        train(records=str(records_folder), output=str(tmp_path), config=TINY_CONFIG, params_override=override)
    assert checkpoints.read_summary(str(tmp_path)) is None


def test_weights_that_broke_after_a_finite_loss_are_not_saved(
    records_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The step that breaks the weights still has a finite loss, and its end is the time to save."""
    config = tmp_path / "run.yaml"
    config.write_text(TINY_CONFIG)
    rate = "{type: stepwise, stepwise: {boundaries: [2], values: [0.001, .inf]}}"
    flags = [f"--records={records_folder}", f"--model_dir={tmp_path / 'model'}", f"--config_file={config}"]
    override = f"trainer: {{optimizer_config: {{learning_rate: {rate}}}}}"
    assert main([*flags, f"--params_override={override}"]) == 1
    assert "a weight became NaN or infinite between steps 3 and 4; the last checkpoint" in capsys.readouterr().err
    newest = checkpoints.newest_whole(str(tmp_path / "model"), repair=False)
    assert checkpoints.step_of(newest) == 2
    reader = tf.train.load_checkpoint(newest)
    names = [name for name, dtype in reader.get_variable_to_dtype_map().items() if dtype.is_floating]
    assert names
    assert all(np.isfinite(reader.get_tensor(name)).all() for name in names)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--records", "nowhere"], "nowhere: no manifest.json"),
        (["--config_file", "nothing.yaml"], "nothing.yaml: no such file"),
        (["--params_override", "trainer.train_stepz=1"], "train_stepz"),
        (["--params_override", "runtime.num_gpus=4"], "num_gpus: 4, but this machine has 0"),
        (["--params_override", "runtime.mixed_precision_dtype=float8"], "float8"),
        (["--params_override", "runtime.distribution_strategy=tpu"], "runtime.tpu"),
        (["--mode", "train_and_eval"], "--val_records"),
        (["--params_override", "task.init_checkpoint=nowhere"], "nowhere: no checkpoint"),
    ],
)
def test_bad_input_is_exit_code_2_and_one_line(
    records_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], message: str
) -> None:
    config = tmp_path / "run.yaml"
    config.write_text(TINY_CONFIG)
    defaults = {"--model_dir": str(tmp_path / "out"), "--records": str(records_folder), "--config_file": str(config)}
    given = dict(zip(flags[::2], flags[1::2], strict=True))
    assert main([part for pair in (defaults | given).items() for part in pair]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert message in line


def test_history_of_a_resumed_run_forgets_what_came_after_its_checkpoint(tmp_path: Path) -> None:
    history = loop.History(str(tmp_path), 0, [])
    for step in (2, 4, 6):
        history.add({"step": step, "total_loss": 1.0})
    history.add({"step": 6, "validation_loss": 2.0})
    assert loop.read_history(str(tmp_path))[-1] == {"step": 6, "total_loss": 1.0, "validation_loss": 2.0}
    assert loop.History(str(tmp_path), 4, loop.read_history(str(tmp_path))).last()["step"] == 4
    assert [row["step"] for row in loop.read_history(str(tmp_path))] == [2, 4]


def test_records_of_another_size_are_refused(tmp_path: Path) -> None:
    write_records(tmp_path / "records")
    config = TINY_CONFIG.replace("image_size: [32, 64]", "image_size: [64, 64]")
    with pytest.raises(InputError, match="image_size"):
        train(records=str(tmp_path / "records"), output=str(tmp_path / "out"), config=config)
