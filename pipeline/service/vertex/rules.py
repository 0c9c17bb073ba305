"""What Vertex AI would refuse, found before anything is sent. The limits are data: limits.yaml, with their sources.

Each error names its rule, what was asked, what the service takes, and the source. The server of the tests reads the
same data and has checks of its own, so a mistake here does not hide itself.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from beam_preprocess.base.errors import InputError

LIMITS = Path(__file__).with_name("limits.yaml")
CAPACITIES = ("on-demand", "spot", "flex-start", "reservation")
_STRATEGY = {"STANDARD": "on-demand", "SPOT": "spot", "FLEX_START": "flex-start"}


@cache
def limits() -> dict[str, Any]:
    """The content of limits.yaml."""
    content: dict[str, Any] = yaml.safe_load(LIMITS.read_text())
    return content


@dataclass(frozen=True, kw_only=True, slots=True)
class Connection:
    """Region, network and key of a run; "" means not given."""

    region: str
    network: str = ""
    network_attachment: str = ""
    encryption_key: str = ""


def check(spec: Mapping[str, Any], labels: Mapping[str, str], connection: Connection) -> None:
    """Checks a compiled pipeline and what is sent with it.

    Raises:
      InputError: a rule is broken.
    """
    _labels(labels)
    _connection(connection)
    for name, executor in spec["deploymentSpec"]["executors"].items():
        _plain_task(name.removeprefix("exec-"), executor.get("container", {}).get("resources", {}))
    for name, values in _custom_jobs(spec):
        _custom_job(name, values, connection)


def machine_accelerator(machine_type: str) -> tuple[str, int]:
    """The accelerators that a GPU machine holds: type and count.

    Raises:
      InputError: it is not one of the listed GPU machines.
    """
    known = limits()["gpu_machines"]
    if machine_type not in known:
        raise InputError(f"--machine-type {machine_type}: not a GPU machine of {LIMITS.name}: {', '.join(known)}")
    return known[machine_type]["accelerator"], known[machine_type]["count"]


def serving_accelerator(machine_type: str) -> tuple[str, int]:
    """The accelerators of a machine that serves predictions: type and count, or ("", 0).

    Raises:
      InputError: it isn't listed, or isn't available on demand.
    """
    row = limits()["gpu_machines"].get(machine_type)
    if row is not None and "on-demand" in row["capacity"]:
        return row["accelerator"], row["count"]
    if machine_type not in limits()["serving_machines"]:
        what = f"deploy.machine_type: {machine_type!r}: serves no predictions on demand"
        raise InputError(f"{what}; give one of {LIMITS.name}, such as n1-standard-4 or g2-standard-8")
    return "", 0


def _broken(rule: str, what: str, fix: str, source: str) -> InputError:
    return InputError(f"rule {rule}: {what}; {fix} ({limits()['sources'][source]})")


def _labels(labels: Mapping[str, str]) -> None:
    limit = limits()["labels"]
    if len(labels) > limit["count"]:
        raise _broken("labels", f"{len(labels)} labels", f"give at most {limit['count']}", "labels")
    for key, value in labels.items():
        if not re.fullmatch(limit["key"], key) or not re.fullmatch(limit["value"], value):
            fix = "keys and values have at most 63 of a-z, 0-9, _ and -, and keys begin with a letter"
            raise _broken("labels", f"--labels {key}={value}", fix, "labels")


def _connection(given: Connection) -> None:
    if given.network and given.network_attachment:
        what = "--network and --network-attachment are both given"
        raise _broken("network", what, "a job has one of them; leave one out", "network")
    for name in ("network", "network_attachment", "encryption_key"):
        value, form = getattr(given, name), limits()[name].replace("{region}", given.region)
        if value and not re.fullmatch(form, value):
            shown = re.sub(r"\[\^/\\s\]\+", "NAME", form)
            raise _broken(name.replace("_", "-"), f"--{name.replace('_', '-')} {value}", f"give {shown}", "jobs")


def _plain_task(name: str, resources: Mapping[str, Any]) -> None:
    cpu, memory = float(resources.get("cpuLimit", 0)), float(resources.get("memoryLimit", 0))
    most = limits()["plain_task"]
    if cpu > most["cpu"] or memory > most["memory_gb"]:
        raise _broken(
            "plain-task",
            f"{name} asks for {cpu:g} CPUs and {memory:g} GB",
            f"a step that is not a custom job gets at most {most['cpu']} and {most['memory_gb']} GB",
            "plain_task",
        )
    accelerator = resources.get("accelerator", {})
    kind, count = accelerator.get("type", ""), int(float(accelerator.get("count", 0)))
    if not count:
        return
    fitting = [
        machine
        for machine, facts in limits()["gpu_machines"].items()
        if (facts["accelerator"], facts["count"]) == (kind, count)
        and "on-demand" in facts["capacity"]
        and cpu <= facts["cpu"]
        and memory <= facts["memory_gb"]
    ]
    if not fitting:
        what = f"{name} asks for {count} x {kind} with {cpu:g} CPUs and {memory:g} GB on demand"
        fix = f"no such machine exists on demand: see {LIMITS.name}"
        raise _broken("plain-task-accelerator", what, fix, "gpu_machines")


def _custom_jobs(spec: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every component that Google's launcher runs as a CustomJob, with its parameters' values."""
    for name, component in spec["components"].items():
        declared = component.get("inputDefinitions", {}).get("parameters", {})
        if "worker_pool_specs" in declared:
            yield name.removeprefix("comp-"), {key: value.get("defaultValue") for key, value in declared.items()}


def _custom_job(name: str, values: Mapping[str, Any], connection: Connection) -> None:
    limit = limits()["custom_job"]
    pools = [pool for pool in values["worker_pool_specs"] if pool.get("replica_count", 1)]
    if len(pools) > limit["pools"] or int(pools[0].get("replica_count", 1)) != 1:
        fix = f"a job has at most {limit['pools']} pools, the first of one machine"
        raise _broken("pools", f"{name} has {[int(pool['replica_count']) for pool in pools]} machines", fix, "jobs")
    hours = float(str(values.get("timeout") or "0s").removesuffix("s")) / 3600
    if hours > limit["hours"]:
        raise _broken("timeout", f"{name} may take {hours:g} hours", f"give at most {limit['hours']}", "jobs")
    capacity = _STRATEGY[str(values.get("strategy") or "STANDARD")]
    for pool in pools:
        _pool(name, pool, capacity, connection)
    types = sorted({pool["machine_spec"]["machine_type"] for pool in pools})
    if capacity == "flex-start" and len(types) > 1:
        fix = "all pools of a job with flex-start have the same machine; leave --reduction-servers out"
        raise _broken("flex-start", f"{name} asks for {' and '.join(types)}", fix, "flex_start")


def _pool(name: str, pool: Mapping[str, Any], capacity: str, connection: Connection) -> None:
    limit, machine = limits()["custom_job"], pool["machine_spec"]
    kind = machine.get("machine_type", "")
    facts, source = _machine(kind)
    if facts is None:
        raise _broken("machine", f"{name} asks for the machine {kind}", f"it is not in {LIMITS.name}", "jobs")
    _devices(name, machine, facts, source)
    affinity = machine.get("reservation_affinity")
    if affinity:
        capacity = "reservation"
        for reservation in affinity.get("values", ()):
            form = limits()["reservation"].replace("{region}", connection.region)
            if not re.fullmatch(form, reservation):
                fix = f"give projects/PROJECT/zones/ZONE/reservations/NAME, in {connection.region}"
                raise _broken("reservation", f"--capacity reservation={reservation}", fix, "jobs")
    if capacity not in facts["capacity"]:
        fix = f"it comes as {', '.join(facts['capacity'])}: change --capacity, or the machine"
        about = {"flex-start": "flex_start", "reservation": "reservation"}.get(capacity, source)
        raise _broken("capacity", f"{name} asks for {kind} as {capacity}", fix, about)
    if capacity == "spot" and facts.get("topologies", {}).get(machine.get("tpu_topology"), 1) > 1:
        what = f"{name} asks for the TPU Pod {machine['tpu_topology']} as spot"
        raise _broken("spot-pod", what, "a Pod can't be spot; leave --capacity out", "spot")
    disk = pool.get("disk_spec", {})
    least, most = limit["boot_disk_gb"]
    size, disk_type = disk.get("boot_disk_size_gb", least), disk.get("boot_disk_type", "pd-ssd")
    if not least <= size <= most or disk_type not in limit["disk_types"]:
        fix = f"give {least} to {most} GB of {' or '.join(limit['disk_types'])}"
        raise _broken("boot-disk", f"--boot-disk-gb: {name} asks for {size:g} GB of {disk_type}", fix, "jobs")
    variables = len(pool.get("container_spec", {}).get("env", ()))
    if variables > limit["environment"]:
        fix = f"a container takes at most {limit['environment']}"
        raise _broken("environment", f"{name} sets {variables} environment variables", fix, "jobs")


def _machine(kind: str) -> tuple[dict[str, Any] | None, str]:
    """What is known of a machine type, and the name of the source; None for an unknown one."""
    for table, source in (("gpu_machines", "gpu_machines"), ("tpu_machines", "tpu")):
        if kind in limits()[table]:
            return limits()[table][kind], source
    families = limits()["cpu_machines"]
    plain = re.fullmatch(r"([a-z0-9]+)-(standard|highmem|highcpu)-[0-9]+", kind)
    return (families if plain and plain[1] in families["families"] else None), "cpu_machines"


def _devices(name: str, machine: Mapping[str, Any], facts: Mapping[str, Any], source: str) -> None:
    """Accelerators, counts and topologies that go together with the machine."""
    kind, count = machine.get("accelerator_type", ""), int(machine.get("accelerator_count", 0))
    topology, of = machine.get("tpu_topology", ""), machine["machine_type"]
    if "topologies" in facts:
        if topology not in facts["topologies"] or kind:
            what = f"{name} asks for {of} with the topology {topology or 'none'}" + (f" and {kind}" if kind else "")
            fix = f"its topologies are {', '.join(facts['topologies'])}, without an accelerator"
            raise _broken("topology", what, fix, source)
        return
    allowed = facts.get("accelerators", {facts["accelerator"]: [facts["count"]]} if "accelerator" in facts else {})
    if topology or (count not in allowed.get(kind, ()) if allowed else bool(kind)):
        holds = ", ".join(f"{n} x {name}" for name, counts in allowed.items() for n in counts) or "no accelerator"
        what = f"{name} asks for {of} with {count} x {kind or 'no accelerator'}" + (f" as {topology}" * bool(topology))
        raise _broken("accelerator", what, f"it holds {holds}", source)
