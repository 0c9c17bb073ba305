"""Several replicas, in one process and in two: the same training as one device, and one writer."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from made_records import TINY_CONFIG
from official.core import config_definitions as cfg

from beam_preprocess.errors import InputError
from trainer import checkpoints, distribution, loop

LOSSES = ("total_loss", "ct_loss", "scale_loss", "ct_offset_loss")

# Two logical CPUs must exist before TensorFlow starts: a process of its own.
TWO_DEVICES = """
import sys, tensorflow as tf
from trainer.train import main
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
sys.exit(main())
"""


def flags(config: Path, records: Path, val_records: Path, folder: Path, strategy: str) -> list[str]:
    override = f"runtime.distribution_strategy={strategy},trainer.train_steps=6,trainer.validation_interval=6"
    return [
        "--mode=train_and_eval",
        f"--model_dir={folder}",
        f"--records={records}",
        f"--val_records={val_records}",
        f"--config_file={config}",
        f"--params_override={override}",
    ]


def run(commands: list[list[str]], environments: list[dict[str, str]]) -> list[str]:
    """Output of processes that run at once and all succeed."""
    processes = [
        subprocess.Popen(c, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, **e})
        for c, e in zip(commands, environments, strict=True)
    ]
    outputs = []
    try:
        for process in processes:
            outputs.append(process.communicate(timeout=400)[0])
            assert process.returncode == 0, outputs[-1][-3000:]
    finally:
        for process in processes:
            process.kill()
    return outputs


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Synchronised batch norm, as the reference has."""
    path = tmp_path_factory.mktemp("config") / "tiny.yaml"
    path.write_text(TINY_CONFIG.replace("use_sync_bn: false", "use_sync_bn: true"))
    return path


@pytest.fixture(scope="module")
def one_device(
    tmp_path_factory: pytest.TempPathFactory, config: Path, records_folder: Path, val_records_folder: Path
) -> Path:
    folder = tmp_path_factory.mktemp("one") / "model"
    command = [sys.executable, "-m", "trainer.train"]
    run([command + flags(config, records_folder, val_records_folder, folder, "one_device")], [{}])
    return folder


def assert_same_training(found: Path, expected: Path) -> None:
    """The losses of every check and of the validation, and the statistics that batch norm collected."""
    rows, others = loop.read_history(str(found)), loop.read_history(str(expected))
    assert [row["step"] for row in rows] == [row["step"] for row in others] == [2, 4, 6]
    for row, other in zip(rows, others, strict=True):
        for name in (*LOSSES, "validation_loss"):
            assert (name in row) == (name in other)
            if name in row:
                assert row[name] == pytest.approx(other[name], rel=5e-3), (row["step"], name)
    weights, expected_weights = (
        tf.train.load_checkpoint(str(folder / checkpoints.WEIGHTS)) for folder in (found, expected)
    )
    names = [n for n in weights.get_variable_to_shape_map() if "moving_mean/" in n]
    assert names
    for name in names:
        np.testing.assert_allclose(
            weights.get_tensor(name), expected_weights.get_tensor(name), rtol=2e-2, atol=2e-3, err_msg=name
        )


def test_two_replicas_train_as_one_device(
    tmp_path: Path, config: Path, one_device: Path, records_folder: Path, val_records_folder: Path
) -> None:
    folder = tmp_path / "mirrored"
    command = [sys.executable, "-c", TWO_DEVICES]
    (output,) = run([command + flags(config, records_folder, val_records_folder, folder, "mirrored")], [{}])
    assert "2 replica(s)" in output
    assert_same_training(folder, one_device)


@pytest.mark.slow
def test_two_workers_train_as_one_device_and_only_the_chief_writes(
    tmp_path: Path, config: Path, one_device: Path, records_folder: Path, val_records_folder: Path
) -> None:
    """TF_CONFIG as Vertex sets it: a chief and workers."""
    folder, worker_scratch = tmp_path / "workers", tmp_path / "scratch"
    worker_scratch.mkdir()
    cluster = {"chief": [f"localhost:{free_port()}"], "worker": [f"localhost:{free_port()}"]}
    environments = [
        {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": kind, "index": 0}}), "TMPDIR": str(scratch)}
        for kind, scratch in (("chief", tmp_path), ("worker", worker_scratch))
    ]
    command = [sys.executable, "-m", "trainer.train"]
    command += flags(config, records_folder, val_records_folder, folder, "multi_worker_mirrored")
    for output in run([command] * 2, environments):
        assert "2 replica(s)" in output
    assert_same_training(folder, one_device)
    assert list(worker_scratch.glob("*/weights")), "the worker wrote into a folder of its own"
    assert (folder / "train.json").exists()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"distribution_strategy": "tpu"}, "tpu needs runtime.tpu"),
        ({"distribution_strategy": "tpu", "tpu": "local"}, "runtime.tpu: local: no TPU there"),
        ({"distribution_strategy": "parameter_server"}, "'parameter_server'; use one of one_device, mirrored"),
        ({"num_gpus": 8}, "runtime.num_gpus: 8, but this machine has 0"),
    ],
)
def test_devices_that_are_not_there(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        distribution.make_strategy(cfg.RuntimeConfig(**values))


@pytest.mark.parametrize(("hosts", "refused"), [(1, False), (2, True)])
def test_a_tpu_slice_of_several_hosts_is_refused(monkeypatch: pytest.MonkeyPatch, hosts: int, refused: bool) -> None:
    """No TPU is here: only what is made of the strategy that TensorFlow would return."""
    found = SimpleNamespace(extended=SimpleNamespace(num_hosts=hosts))
    asked: dict[str, Any] = {}

    def strategy(name: str, **arguments: Any) -> Any:
        asked.update(name=name, **arguments)
        return found

    monkeypatch.setattr(distribution.distribute_utils, "get_distribution_strategy", strategy)
    runtime = cfg.RuntimeConfig(distribution_strategy="tpu", tpu="local")
    if refused:
        with pytest.raises(InputError, match="a slice of 2 hosts"):
            distribution.make_strategy(runtime)
    else:
        assert distribution.make_strategy(runtime) is found
    assert asked == {"name": "tpu", "tpu_address": "local"}


def test_a_batch_that_the_replicas_cannot_share() -> None:
    strategy = SimpleNamespace(num_replicas_in_sync=8)
    distribution.check_batch(64, strategy, "task.train_data.global_batch_size")
    with pytest.raises(InputError, match="global_batch_size: 12 is not a multiple of the 8 replicas"):
        distribution.check_batch(12, strategy, "task.train_data.global_batch_size")
