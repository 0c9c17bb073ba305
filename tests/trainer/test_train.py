import importlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from beam_preprocess.format.manifest import DIGEST, content_digest
from tests.trainer.made_records import TINY_CONFIG
from tests.trainer.training.runs import command, saved_step
from trainer.data import input_pipeline
from trainer.train import main
from trainer.training import checkpoints, distribution
from trainer.training.history import read_history
from trainer.weights import finished


def _weights(folder: Path) -> dict[str, np.ndarray]:
    reader = tf.train.load_checkpoint(str(folder / checkpoints.WEIGHTS))
    return {n: reader.get_tensor(n) for n in reader.get_variable_to_shape_map() if "OBJECT_GRAPH" not in n}


@pytest.mark.slow  # a minute; tests/trainer/training/test_controller.py resumes in one process every day
def test_a_killed_run_resumes_to_the_same_weights(records_folder: Path, tmp_path: Path) -> None:
    """SIGKILL leaves the files as they are at that moment. A copy of them, made while the process is stopped, is what
    it would have left: a second process resumes from the copy and ends where the first one, undisturbed, ends."""
    last = 80  # a step takes milliseconds: the process must not reach its end before it is stopped
    steps = f"trainer.train_steps={last}"
    config = tmp_path / "run.yaml"
    config.write_text(TINY_CONFIG)

    # With several threads the order of a sum depends on how busy the machine is, and Adam makes a whole step of the
    # last bit of a small gradient. One thread has one order, so the two runs must agree in every bit.
    one_order = os.environ | {"TF_NUM_INTRAOP_THREADS": "1"}

    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    process = subprocess.Popen(command(config, undisturbed, records_folder, steps), env=one_order)
    try:
        deadline = time.monotonic() + 1200
        while saved_step(undisturbed) < 2:
            assert process.poll() is None, "it ended before it could be stopped"
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)
        shutil.copytree(undisturbed, killed)
        process.send_signal(signal.SIGCONT)
        assert process.wait() == 0
    finally:
        process.kill()
    stopped_at = saved_step(killed)
    assert stopped_at < last
    assert finished.read_summary(str(killed)) is None

    again = command(config, killed, records_folder, steps)
    resumed = subprocess.run(again, env=one_order, capture_output=True, text=True, check=True)
    assert re.search(rf"steps {stopped_at} to {last}, resumed from", resumed.stdout)
    expected, found = _weights(undisturbed), _weights(killed)
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
    rows, curve = read_history(str(killed)), read_history(str(undisturbed))
    assert [row["step"] for row in rows] == [row["step"] for row in curve] == list(range(2, last + 1, 2))
    for row, other in zip(rows, curve, strict=True):
        assert row["total_loss"] == other["total_loss"], row["step"]


def test_weights_that_broke_after_a_finite_loss_are_not_saved(
    records_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The step that breaks the weights still has a finite loss, and a checkpoint is due after it."""
    config = tmp_path / "run.yaml"
    config.write_text(TINY_CONFIG)
    rate = "{type: stepwise, stepwise: {boundaries: [2], values: [0.001, .inf]}}"
    flags = [f"--records={records_folder}", f"--model_dir={tmp_path / 'model'}", f"--config_file={config}"]
    override = f"trainer: {{optimizer_config: {{learning_rate: {rate}}}}}"
    assert main([*flags, f"--params_override={override}"]) == 1
    assert (
        "a weight became NaN or infinite between steps 3 and 4; the last checkpoint is older" in capsys.readouterr().err
    )
    newest = checkpoints.newest_whole(str(tmp_path / "model"), repair=False)
    assert checkpoints.step_of(newest) == 2
    reader = tf.train.load_checkpoint(newest)
    names = [name for name, dtype in reader.get_variable_to_dtype_map().items() if dtype.is_floating]
    assert names
    assert all(np.isfinite(reader.get_tensor(name)).all() for name in names)


def _flags(config: Path, records: Path, folder: Path, extra: dict[str, str]) -> list[str]:
    given = {"--model_dir": str(folder), "--records": str(records), "--config_file": str(config)} | extra
    return [part for pair in given.items() if pair[1] for part in pair]


def _refused(flags: list[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The only error line of a command that exits with 2, makes no step and writes nothing."""
    before = sorted(folder.rglob("*"))
    assert main(flags) == 2
    printed = capsys.readouterr()
    (line,) = [line for line in printed.err.splitlines() if line.startswith("error: ")]
    assert "training " not in printed.out
    assert sorted(folder.rglob("*")) == before
    return line


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"--records": "nowhere"}, "nowhere: no manifest.json"),
        ({"--config_file": "nothing.yaml"}, "nothing.yaml: no such file"),
        ({"--params_override": "trainer.train_stepz=1"}, "train_stepz"),
        ({"--params_override": "runtime.num_gpus=4"}, "num_gpus: 4, but this machine has 0"),
        ({"--params_override": "runtime.mixed_precision_dtype=float8"}, "float8"),
        ({"--params_override": "runtime.distribution_strategy=tpu"}, "runtime.tpu"),
        ({"--tpu": "local"}, "runtime.tpu: local: no TPU there"),
        ({"--mode": "train_and_eval"}, "--val-records: mode train_and_eval needs it"),
        ({"--params_override": "task.init_checkpoint=./nowhere"}, "nowhere: no checkpoint"),
        ({"--params_override": "task.model.num_classes=80"}, "num_classes: 80, but"),
        ({"--mode": "eval", "--records": "", "--val_records": "the records"}, "no checkpoint there; train first"),
    ],
)
def test_bad_input_is_exit_code_2_and_one_line(
    records_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: dict[str, str], message: str
) -> None:
    config = tmp_path / "run.yaml"
    config.write_text(TINY_CONFIG)
    flags = {name: str(records_folder) if value == "the records" else value for name, value in flags.items()}
    line = _refused(_flags(config, records_folder, tmp_path / "out", flags), tmp_path / "out", capsys)
    assert message in line


def _manifest(folder: Path, **values: object) -> None:
    """Writes a manifest with other values, as another preprocessing would."""
    path = folder / "manifest.json"
    content = {**json.loads(path.read_text()), **values}
    content.pop(DIGEST)
    path.write_text(json.dumps({**content, DIGEST: content_digest(content)}))


def _edit(folder: Path, old: str, new: str) -> None:
    path = folder / "manifest.json"
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


def _damage(folder: Path) -> None:
    content = bytearray(_shard(folder).read_bytes())
    content[-100] ^= 1
    _shard(folder).write_bytes(content)


def _shard(folder: Path) -> Path:
    return sorted(folder.glob("*.tfrecord"))[-1]


@pytest.mark.parametrize("which", ["--records", "--val_records"])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "manifest.json").unlink(), "no manifest.json"),
        (lambda folder: _manifest(folder, schema_version=99), "schema_version is 99, this code reads 1"),
        (lambda folder: _manifest(folder, num_classes=7), "num_classes: 3, but"),
        (
            lambda folder: _manifest(
                folder,
                parameters={"image_size": [64, 64], "stride": 4, "heatmap_cutoff": 1e-3, "gaussian_iou": 0.7},
            ),
            "image_size: [32, 64], but",
        ),
        (lambda folder: _manifest(folder, images=5000), "counts 5000 images, but its shards hold"),
        (lambda folder: _edit(folder, '"class0"', '"class9"'), "changed after it was written; run the preprocessing"),
        (lambda folder: _edit(folder, '"seed": 0', '"seed": 1'), "changed after it was written"),
        (lambda folder: (folder / "manifest.json").write_bytes(b"\xff"), "cannot be read"),
        (_damage, "has another sha256 than its manifest lists"),
        (lambda folder: _shard(folder).unlink(), "tfrecord is missing"),
        (lambda folder: _shard(folder).write_bytes(b""), "is empty, but its manifest lists"),
        (lambda folder: _shard(folder).write_bytes(_shard(folder).read_bytes()[:-1]), "its manifest lists"),
        (lambda folder: _shard(folder).write_bytes(bytes(_shard(folder).stat().st_size)), "is not a TFRecord file"),
    ],
)
def test_records_that_cannot_be_trained_on(
    tmp_path: Path,
    trained: Path,
    records_folder: Path,
    val_records_folder: Path,
    capsys: pytest.CaptureFixture[str],
    which: str,
    damage: Callable[[Path], object],
    message: str,
) -> None:
    folders = {"--records": tmp_path / "train", "--val_records": tmp_path / "val"}
    for folder, source in zip(folders.values(), (records_folder, val_records_folder), strict=True):
        shutil.copytree(source, folder)
    damage(folders[which])
    config = tmp_path / "run.yaml"
    # The number of classes given, or validation records would decide what the training records are refused for.
    config.write_text(TINY_CONFIG.replace("  model:\n", "  model:\n    num_classes: 3\n"))
    flags = {"--mode": "train_and_eval", "--val_records": str(folders["--val_records"])}
    line = _refused(_flags(config, folders["--records"], tmp_path / "out", flags), tmp_path / "out", capsys)
    assert message in line
    assert str(folders[which]) in line
    if which == "--val_records":
        flags |= {"--mode": "eval", "--records": ""}
        assert message in _refused(_flags(config, folders["--records"], trained, flags), trained, capsys)


@pytest.mark.parametrize(
    ("hosts", "replicas", "override", "message"),
    [
        (2, 8, "task.train_data.global_batch_size=16", "a slice of 2 hosts"),
        (1, 8, "task.train_data.global_batch_size=12", "task.train_data.global_batch_size: 12 is not a multiple of"),
        (
            1,
            8,
            "task.train_data.global_batch_size=16,task.validation_data.global_batch_size=12",
            "task.validation_data.global_batch_size: 12 is not a multiple of the 8 replicas",
        ),
    ],
)
def test_a_slice_that_the_command_refuses(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    records_folder: Path,
    val_records_folder: Path,
    capsys: pytest.CaptureFixture[str],
    hosts: int,
    replicas: int,
    override: str,
    message: str,
) -> None:
    """Without a TPU at hand: what the command makes of a slice as TensorFlow describes it."""
    found = SimpleNamespace(num_replicas_in_sync=replicas, extended=SimpleNamespace(num_hosts=hosts))
    monkeypatch.setattr(distribution.distribute_utils, "get_distribution_strategy", lambda *_, **__: found)
    config = tmp_path / "run.yaml"
    config.write_text(TINY_CONFIG)
    flags = {"--mode": "train_and_eval", "--val_records": str(val_records_folder), "--tpu": "local"}
    flags["--params_override"] = override
    line = _refused(_flags(config, records_folder, tmp_path / "out", flags), tmp_path / "out", capsys)
    assert message in line


@pytest.mark.slow
def test_damage_inside_a_shard_is_named_when_it_is_read(
    tmp_path: Path, records_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The size is right and the first record is whole: in large records, only the checksums of the others show it."""
    monkeypatch.setattr(input_pipeline, "HASHED_BYTES", 0)
    shutil.copytree(records_folder, tmp_path / "train")
    for shard in (tmp_path / "train").glob("*.tfrecord"):
        content = bytearray(shard.read_bytes())
        content[-100] ^= 1
        shard.write_bytes(content)
    config = tmp_path / "run.yaml"
    config.write_text(TINY_CONFIG)
    assert main(_flags(config, tmp_path / "train", tmp_path / "out", {})) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert re.search(r"damaged inside a shard \(corrupted record at \d+", line)


COMMANDS = ("trainer.train", "trainer.init_weights", "trainer.preview_augmentation")


@pytest.mark.parametrize("module", COMMANDS)
def test_help_loads_no_tensorflow_and_its_examples_parse(module: str) -> None:
    parser = importlib.import_module(module).parser()
    examples = [line.strip() for line in parser.epilog.splitlines() if line.startswith("  centernet ")]
    assert examples
    for example in examples:
        words = shlex.split(example)
        assert " ".join(words[:2]) == parser.prog
        parser.parse_args(words[2:])
    probe = f"import sys, {module} as m; m.parser().format_help(); print('tensorflow' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert (found.stdout, found.stderr) == ("False\n", "")
