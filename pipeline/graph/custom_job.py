"""Training as a Vertex AI CustomJob: a plain task's component, in worker pools that the target describes."""

from collections.abc import Callable
from typing import Any

from pipeline.graph import kfp_spec
from pipeline.graph.targets import Target

REDUCTION_SERVER = "us-docker.pkg.dev/vertex-ai-restricted/training/reductionserver:latest"
"""Google's image; it exists under this tag only."""
REDUCTION_MACHINE = "n1-highcpu-16"
LIBTPU = "/lib/libtpu.so"
"""Where Vertex AI's documentation wants it in an image; trainer/Dockerfile links the package's file there. TensorFlow
loads it when it is imported, and fails if it is missing."""
LIBRARY_NAME = "custom-training-job"
"""The library's name for every component that it wraps."""


def as_custom_job(component: Any, target: Target) -> Callable[..., Any]:
    """The component with the same inputs and outputs, which Google's launcher runs as a CustomJob.

    Args:
      component: a lightweight component.
      target: its `custom_job` is true.
    """
    # It takes seconds to import, and other targets don't need it.
    from google_cloud_pipeline_components.v1.custom_job import create_custom_training_job_from_component

    job = create_custom_training_job_from_component(
        component,
        display_name=f"centernet-train-{target.name}",
        replica_count=target.replicas,
        machine_type=target.machine_type,
        accelerator_type=target.accelerator,
        accelerator_count=target.accelerator_count or 1,
        boot_disk_size_gb=target.boot_disk_gb,
        timeout=f"{round(target.timeout_hours * 3600)}s",
        # A replaced worker finds no partners: the whole job restarts from the newest checkpoint.
        restart_job_on_worker_restart=target.replicas > 1 or target.capacity == "spot",
        strategy={"spot": "SPOT", "flex-start": "FLEX_START"}.get(target.capacity, "STANDARD"),
        max_wait_duration=f"{round(target.max_wait_hours * 3600)}s",
        **_reservation(target.reservation),
        psc_interface_config={"network_attachment": target.network_attachment} if target.network_attachment else None,
        encryption_spec_key_name=target.encryption_key,
        env=[{"name": name, "value": value} for name, value in environment(target).items()],
    )
    return _with_pools(job, target)


def environment(target: Target) -> dict[str, str]:
    """Environment variables of training on the target.

    From v5e on (the chips with a topology), TensorFlow reaches a TPU through PJRT; without the first two variables it
    says "No TPU platform registered". v3 has the older path and must not have them. The third is in a public example
    for pip's tensorflow-tpu, not in Vertex AI's documentation.
    """
    values = {"PYTHONUNBUFFERED": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}
    if target.device == "gpu":
        values["TF_GPU_THREAD_MODE"] = "gpu_private"
    if target.tpu_topology:
        values |= {"NEXT_PLUGGABLE_DEVICE_USE_C_API": "true", "TF_PLUGGABLE_DEVICE_LIBRARY_PATH": LIBTPU}
        values["PJRT_DEVICE"] = "TPU"
    return values


def _reservation(name: str) -> dict[str, Any]:
    if not name:
        return {}
    return {
        "reservation_affinity_type": "SPECIFIC_RESERVATION",
        "reservation_affinity_key": "compute.googleapis.com/reservation-name",
        "reservation_affinity_values": [name],
    }


def _with_pools(job: Any, target: Target) -> Callable[..., Any]:
    """Adds what the library has no argument for: the topology of a TPU, and the pool of reduction servers."""
    if not target.tpu_topology and not target.reduction_servers:
        return job

    def edit(spec: dict[str, Any]) -> None:
        for owner in (spec["root"], *spec["components"].values()):
            declared = owner.get("inputDefinitions", {}).get("parameters", {}).get("worker_pool_specs")
            if declared is not None:
                _edit_pools(declared["defaultValue"], target)

    edited: Callable[..., Any] = kfp_spec.edited(job, edit, old_name=LIBRARY_NAME, new_name="train")
    return edited


def _edit_pools(pools: list[dict[str, Any]], target: Target) -> None:
    if target.tpu_topology:
        for pool in pools:
            pool["machine_spec"]["tpu_topology"] = target.tpu_topology
    if target.reduction_servers:
        pools.append(
            {
                "machine_spec": {"machine_type": REDUCTION_MACHINE},
                "replica_count": target.reduction_servers,
                "container_spec": {"image_uri": REDUCTION_SERVER},
            }
        )
