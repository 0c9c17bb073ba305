"""Targets that train as a CustomJob: the job that Google's launcher would create from the compiled spec."""

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from google.cloud.aiplatform_v1.types import CustomJob, ReservationAffinity, Scheduling
from google_cloud_pipeline_components.container.v1.gcp_launcher.utils.json_util import recursive_remove_empty

from pipeline.graph.custom_job import LIBTPU
from pipeline.graph.targets import TARGETS
from pipeline.service import submission
from tests.pipeline.graph.golden import CASES, compiled, in_a_thread

pytestmark = pytest.mark.xdist_group("compiled")  # one worker compiles each target, once

ACCOUNT = "trainer@my-project.iam.gserviceaccount.com"
NETWORK = "projects/123/global/networks/mine"
CUSTOM = [name for name, target in CASES.items() if target.custom_job]


def created(spec: dict[str, Any], **values: str) -> CustomJob:
    """The launcher's payload, with the component's defaults and what the graph passes filled in, as it is sent."""
    declared = spec["components"]["comp-train"]["inputDefinitions"]["parameters"]
    dags = [spec["root"]["dag"], *(c["dag"] for c in spec["components"].values() if "dag" in c)]
    (task,) = (dag["tasks"]["train"] for dag in dags if "train" in dag["tasks"])
    filled = {name: facts.get("defaultValue") for name, facts in declared.items()}
    for name, source in task["inputs"]["parameters"].items():
        filled[name] = values.get(source.get("componentInputParameter", "").removeprefix("pipelinechannel--"), "")
    args = spec["deploymentSpec"]["executors"]["exec-train"]["container"]["args"]
    payload = args[args.index("--payload") + 1]

    def fill(found: re.Match[str]) -> str:
        value = filled[found[1]]
        return value if isinstance(value, str) else json.dumps(value)

    text = re.sub(r"\{\{\$\.inputs\.parameters\['(\w+)'\]\}\}", fill, payload)
    # A field that the service doesn't have is an error.
    job: CustomJob = CustomJob.from_json(json.dumps(recursive_remove_empty(json.loads(text))))
    return job


@pytest.mark.parametrize("case", CUSTOM)
def test_the_job_has_what_the_table_says(case: str) -> None:
    target = CASES[case]
    job = created(compiled(case), service_account=ACCOUNT, network=NETWORK)
    spec = job.job_spec
    assert (spec.service_account, spec.network) == (ACCOUNT, NETWORK)
    assert spec.scheduling.timeout.total_seconds() == target.timeout_hours * 3600
    spot = target.capacity == "spot"
    assert spec.scheduling.strategy == (Scheduling.Strategy.SPOT if spot else Scheduling.Strategy.STANDARD)
    assert spec.scheduling.restart_job_on_worker_restart == (target.replicas > 1 or spot)
    assert not spec.psc_interface_config.network_attachment
    assert not job.encryption_spec.kms_key_name
    training = [pool for pool in spec.worker_pool_specs if pool.container_spec.image_uri == target.image]
    assert sum(pool.replica_count for pool in training) == target.replicas
    for pool in training:
        machine = pool.machine_spec
        assert machine.machine_type == target.machine_type
        assert machine.tpu_topology == target.tpu_topology
        assert machine.accelerator_type.name == (target.accelerator or "ACCELERATOR_TYPE_UNSPECIFIED")
        assert machine.accelerator_count == (target.accelerator_count if target.accelerator else 0)
        assert pool.disk_spec.boot_disk_size_gb == target.boot_disk_gb
        assert not machine.reservation_affinity.values
    assert len(spec.worker_pool_specs) == len(training) + bool(target.reduction_servers)


def test_without_account_and_network_the_service_chooses() -> None:
    spec = created(compiled("vertex-tpu-v5e")).job_spec
    assert (spec.service_account, spec.network) == ("", "")


@pytest.mark.parametrize(
    ("change", "seconds", "strategy", "retries"),
    [
        ({}, 48 * 3600, Scheduling.Strategy.STANDARD, 2),
        ({"timeout_hours": 1.5}, 5400, Scheduling.Strategy.STANDARD, 2),
        ({"capacity": "spot"}, 48 * 3600, Scheduling.Strategy.SPOT, 2),
        ({"retries": 5}, 48 * 3600, Scheduling.Strategy.STANDARD, 5),
    ],
)
def test_limits_capacity_and_retries_are_the_targets(
    change: dict[str, Any], seconds: int, strategy: Scheduling.Strategy, retries: int
) -> None:
    spec = in_a_thread(submission.compiled, replace(TARGETS["vertex-tpu-v3"], **change))
    scheduling = created(spec).job_spec.scheduling
    assert scheduling.timeout.total_seconds() == seconds
    assert scheduling.strategy == strategy
    (task,) = (
        c["dag"]["tasks"]["train"]
        for c in spec["components"].values()
        if "train" in c.get("dag", {"tasks": {}})["tasks"]
    )
    assert task["retryPolicy"]["maxRetryCount"] == retries


def test_flex_start_waits() -> None:
    target = replace(TARGETS["vertex-gpu-job"], capacity="flex-start", max_wait_hours=1.5)
    scheduling = created(in_a_thread(submission.compiled, target)).job_spec.scheduling
    assert scheduling.strategy == Scheduling.Strategy.FLEX_START
    assert scheduling.max_wait_duration.total_seconds() == 5400


def test_a_reservation_a_private_network_and_a_key() -> None:
    reservation = "projects/1/zones/us-central1-a/reservations/mine"
    attachment = "projects/1/regions/us-central1/networkAttachments/mine"
    key = "projects/1/locations/us-central1/keyRings/ring/cryptoKeys/mine"
    target = replace(
        TARGETS["vertex-gpu-h100"],
        capacity="reservation",
        reservation=reservation,
        boot_disk_gb=500,
        network_attachment=attachment,
        encryption_key=key,
    )
    job = created(in_a_thread(submission.compiled, target))
    (pool,) = job.job_spec.worker_pool_specs
    affinity = pool.machine_spec.reservation_affinity
    assert affinity.reservation_affinity_type == ReservationAffinity.Type.SPECIFIC_RESERVATION
    assert (affinity.key, list(affinity.values)) == ("compute.googleapis.com/reservation-name", [reservation])
    assert pool.disk_spec.boot_disk_size_gb == 500
    assert job.job_spec.psc_interface_config.network_attachment == attachment
    assert job.encryption_spec.kms_key_name == key


def test_tpus_with_a_topology_use_pjrt() -> None:
    (pool,) = created(compiled("vertex-tpu-v5e")).job_spec.worker_pool_specs
    variables = {variable.name: variable.value for variable in pool.container_spec.env}
    assert variables["NEXT_PLUGGABLE_DEVICE_USE_C_API"] == "true"
    assert variables["TF_PLUGGABLE_DEVICE_LIBRARY_PATH"] == LIBTPU
    assert variables["PJRT_DEVICE"] == "TPU"
    (pool,) = created(compiled("vertex-tpu-v3")).job_spec.worker_pool_specs
    assert {variable.name for variable in pool.container_spec.env} == {"PYTHONUNBUFFERED", "TF_CPP_MIN_LOG_LEVEL"}
