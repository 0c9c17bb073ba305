"""The documented limits: each is broken once. The command refuses it before anything is sent, and so does the server
on loopback, which reads the same data with checks of its own.
"""

import copy
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from beam_preprocess.base.errors import InputError
from pipeline.graph.targets import TARGETS
from pipeline.service.vertex import rules
from tests.loopback.invocations import spec_of
from tests.loopback.test_servers import JOB
from tests.loopback.vertex_server import PARENT, VertexServer
from tests.pipeline.graph.golden import in_a_thread

pytestmark = pytest.mark.usefixtures("one_compilation_per_target")

Json = dict[str, Any]
NETWORK = "projects/1/global/networks/mine"
ATTACHMENT = "projects/1/regions/us-central1/networkAttachments/mine"
KEY = "projects/1/locations/us-central1/keyRings/ring/cryptoKeys/mine"
RESERVATION = "projects/1/zones/us-central1-a/reservations/mine"


def sent(job: Json) -> None:
    """The rules, applied to a job as it is sent."""
    connection = rules.Connection(
        region="us-central1",
        network=job.get("network", ""),
        network_attachment=job.get("pscInterfaceConfig", {}).get("networkAttachment", ""),
        encryption_key=job.get("encryptionSpec", {}).get("kmsKeyName", ""),
    )
    rules.check(job["pipelineSpec"], job["labels"], connection)


def job_of(target: str) -> Json:
    return copy.deepcopy({**JOB, "pipelineSpec": in_a_thread(spec_of, target)})


def resources(step: str, **changes: Any) -> Callable[[Json], None]:
    def change(job: Json) -> None:
        job["pipelineSpec"]["deploymentSpec"]["executors"][f"exec-{step}"]["container"]["resources"].update(changes)

    return change


def trains(pool: int = 0, **changes: Any) -> Callable[[Json], None]:
    """Changes a worker pool of training by section, and its other parameters by name."""

    def change(job: Json) -> None:
        inputs = job["pipelineSpec"]["components"]["comp-train"]["inputDefinitions"]["parameters"]
        pools = inputs["worker_pool_specs"]["defaultValue"]
        for name, value in changes.items():
            if name in inputs:
                inputs[name]["defaultValue"] = value
            elif isinstance(value, dict):
                pools[pool][name].update(value)
            else:
                pools[pool][name] = value

    return change


def machine(**changes: Any) -> Callable[[Json], None]:
    return trains(machine_spec=changes)


def field(**changes: Any) -> Callable[[Json], None]:
    return lambda job: job.update(changes)


def both(*changes: Callable[[Json], None]) -> Callable[[Json], None]:
    def change(job: Json) -> None:
        for one in changes:
            one(job)

    return change


def reserved(name: str) -> Callable[[Json], None]:
    return machine(reservation_affinity={"reservation_affinity_type": "SPECIFIC_RESERVATION", "values": [name]})


ONE_H100 = {"machine_type": "a3-highgpu-1g", "accelerator_type": "NVIDIA_H100_80GB", "accelerator_count": 1.0}
POD = {"machine_type": "ct5lp-hightpu-4t", "tpu_topology": "4x4"}
BREAKS: list[tuple[str, str, Callable[[Json], None]]] = [
    # What the targets asked for until 2026-11.
    ("plain-task", "vertex-gpu", resources("train", memoryLimit=680.0)),
    ("plain-task", "vertex-gpu", resources("train", cpuLimit=208.0)),
    (
        "plain-task-accelerator",
        "vertex-gpu",
        resources("evaluate", cpuLimit=26.0, memoryLimit=234.0, accelerator={"type": "NVIDIA_H100_80GB", "count": "1"}),
    ),
    # What they could ask for.
    ("plain-task-accelerator", "vertex-gpu", resources("evaluate", cpuLimit=16.0)),
    ("plain-task-accelerator", "vertex-gpu", resources("train", accelerator={"type": "TPU_V3", "count": "8"})),
    ("machine", "vertex-gpu-job", machine(machine_type="a9-giga-8g")),
    ("accelerator", "vertex-gpu-job", machine(accelerator_count=4.0)),
    ("accelerator", "vertex-gpu-job", machine(accelerator_type="NVIDIA_H100_80GB")),
    ("accelerator", "vertex-gpu-job", machine(machine_type="n1-standard-96")),
    ("accelerator", "vertex-tpu-v3", machine(accelerator_count=4.0)),
    ("topology", "vertex-tpu-v5e", machine(tpu_topology="4x4")),
    ("topology", "vertex-tpu-v5e", machine(accelerator_type="TPU_V5_LITEPOD", accelerator_count=8.0)),
    ("capacity", "vertex-gpu-h100", machine(**ONE_H100)),
    ("capacity", "vertex-tpu-v5e", trains(strategy="FLEX_START")),
    ("capacity", "vertex-tpu-v3", reserved(RESERVATION)),
    ("reservation", "vertex-gpu-job", reserved("mine")),
    ("spot-pod", "vertex-tpu-v5e", both(machine(**POD), trains(strategy="SPOT"))),
    ("flex-start", "vertex-multinode-gpu", both(trains(strategy="FLEX_START"), trains(1, machine_spec=ONE_H100))),
    ("timeout", "vertex-gpu-job", trains(timeout="604801s")),
    ("pools", "vertex-multinode-gpu", trains(replica_count=2.0)),
    ("boot-disk", "vertex-gpu-job", trains(disk_spec={"boot_disk_size_gb": 50.0})),
    ("boot-disk", "vertex-gpu-job", trains(disk_spec={"boot_disk_type": "hyperdisk-balanced"})),
    (
        "environment",
        "vertex-gpu-job",
        trains(container_spec={"env": [{"name": f"A{n}", "value": ""} for n in range(101)]}),
    ),
    ("labels", "vertex-gpu", field(labels={f"l{n}": "" for n in range(65)})),
    ("labels", "vertex-gpu", field(labels={"k" * 64: ""})),
    ("labels", "vertex-gpu", field(labels={"team": "v" * 64})),
    ("labels", "vertex-gpu", field(labels={"Team": "vision"})),
    ("network", "vertex-gpu", field(network=NETWORK, pscInterfaceConfig={"networkAttachment": ATTACHMENT})),
    ("network", "vertex-gpu", field(network="default")),
    ("network-attachment", "vertex-gpu", field(pscInterfaceConfig={"networkAttachment": "mine"})),
    ("encryption-key", "vertex-gpu", field(encryptionSpec={"kmsKeyName": KEY.replace("us-central1", "global")})),
]
FITS: list[tuple[str, Callable[[Json], None]]] = [
    *((name, field()) for name in TARGETS if name.startswith("vertex-")),
    ("vertex-gpu-h100", both(machine(**ONE_H100), trains(strategy="SPOT"))),
    ("vertex-gpu-h100", both(machine(**ONE_H100), trains(strategy="FLEX_START"))),
    ("vertex-gpu-job", reserved(RESERVATION)),
    ("vertex-tpu-v5e", machine(**POD)),
    ("vertex-gpu", field(pscInterfaceConfig={"networkAttachment": ATTACHMENT}, encryptionSpec={"kmsKeyName": KEY})),
    ("vertex-gpu", field(labels={"k" * 63: "v" * 63, "empty": ""})),
]


@pytest.fixture(scope="module")
def server() -> Iterator[VertexServer]:
    made = VertexServer()
    yield made
    made.stop()


def answer(server: VertexServer, job: Json) -> requests.Response:
    return requests.post(f"{server.url}/v1/{PARENT}/pipelineJobs", json=job, timeout=10)


@pytest.mark.parametrize(
    ("rule", "target", "change"), BREAKS, ids=[f"{rule}-{n}" for n, (rule, *_) in enumerate(BREAKS)]
)
def test_each_rule_is_broken_once(rule: str, target: str, change: Callable[[Json], None], server: VertexServer) -> None:
    job = job_of(target)
    change(job)
    with pytest.raises(InputError, match=f"^rule {rule}: ") as broken:
        sent(job)
    assert "\n" not in str(broken.value)
    assert any(source in str(broken.value) for source in rules.limits()["sources"].values())
    refused = answer(server, job)
    assert refused.status_code == 400
    assert refused.json()["error"]["message"].startswith("limit exceeded: ")


@pytest.mark.parametrize(("target", "change"), FITS, ids=[f"{name}-{n}" for n, (name, _) in enumerate(FITS)])
def test_what_fits(target: str, change: Callable[[Json], None], server: VertexServer) -> None:
    job = job_of(target)
    change(job)
    sent(job)
    assert answer(server, job).status_code == 200


def test_every_rule_has_a_row() -> None:
    named = set(re.findall(r'_broken\(\s*"([\w-]+)"', Path(rules.__file__).read_text()))
    assert named <= {rule for rule, *_ in BREAKS}
    assert len(named) > 10
