"""Machine-hours: machines x time limit x attempts."""

import re
from typing import Any

import pytest

from components.support.dataflow import Dataflow
from pipeline.graph.targets import TARGETS, Resources
from pipeline.service.cost import VERTEX_HOURS, Machine, Step, accelerator_hours, hours_table, machine_hours, steps
from tests.loopback.invocations import WHAT, WHERE, Run, spec_of
from tests.loopback.vertex_server import VertexServer

pytestmark = pytest.mark.usefixtures("loopback_cloud")

ACCELERATED = {"accelerator": "NVIDIA_TESLA_A100", "accelerators": 8}


@pytest.mark.parametrize(
    ("machine", "kind", "devices"),
    [
        (Machine(type="n1-standard-4", count=3), "n1-standard-4", 0),
        (Machine(type="n1-standard-4", capacity="spot"), "n1-standard-4 (spot)", 0),
        (Machine(cpu=12, memory_gb=85), "12 vCPU, 85 GB", 0),
        (Machine(cpu=96, memory_gb=624, **ACCELERATED), "96 vCPU, 624 GB + 8 x NVIDIA_TESLA_A100", 8),
        (Machine(type="a2-highgpu-8g", **ACCELERATED), "a2-highgpu-8g + 8 x NVIDIA_TESLA_A100", 8),
        (Machine(type="cloud-tpu", accelerator="TPU_V3", accelerators=8), "cloud-tpu + 8 x TPU_V3", 8),
        (Machine(type="ct5lp-hightpu-8t", topology="2x4"), "ct5lp-hightpu-8t", 8),
        (Machine(type="n2-standard-8", count=50, dataflow=True), "n2-standard-8 (Dataflow)", 0),
    ],
    ids=str,
)
def test_a_kind_of_machine(machine: Machine, kind: str, devices: int) -> None:
    assert (machine.kind, machine.devices[1]) == (kind, devices)
    step = Step(name="one", machines=(machine,), hours=2.0, attempts=3)
    assert machine_hours([step, step]) == {kind: 12.0 * machine.count}
    assert sum(accelerator_hours([step]).values()) == 6.0 * machine.count * devices


def planned(target: str, dataflow: Dataflow | None = None, **changes: Any) -> dict[str, Step]:
    return {step.name: step for step in steps(spec_of(target, **changes), dataflow)}


def test_all_worker_pools_and_attempts_count() -> None:
    train = planned("vertex-multinode-gpu", replicas=4, reduction_servers=3, retries=2, timeout_hours=10.0)["train"]
    assert [(machine.count, machine.type) for machine in train.machines] == [
        (1, "a2-highgpu-8g"),
        (3, "a2-highgpu-8g"),
        (3, "n1-highcpu-16"),
    ]
    assert (train.hours, train.attempts) == (10.0, 3)
    a2 = "a2-highgpu-8g + 8 x NVIDIA_TESLA_A100"
    assert machine_hours([train]) == {a2: 4 * 30.0, "n1-highcpu-16": 3 * 30.0}
    assert accelerator_hours([train]) == {"NVIDIA_TESLA_A100": 32 * 30.0}
    spot = planned("vertex-multinode-gpu", capacity="spot")["train"]
    assert {machine.capacity for machine in spot.machines} == {"spot"}


def test_a_stage_counts_until_its_time_limit() -> None:
    resources = {**TARGETS["vertex-gpu"].resources, "train": Resources(cpu="8", memory="32G", timeout_hours=2.5)}
    found = planned("vertex-gpu", resources=resources)
    assert found["train"].hours == 2.5
    assert found["train"].machines == (Machine(cpu=8, memory_gb=32),)
    assert found["preprocess train"].hours == TARGETS["vertex-gpu"].resources["preprocess"].timeout_hours
    mail = planned("vertex-gpu", notify=("owner@example.org",))["mail the outcome"]
    assert mail.hours == VERTEX_HOURS, "a step without a limit ends when the service ends it"
    assert mail.machines == (Machine(type="e2-standard-4"),), "a step that requests nothing gets the service's default"
    assert found["gate"].machines == (Machine(cpu=4, memory_gb=16),)
    assert {"promote", "hold", "evaluate champion", "nothing new"} <= set(found), "both branches of a condition"


def test_dataflow_workers_count_and_so_does_the_step_that_waits_for_them() -> None:
    place = {"project": "my-project", "region": "us-central1", "sdk_container_image": "r/i"}
    dataflow = Dataflow(**place, machine_type="n2-standard-16", max_workers=20)
    found = planned("vertex-gpu", dataflow)
    step, workers = found["preprocess train"].machines
    assert (step.dataflow, step.cpu) == (False, 16.0)
    assert workers == Machine(count=20, type="n2-standard-16", dataflow=True)
    assert not any(machine.dataflow for machine in found["train"].machines)


def test_steps_come_in_an_order_in_which_they_can_run() -> None:
    names = list(planned("vertex-gpu", notify=("owner@example.org",)))
    assert names[:2] == ["check the data", "check for changes"]
    assert names[-1] == "mail the outcome"
    order = ["preprocess train", "train", "export", "evaluate candidate", "find champion", "gate", "promote", "report"]
    assert sorted(order, key=names.index) == order


def test_the_sums_are_those_of_the_steps(run: Run, vertex: VertexServer) -> None:
    _, out, _ = run("submit", *WHERE, *WHAT, "--dry-run")
    found = list(planned("vertex-gpu").values())
    for kind, hours in machine_hours(found).items():
        assert hours == pytest.approx(sum(machine_hours([step]).get(kind, 0.0) for step in found))
        assert re.search(rf"^  machine-hours of {re.escape(kind)} +{hours:,.1f}$", out, re.MULTILINE)
    hours = accelerator_hours(found)["NVIDIA_TESLA_A100"]
    assert re.search(rf"^  accelerator-hours of NVIDIA_TESLA_A100 +{hours:,.1f}$", out, re.MULTILINE)
    assert "USD" not in out, "no price is built in"
    assert hours_table([]), "an empty plan has a table too"
    assert vertex.requests == []
