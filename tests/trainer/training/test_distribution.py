"""Several replicas, in one process and in two: the same training as one device, and one writer."""

import gc
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from official.core import config_definitions as cfg

from beam_preprocess.base.config_text import resolve
from beam_preprocess.base.errors import InputError
from tests.trainer.families import family_config
from tests.trainer.made_records import TINY_CONFIG, write_records
from trainer.training import checkpoints, distribution, preemption
from trainer.training.history import read_history
from trainer.weights import finished

LOSSES = ("total_loss", "ct_loss", "scale_loss", "ct_offset_loss")

# Logical CPUs must exist before TensorFlow starts: a process of its own.
LOGICAL_DEVICES = """
import sys, tensorflow as tf
from trainer.train import main
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * int(sys.argv.pop(1)))
sys.exit(main())
"""
TRAIN = [sys.executable, "-m", "trainer.train"]
MIRRORED = [sys.executable, "-c", LOGICAL_DEVICES]
STEPS = 6


def flags(config: Path, records: Path, val_records: Path, folder: Path, strategy: str, more: str = "") -> list[str]:
    override = f"runtime.distribution_strategy={strategy},trainer.train_steps={STEPS},trainer.validation_interval=6"
    return [
        "--mode=train_and_eval",
        f"--model_dir={folder}",
        f"--records={records}",
        f"--val_records={val_records}",
        f"--config_file={config}",
        f"--params_override={override}{more}",
    ]


def start(command: list[str], environment: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, **environment}
    )


def run(commands: list[list[str]], environments: list[dict[str, str]], code: int = 0) -> list[str]:
    """Output of processes that run at once and all end with one exit code."""
    return finish([start(c, e) for c, e in zip(commands, environments, strict=True)], code)


def finish(processes: list[subprocess.Popen[str]], code: int = 0) -> list[str]:
    outputs = []
    try:
        for process in processes:
            outputs.append(process.communicate(timeout=1800)[0])
            assert process.returncode == code, outputs[-1][-3000:]
    finally:
        for process in processes:
            process.kill()
    return outputs


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """custom-small, at the size of the made records, and with synchronised batch norm, as the reference has."""
    text = resolve("custom-small").text.replace("use_sync_bn: false", "use_sync_bn: true")
    text = text.replace("image_size: [192, 192]", "image_size: [32, 64]").replace("train_views: 8", "train_views: 2")
    text = text.replace("steps_per_loop: 50", "steps_per_loop: 2")
    path = tmp_path_factory.mktemp("config") / "small.yaml"
    path.write_text(text)
    return path


@pytest.fixture(scope="module")
def one_device(
    tmp_path_factory: pytest.TempPathFactory, config: Path, records_folder: Path, val_records_folder: Path
) -> Path:
    folder = tmp_path_factory.mktemp("one") / "model"
    run([TRAIN + flags(config, records_folder, val_records_folder, folder, "one_device")], [{}])
    return folder


def assert_same_training(found: Path, expected: Path) -> None:
    """The losses of every check and of the validation, and the statistics that batch norm collected."""
    rows, others = read_history(str(found)), read_history(str(expected))
    assert [row["step"] for row in rows] == [row["step"] for row in others] == [2, 4, 6]
    for row, other in zip(rows, others, strict=True):
        for name in (*LOSSES, "validation_loss"):
            assert (name in row) == (name in other)
            if name in row:
                assert row[name] == pytest.approx(other[name], rel=5e-3), (row["step"], name)
        assert row.get("ap") == pytest.approx(other.get("ap"), abs=0.02)
    weights, expected_weights = (
        tf.train.load_checkpoint(str(folder / checkpoints.WEIGHTS)) for folder in (found, expected)
    )
    names = [n for n in weights.get_variable_to_shape_map() if "moving_mean/" in n]
    assert names
    for name in names:
        np.testing.assert_allclose(
            weights.get_tensor(name), expected_weights.get_tensor(name), rtol=2e-2, atol=2e-3, err_msg=name
        )


@pytest.mark.slow  # test_task.py holds loss and clipped gradient of two replicas against one device's every day
def test_two_replicas_take_the_steps_of_one_device(tmp_path: Path, trained: Path, records_folder: Path) -> None:
    """The smallest network, two steps; the loss of the second depends on the first's gradient."""
    config = tmp_path / "tiny.yaml"
    config.write_text(TINY_CONFIG.replace("use_sync_bn: false", "use_sync_bn: true"))
    folder, override = tmp_path / "mirrored", "trainer.train_steps=2,runtime.distribution_strategy=mirrored"
    given = {"model_dir": folder, "records": records_folder, "config_file": config, "params_override": override}
    (output,) = run([[*MIRRORED, "2", *(f"--{name}={value}" for name, value in given.items())]], [{}])
    assert "2 replica(s)" in output
    (row,), (expected, *_) = read_history(str(folder)), read_history(str(trained))
    assert row["step"] == expected["step"] == 2
    assert [row[name] for name in LOSSES] == pytest.approx([expected[name] for name in LOSSES], rel=1e-3)


@pytest.mark.slow
def test_two_replicas_take_the_steps_of_one_device_with_an_fpn(tmp_path: Path, records_folder: Path) -> None:
    """Synchronised batch norm in backbone and decoder."""
    config = tmp_path / "resnet.yaml"
    config.write_text(family_config("resnet").replace("use_sync_bn: false", "use_sync_bn: true"))
    losses = []
    for strategy, devices in (("one_device", "1"), ("mirrored", "2")):
        override = f"trainer.train_steps=2,runtime.distribution_strategy={strategy}"
        given = {"model_dir": tmp_path / strategy, "records": records_folder, "config_file": config}
        given["params_override"] = override
        run([[*MIRRORED, devices, *(f"--{name}={value}" for name, value in given.items())]], [{}])
        losses += [[row[name] for name in LOSSES] for row in read_history(str(tmp_path / strategy))]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


@pytest.mark.slow
def test_two_replicas_train_as_one_device(
    tmp_path: Path, config: Path, one_device: Path, records_folder: Path, val_records_folder: Path
) -> None:
    folder = tmp_path / "mirrored"
    (output,) = run([[*MIRRORED, "2", *flags(config, records_folder, val_records_folder, folder, "mirrored")]], [{}])
    assert "2 replica(s)" in output
    assert_same_training(folder, one_device)


@pytest.fixture
def two_workers(tmp_path: Path) -> list[dict[str, str]]:
    """The environments of a chief and a worker: TF_CONFIG as Vertex sets it, and a scratch folder of its own each."""
    cluster = {"chief": [f"localhost:{free_port()}"], "worker": [f"localhost:{free_port()}"]}
    environments = []
    for kind in cluster:
        scratch = tmp_path / f"{kind}-scratch"
        scratch.mkdir()
        spec = {"cluster": cluster, "task": {"type": kind, "index": 0}}
        environments.append({"TF_CONFIG": json.dumps(spec), "TMPDIR": str(scratch), "PYTHONUNBUFFERED": "1"})
    return environments


@pytest.mark.slow
def test_two_workers_train_as_one_device_and_only_the_chief_writes(
    tmp_path: Path,
    config: Path,
    one_device: Path,
    two_workers: list[dict[str, str]],
    records_folder: Path,
    val_records_folder: Path,
) -> None:
    folder = tmp_path / "workers"
    command = TRAIN + flags(config, records_folder, val_records_folder, folder, "multi_worker_mirrored")
    for output in run([command] * 2, two_workers):
        assert "2 replica(s)" in output
        assert "on 6 validation images" in output, "AP is of all validation images, not of a worker's"
    assert_same_training(folder, one_device)
    assert (folder / "train.json").exists()
    assert len(list((folder / "tensorboard").iterdir())) == 1, "a second writer"
    # The worker has saved as well, which takes all, but into a folder of its own, which is gone.
    # AutoGraph's code is compiled there too.
    assert {path.name for path in (tmp_path / "worker-scratch").iterdir()} <= {"__pycache__"}


SHARES = """
import json, os
import numpy as np
import orbit
from official.core import config_definitions as cfg
from trainer.training import distribution
strategy = distribution.make_strategy(cfg.RuntimeConfig(distribution_strategy="multi_worker_mirrored"))
from trainer.data import input_pipeline
from trainer.config.experiment import RecordsConfig
from trainer.training.task import Task
from trainer.training.run import make_experiment
records = os.environ["RECORDS"]
manifest = input_pipeline.load_manifest(records)
experiment = make_experiment(os.environ["CONFIG"], "", manifest, records, "", 0)
task = Task(experiment.task, manifest)
batches = iter(orbit.utils.make_distributed_dataset(strategy, task.build_inputs, experiment.task.train_data))
epoch = [next(batches)[1].image_id for _ in range(manifest.images * manifest.views // 4)]
ids = [int(i) for part in epoch for i in strategy.experimental_local_results(part)[0].numpy()]
rows = {"chief": 3, "worker": 1}[json.loads(os.environ["TF_CONFIG"])["task"]["type"]]
batch = {"a": np.full([rows, 2], rows, np.int32), "none": np.zeros([rows, 0]), "b": np.arange(rows) + 10.0 * rows}
(found,) = distribution.gather(strategy, [{name: array[:1] for name, array in batch.items()},
                                          {name: array[1:] for name, array in batch.items()}])
total = distribution.cross_worker_sum(strategy)([[rows, 5.0]])
print(json.dumps({"ids": ids, "sums": total.tolist(), "dtypes": [v.dtype.name for v in found.values()],
                  "rows": {name: array.tolist() for name, array in found.items()}}))
"""


@pytest.mark.slow
def test_two_workers_read_every_image_once_and_share_what_they_have(
    two_workers: list[dict[str, str]], records_folder: Path
) -> None:
    """As the trainer distributes its input: one epoch per view, each image once in total."""
    given = {"RECORDS": str(records_folder), "CONFIG": TINY_CONFIG}
    outputs = run([[sys.executable, "-c", SHARES]] * 2, [environment | given for environment in two_workers])
    chief, worker = (json.loads(output.splitlines()[-1]) for output in outputs)
    assert len(chief["ids"]) == len(worker["ids"]) == 10
    # Both views of ten images, four a step: two of each worker's.
    assert sorted(chief["ids"] + worker["ids"]) == sorted(list(range(1000, 1010)) * 2)
    assert sorted(chief["ids"][:5] + worker["ids"][:5]) == list(range(1000, 1010)), "the first epoch"
    for found in (chief, worker):
        assert found["sums"] == [[4.0, 10.0]]
        assert found["rows"] == {"a": [[3, 3]] * 3 + [[1, 1]], "none": [[]] * 4, "b": [30.0, 31.0, 32.0, 10.0]}
        assert found["dtypes"] == ["int32", "float64", "float64"]


LONG = 60
"""Steps of a run that is killed on the way."""
LONG_LOOP = ("train_steps", "steps_per_loop", "checkpoint_interval", "validation_interval")
TO_THE_END = (
    f",trainer.train_steps={LONG},trainer.validation_interval={LONG}"
    # Or the learning rate is 0 before the kill, and any resume would do.
    f",trainer.optimizer_config.learning_rate.cosine.decay_steps={LONG}"
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "tiny.yaml"
    path.write_text(TINY_CONFIG.replace("use_sync_bn: false", "use_sync_bn: true"))
    return path


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, tiny: Path, records_folder: Path, val_records_folder: Path
) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed") / "model"
    run([TRAIN + flags(tiny, records_folder, val_records_folder, folder, "one_device", TO_THE_END)], [{}])
    return folder


def steps_saved(folder: Path) -> int:
    return checkpoints.step_of(tf.train.latest_checkpoint(str(folder)))


def wait_for_checkpoint(folder: Path, processes: list[subprocess.Popen[str]]) -> None:
    deadline = time.monotonic() + 1200
    while not steps_saved(folder):
        assert all(process.poll() is None for process in processes), "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("killed", ["both", "the worker"])
def test_workers_that_were_killed_resume_together(
    tmp_path: Path,
    tiny: Path,
    undisturbed: Path,
    two_workers: list[dict[str, str]],
    records_folder: Path,
    val_records_folder: Path,
    killed: str,
) -> None:
    """kill -9 on the way, and whoever is left is ended as the service does that restarts a job as a whole."""
    folder = tmp_path / "workers"
    command = TRAIN + flags(tiny, records_folder, val_records_folder, folder, "multi_worker_mirrored", TO_THE_END)
    processes = [start(command, environment) for environment in two_workers]
    wait_for_checkpoint(folder, processes)
    for process, name in zip(processes, ("the chief", "the worker"), strict=True):
        if killed in (name, "both"):
            process.kill()
            process.wait()
    for process in processes:
        process.kill()
        process.wait()
    assert finished.read_summary(str(folder)) is None
    stopped_at = steps_saved(folder)
    assert 0 < stopped_at < LONG

    for output in run([command] * 2, two_workers):
        assert f"steps {stopped_at} to {LONG}, resumed" in output
    assert finished.read_summary(str(folder))["steps"] == LONG
    rows, expected = read_history(str(folder)), read_history(str(undisturbed))
    assert [row["step"] for row in rows] == [row["step"] for row in expected] == list(range(2, LONG + 1, 2))
    for row, other in zip(rows, expected, strict=True):
        assert row["total_loss"] == pytest.approx(other["total_loss"], rel=0.05), row["step"]


@pytest.mark.slow
def test_workers_save_together_when_one_is_asked_to_stop(
    tmp_path: Path,
    tiny: Path,
    two_workers: list[dict[str, str]],
    records_folder: Path,
    val_records_folder: Path,
) -> None:
    # One loop for the whole training: nobody waits for its end.
    more = "".join(f",trainer.{key}=4000" for key in LONG_LOOP)
    folder = tmp_path / "workers"
    command = TRAIN + flags(tiny, records_folder, val_records_folder, folder, "multi_worker_mirrored", more)
    processes = [start(command, environment) for environment in two_workers]
    assert processes[1].stdout
    next(line for line in processes[1].stdout if line.startswith("progress: "))
    processes[1].send_signal(signal.SIGTERM)
    for output in finish(processes, preemption.EXIT_CODE):
        assert "rerun the same command to resume" in output
    (row,) = read_history(str(folder))
    assert steps_saved(folder) == row["step"] < 4000


@pytest.mark.slow
def test_a_worker_that_is_killed_ends_the_chief_with_one_line(
    tmp_path: Path, tiny: Path, two_workers: list[dict[str, str]], records_folder: Path, val_records_folder: Path
) -> None:
    """It must not wait for ever, nor print a report of TensorFlow's internals."""
    folder = tmp_path / "workers"
    command = TRAIN + flags(tiny, records_folder, val_records_folder, folder, "multi_worker_mirrored", TO_THE_END)
    processes = [start(command, environment) for environment in two_workers]
    wait_for_checkpoint(folder, processes)
    processes[1].kill()
    (output,) = finish(processes[:1], code=1)
    processes[1].communicate()
    (line,) = [line for line in output.splitlines() if line.startswith("error: ")]
    assert "another worker is gone" in line
    assert "Traceback" not in output


@pytest.mark.slow
def test_every_validation_image_counts_once_on_any_number_of_replicas(
    tmp_path: Path, config: Path, one_device: Path, records_folder: Path
) -> None:
    """Seven images in batches of six: the last batch leaves most replicas without any."""
    write_records(tmp_path / "val", images=7, split="val", shards=1)
    rows = []
    for replicas in (1, 2, 3):
        folder = tmp_path / f"model{replicas}"
        shutil.copytree(one_device, folder)
        command = [
            *MIRRORED,
            str(replicas),
            "--mode=eval",
            f"--model_dir={folder}",
            f"--val_records={tmp_path / 'val'}",
            f"--config_file={config}",
        ]
        override = "task.validation_data.global_batch_size=6,runtime.distribution_strategy=mirrored"
        (output,) = run([[*command, f"--params_override={override}"]], [{}])
        assert "on 7 images" in output
        (result,) = [line.removeprefix("result: ") for line in output.splitlines() if line.startswith("result: ")]
        rows.append(json.loads(result))
    assert rows[0]["validation_loss"] > 0
    for row in rows[1:]:
        assert row["validation_loss"] == pytest.approx(rows[0]["validation_loss"], rel=1e-4)
        assert row["ap"] == pytest.approx(rows[0]["ap"], abs=1e-6)


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
def test_devices_that_are_not_there(values: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # TensorFlow collects garbage before it looks for a TPU: a minute, with the graphs of other tests.
    monkeypatch.setattr(gc, "collect", lambda: 0)
    with pytest.raises(InputError, match=message):
        distribution.make_strategy(cfg.RuntimeConfig(**values))


@pytest.mark.parametrize(("hosts", "refused"), [(1, False), (2, True)])
def test_a_tpu_slice_of_several_hosts_is_refused(monkeypatch: pytest.MonkeyPatch, hosts: int, refused: bool) -> None:
    """Without a TPU at hand: only what is made of the strategy that TensorFlow would return."""
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
