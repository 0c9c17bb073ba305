"""The loopback Vertex AI's own reading of limits.yaml: it shares the data with the code under test, and no check."""

import re
from itertools import chain
from typing import Any

import yaml

from pipeline.service.vertex.rules import LIMITS
from tests.loopback.server import Json, Rejected

TABLE: Json = yaml.safe_load(LIMITS.read_text())
REGION = "us-central1"
CAPACITY = {"": "on-demand", "STANDARD": "on-demand", "SPOT": "spot", "FLEX_START": "flex-start"}


def check_limits(job: Json) -> None:
    """Checks a PipelineJob.

    Raises:
      Rejected: it exceeds a limit.
    """
    refuse(len(job["displayName"]) > TABLE["names"]["display"], "displayName is too long")
    check_labels(job.get("labels", {}))
    psc, key = job.get("pscInterfaceConfig", {}), job.get("encryptionSpec", {})
    refuse("network" in job and bool(psc), "network and pscInterfaceConfig are both set")
    check_name("network", job.get("network", ""))
    check_name("network_attachment", psc.get("networkAttachment", ""))
    check_name("encryption_key", key.get("kmsKeyName", ""))
    spec = job["pipelineSpec"]
    for executor in spec["deploymentSpec"]["executors"].values():
        check_task(executor.get("container", {}).get("resources", {}))
    for component in spec["components"].values():
        inputs = component.get("inputDefinitions", {}).get("parameters", {})
        if "worker_pool_specs" in inputs:
            check_custom_job({name: value.get("defaultValue") for name, value in inputs.items()})


def check_labels(labels: dict[str, str]) -> None:
    limit = TABLE["labels"]
    refuse(len(labels) > limit["count"], f"{len(labels)} labels")
    for key, value in labels.items():
        refuse(re.fullmatch(limit["key"], key) is None, f"label {key!r}")
        refuse(re.fullmatch(limit["value"], value) is None, f"label {key}: {value!r}")


def check_name(kind: str, value: str) -> None:
    pattern = TABLE[kind].replace("{region}", REGION)
    refuse(bool(value) and re.fullmatch(pattern, value) is None, f"{kind} {value!r} does not match {pattern}")


def check_task(resources: Json) -> None:
    most = TABLE["plain_task"]
    refuse(resources.get("cpuLimit", 0) > most["cpu"], f"a task with {resources.get('cpuLimit')} CPUs")
    refuse(resources.get("memoryLimit", 0) > most["memory_gb"], f"a task with {resources.get('memoryLimit')} GB")
    wanted = resources.get("accelerator")
    if wanted:
        machines = [row for row in TABLE["gpu_machines"].values() if "on-demand" in row["capacity"]]
        machines = [
            row for row in machines if [row["accelerator"], str(row["count"])] == [wanted["type"], wanted["count"]]
        ]
        enough = any(
            row["cpu"] >= resources.get("cpuLimit", 0) and row["memory_gb"] >= resources.get("memoryLimit", 0)
            for row in machines
        )
        refuse(not enough, f"no machine on demand has {wanted['count']} {wanted['type']} for this task")


def check_custom_job(values: Json) -> None:
    limit, pools = TABLE["custom_job"], values["worker_pool_specs"]
    refuse(len(pools) > limit["pools"] or pools[0]["replica_count"] != 1, "worker pools: the first has one machine")
    refuse(int(values["timeout"].rstrip("s")) > 3600 * limit["hours"], f"timeout {values['timeout']}")
    way = CAPACITY[values.get("strategy") or ""]
    if way == "flex-start":
        refuse(
            len({pool["machine_spec"]["machine_type"] for pool in pools}) > 1, "FLEX_START with several machine types"
        )
    for pool in pools:
        check_machine(pool["machine_spec"], way)
        size = pool.get("disk_spec", {}).get("boot_disk_size_gb", limit["boot_disk_gb"][0])
        refuse(not limit["boot_disk_gb"][0] <= size <= limit["boot_disk_gb"][1], f"a boot disk of {size} GB")
        refuse(pool.get("disk_spec", {}).get("boot_disk_type", "pd-ssd") not in limit["disk_types"], "boot disk type")
        refuse(len(pool["container_spec"].get("env", [])) > limit["environment"], "too many environment variables")
    psc = values.get("psc_interface_config") or {}
    check_name("network_attachment", psc.get("network_attachment", ""))
    check_name("encryption_key", values.get("encryption_spec_key_name") or "")


def check_machine(machine: Json, way: str) -> None:
    name, topology = machine["machine_type"], machine.get("tpu_topology")
    has = (machine.get("accelerator_type"), machine.get("accelerator_count"))
    row: Any = TABLE["gpu_machines"].get(name) or TABLE["tpu_machines"].get(name)
    if row is None:
        row = TABLE["cpu_machines"]
        refuse(name.split("-")[0] not in row["families"] or len(name.split("-")) != 3, f"machine type {name}")
    if "accelerator" in row:
        possible = [(row["accelerator"], row["count"], None)]
    elif "accelerators" in row:
        possible = list(chain(*([(kind, n, None) for n in counts] for kind, counts in row["accelerators"].items())))
    else:
        possible = [(None, None, shape) for shape in row.get("topologies", [None])]
    refuse((*has, topology) not in possible, f"{name} with {has[1]} {has[0]}, topology {topology}")
    for reservation in machine.get("reservation_affinity", {}).get("values", []):
        way = "reservation"
        check_name("reservation", reservation)
    refuse(way not in row["capacity"], f"{name} as {way}")
    refuse(way == "spot" and row.get("topologies", {}).get(topology, 1) > 1, f"{topology} as spot")


def refuse(wrong: bool, why: str) -> None:
    if wrong:
        raise Rejected(400, f"limit exceeded: {why}")
