"""Whole runs as the service would make them: each container's command from the compiled specs, one after the other."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from pipeline.graph.targets import TARGETS
from pipeline.local.demo_data import DemoData, generate
from tests.e2e.container_run import ContainerRun
from tests.e2e.tiny_run import CONFIG
from tests.pipeline.graph.golden import compiled
from trainer.registry.base import CHAMPION
from trainer.registry.local import LocalRegistry

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("containers")]

JOB = "1234567890"
"""Vertex AI's own id of a run."""
TRAINING = [name for name, target in TARGETS.items() if target.strategy]


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("data")
    small = DemoData(train_images=8, val_images=4, height=(96, 128), width=(96, 128), side=(30.0, 60.0))
    coco = generate(folder / "coco", small)
    data = {f"{split}_images": str(coco / f"{split}2017") for split in ("train", "val")}
    data |= {
        f"{split}_annotations": str(coco / f"annotations/instances_{split}2017.json") for split in ("train", "val")
    }
    return {**data, "config": CONFIG, "registry": str(folder / "registry")}


def new_run(case: str, values: dict[str, Any], folder: Path) -> ContainerRun:
    return ContainerRun(compiled(case), folder, values, pipeline_job_uuid=JOB, pipeline_root=str(folder / "root"))


@pytest.fixture(scope="module")
def records(values: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> ContainerRun:
    """A run of vertex-cpu up to the records, which are the same for every target."""
    run = new_run("vertex-cpu", values, tmp_path_factory.mktemp("cpu"))
    for task in ("data-check", "should-run", "preprocess"):
        run.run(task)
    return run


@pytest.fixture(scope="module")
def cpu(records: ContainerRun) -> ContainerRun:
    """The same run up to the decision: this machine can do all of it."""
    assert "1 replica(s), float32" in records.run("train").stdout
    tasks = ("export-model", "evaluate", "resolve-champion", "evaluate-2", "resolve-champion-2", "evaluate-3", "gate")
    for task in tasks:
        records.run(task)
    return records


def test_a_run_of_a_schedule_promotes_under_the_services_own_id_of_it(cpu: ContainerRun, tmp_path: Path) -> None:
    """Its parameters have no run_id; the graph passes the placeholder that the service fills in."""
    assert cpu.values["run_id"] == ""
    assert cpu.result("gate") == "promote"
    cpu.run("promote")
    assert cpu.result("promote").startswith("promoted: v0001")
    registry = LocalRegistry(cpu.values["registry"])
    assert registry.alias(CHAMPION) == "v0001"
    assert registry.version("v0001").metadata["run_id"] == JOB
    # The service runs a step again whose answer it lost: the same run is not published twice.
    cpu.run("promote")
    assert cpu.result("promote") == "promoted: v0001 (no champion before)"
    # So it is for the champion: the run compares with what it replaced, not with itself.
    cpu.run("resolve-champion")
    assert cpu.result("resolve-champion", "version") == ""
    cpu.outcome = cpu.result("promote")
    cpu.run("report")
    summary = json.loads(Path(cpu.uri("report", "summary")).read_text())
    assert summary["decision"]["outcome"] == "promoted"
    cpu.run("remember")
    cpu.values["only_if_changed"] = True
    cpu.run("should-run")
    assert cpu.result("should-run") is False
    assert cpu.run("unchanged").returncode == 0


def test_a_run_that_is_held(cpu: ContainerRun, values: dict[str, Any]) -> None:
    held = new_run("vertex-cpu", {**values, "config": CONFIG.replace("min_ap: 0.0", "min_ap: 0.99")}, cpu.folder)
    held.go_on_from(cpu)
    held.run("data-check")
    held.run("gate")
    assert held.result("gate") == "hold"
    held.run("hold")
    assert held.result("hold").startswith("held: min_ap")
    refused = held.container("promote")
    (refused.folder / "executor_output.json").unlink(missing_ok=True)
    process = refused.run()
    assert process.returncode != 0
    assert "PromotionRefused" in process.stderr
    assert refused.output() is None


@pytest.mark.parametrize("case", [name for name in TRAINING if TARGETS[name].device != "cpu"])
def test_what_the_target_says_of_devices_reaches_training(
    case: str, records: ContainerRun, values: dict[str, Any], tmp_path: Path
) -> None:
    """There is no such device here: the trainer's own refusal shows what it was asked for."""
    target = TARGETS[case]
    run = new_run(case, values, tmp_path)
    run.go_on_from(records)
    run.run("data-check")  # hands out the target's runtime with the configuration
    made = run.container("train")
    process = made.run()
    assert process.returncode != 0
    assert made.output() is None
    asked = {"gpu": "runtime.num_gpus: 8, but this machine has 0", "tpu": "runtime.tpu: local: no TPU there"}
    assert asked[target.device] in process.stderr


@pytest.mark.parametrize("case", ["vertex-gpu", "vertex-tpu-v5e"])
def test_the_targets_precision_trains(case: str, records: ContainerRun, values: dict[str, Any], tmp_path: Path) -> None:
    """On this machine's device, in the precision of the target's own `runtime`."""
    run = new_run(case, values, tmp_path)
    run.go_on_from(records)
    runtime = json.loads(run.values["runtime"])["runtime"]
    here = {"distribution_strategy": "one_device", "num_gpus": 0, "tpu": None}
    runtime = {name: here.get(name, value) for name, value in runtime.items()}
    run.run("data-check", changes={"runtime": json.dumps({"runtime": runtime})})
    printed = run.run("train").stdout
    assert f"1 replica(s), {TARGETS[case].precision}" in printed
    folder = Path(run.uri("train", "checkpoint")).parent
    assert f"mixed_precision_dtype: {TARGETS[case].precision}" in (folder / "params.yaml").read_text()


def test_chief_and_worker_train_together_and_the_chief_alone_answers(
    records: ContainerRun, values: dict[str, Any], tmp_path: Path
) -> None:
    """Both worker pools' commands at once, with CLUSTER_SPEC as Vertex AI sets it."""
    run = new_run("vertex-multinode-gpu", values, tmp_path)
    run.go_on_from(records)
    runtime = json.loads(run.values["runtime"])["runtime"]
    assert runtime["distribution_strategy"] == "multi_worker_mirrored"
    changes = {"runtime": json.dumps({"runtime": {**runtime, "num_gpus": 0, "mixed_precision_dtype": "float32"}})}
    run.run("data-check", changes=changes)
    cluster = {f"workerpool{pool}": [f"127.0.0.1:{free_port()}"] for pool in (0, 1)}
    containers = []
    for pool in (0, 1):
        spec = {
            "cluster": cluster,
            "environment": "cloud",
            "task": {"type": f"workerpool{pool}", "index": 0, "trial": ""},
        }
        containers.append(run.container("train", root=str(tmp_path / "out"), pool=pool, CLUSTER_SPEC=json.dumps(spec)))
    processes = [made.start() for made in containers]
    try:
        printed = [process.communicate(timeout=300) for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, (out, err) in zip(processes, printed, strict=True):
        assert process.returncode == 0, err[-3000:]
        assert "2 replica(s), float32" in out
    chief, worker = containers
    assert worker.output() is None
    run.keep("train", chief)
    assert json.loads(Path(run.uri("train", "checkpoint")).read_text())["steps"] == 150


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
