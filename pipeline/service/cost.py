"""The machines of a compiled pipeline and its cost ceiling: machines x list price x time limit.

It reads the compiled spec, so it shows what is sent, not what was meant. A ceiling is not an estimate: a run that
succeeds ends long before its time limits.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from beam_preprocess.base.errors import InputError
from components.support.dataflow import Dataflow
from components.support.stage import TIMEOUT

PRICES = Path(__file__).with_name("prices.yaml")
VERTEX_HOURS = 168.0
"""Vertex AI ends every job after seven days."""

_IMPLIES_ACCELERATOR = re.compile(r"(a2|a3|a4|g2|ct\w+)-")
_PREDEFINED = re.compile(r"([a-z]+[0-9][a-z]?)-(standard|highmem|highcpu)-([0-9]+)")
_GB_PER_VCPU = {"standard": (3.75, 4.0), "highmem": (6.5, 8.0), "highcpu": (0.9, 1.0)}
"""Memory by kind of machine: n1, and later families."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """Equal machines of one step; without `type` the step requests cpu, memory and accelerators."""

    count: int = 1
    type: str = ""
    cpu: float = 0.0
    memory_gb: float = 0.0
    accelerator: str = ""
    accelerators: int = 0
    topology: str = ""
    spot: bool = False
    dataflow: bool = False
    """A Dataflow worker, which has its own prices."""

    def __str__(self) -> str:
        words = [f"{self.count} x"] if self.count > 1 else []
        words.append(self.type or f"{self.cpu:g} vCPU, {self.memory_gb:g} GB")
        if self.topology:
            words.append(f"topology {self.topology}")
        if self.accelerators:
            words.append(f"+ {self.accelerators} x {self.accelerator}")
        return " ".join(words) + (" (spot)" if self.spot else "") + (" (Dataflow)" if self.dataflow else "")

    def size(self) -> tuple[float, float]:
        """Number of vCPUs and GB of memory, read from the name of a predefined machine type.

        Raises:
          InputError: the type is not predefined.
        """
        found = _PREDEFINED.fullmatch(self.type)
        if not found:
            raise InputError(f"dataflow.machine_type: {self.type}: unknown size; give a type such as n2-standard-8")
        vcpu = float(found[3])
        return vcpu, vcpu * _GB_PER_VCPU[found[2]][found[1] != "n1"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One task of the graph."""

    name: str
    """Display name in the graph."""
    machines: tuple[Machine, ...]
    hours: float
    """Time limit of one attempt."""
    attempts: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Prices:
    """A price list, per hour."""

    date: str
    source: str
    """Origin of the numbers; printed with every ceiling."""
    currency: str
    region: str
    machines: Mapping[str, float]
    accelerators: Mapping[str, float]
    vcpu: float
    memory_gb: float
    dataflow_vcpu: float
    dataflow_memory_gb: float
    default_machine: str
    """Machine of a step that requests nothing."""
    spot: float
    """Spot price as a fraction of the list price."""

    def hourly(self, machine: Machine) -> float:
        """Price per hour of all these machines.

        Raises:
          InputError: one of the names is missing from the list.
        """
        if machine.dataflow:
            vcpu, memory_gb = machine.size()
            return machine.count * (vcpu * self.dataflow_vcpu + memory_gb * self.dataflow_memory_gb)
        if machine.type:
            price = self._find("machines", machine.type)
        else:
            price = machine.cpu * self.vcpu + machine.memory_gb * self.memory_gb
        if machine.accelerators and not _IMPLIES_ACCELERATOR.match(machine.type):
            price += machine.accelerators * self._find("accelerators", machine.accelerator)
        return price * machine.count * (self.spot if machine.spot else 1.0)

    def _find(self, kind: str, name: str) -> float:
        table: Mapping[str, float] = getattr(self, kind)
        if name not in table:
            raise InputError(
                f"prices: {kind} has no {name}; copy {PRICES.name}, add it, and pass the file with --prices"
            )
        return table[name]


def read_prices(path: str | Path = PRICES) -> Prices:
    """Reads a price list.

    Raises:
      InputError: no such file, unknown or missing keys, or a value of the wrong type.
    """
    try:
        values = yaml.safe_load(Path(path).read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        why = " ".join(str(error).split())
        raise InputError(f"--prices {path}: cannot be read ({why}); copy {PRICES}") from error
    if not isinstance(values, dict):
        raise InputError(f"--prices {path}: not a mapping; copy {PRICES}")
    wanted = {field.name: str(field.type) for field in fields(Prices)}
    for problem, names in (("missing", set(wanted) - set(values)), ("unknown", set(values) - set(wanted))):
        if names:
            shown = ", ".join(sorted(map(str, names)))
            raise InputError(f"--prices {path}: {problem} keys: {shown}; copy {PRICES}")
    values["date"] = str(values["date"])  # YAML parses it to a date object
    for name, kind in wanted.items():
        value = values[name]
        if "Mapping" in kind:
            if not isinstance(value, dict):
                raise InputError(f"--prices {path}: {name}: {value!r}; give a table of names and prices")
            for row, price in value.items():
                _check_price(path, f"{name}.{row}", price)
        elif "float" in kind:
            _check_price(path, name, value)
        elif not isinstance(value, str) or not value:
            raise InputError(f"--prices {path}: {name}: {value!r}; give text")
    prices = Prices(**values)
    if prices.default_machine not in prices.machines:
        raise InputError(f"--prices {path}: default_machine: {prices.default_machine} is not in machines; add it there")
    return prices


def _check_price(path: str | Path, name: str, value: Any) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value < 0:
        raise InputError(f"--prices {path}: {name}: {value!r}; give a number of 0 or more")


def steps(spec: Mapping[str, Any], default_machine: str, dataflow: Dataflow | None = None) -> list[Step]:
    """Every task that needs a machine, in both branches of a condition.

    Args:
      spec: the compiled pipeline.
      default_machine: machine type of a step without resources.
      dataflow: the Dataflow job that preprocesses while its step waits; None: the step preprocesses itself.
    """
    executors = spec["deploymentSpec"]["executors"]
    found = []
    for task, component in _tasks(spec, spec["root"]["dag"]):
        container = executors[component["executorLabel"]].get("container")
        if container is None:
            continue  # an importer needs no machine
        pools = _parameter(task, component, "worker_pool_specs")
        spot = _parameter(task, component, "strategy") == "SPOT"
        machines = _pools(pools, spot) if pools else (_resources(container.get("resources", {}), default_machine),)
        if dataflow is not None and task["componentRef"]["name"].startswith("comp-preprocess"):
            machines += (Machine(count=dataflow.max_workers, type=dataflow.machine_type, dataflow=True),)
        found.append(
            Step(
                name=task["taskInfo"]["name"],
                machines=machines,
                hours=_hours(task, component, container),
                attempts=1 + int(task.get("retryPolicy", {}).get("maxRetryCount", 0)),
            )
        )
    return found


def _hours(task: Mapping[str, Any], component: Mapping[str, Any], container: Mapping[str, Any]) -> float:
    """Time limit of one attempt: that of the custom job, the stage (`components.support.stage`), or the service."""
    limit = re.fullmatch(r"([0-9.]+)s", str(_parameter(task, component, "timeout") or ""))
    if limit:
        return float(limit[1]) / 3600
    environment = {variable["name"]: variable["value"] for variable in container.get("env", ())}
    return float(environment.get(TIMEOUT, VERTEX_HOURS * 3600)) / 3600


def ceiling(planned: list[Step], prices: Prices) -> float:
    """Cost in US dollars if every attempt of every step reaches its time limit."""
    return sum(_maximum(step, prices) for step in planned)


def table(planned: list[Step], prices: Prices) -> str:
    """A table of steps, machines, limits and costs, with the ceiling below it."""
    width = max(len(step.name) for step in planned)
    machines = {step.name: " and ".join(map(str, step.machines)) for step in planned}
    wide = max(map(len, machines.values()))
    lines = [f"{'step':<{width}}  {'machine':<{wide}}  {'limit':>7}  {'at most':>12}"]
    for step in planned:
        attempts = f" x {step.attempts}" if step.attempts > 1 else ""
        limit = f"{step.hours:g} h{attempts}"
        most = _maximum(step, prices)
        lines.append(f"{step.name:<{width}}  {machines[step.name]:<{wide}}  {limit:>7}  {most:>12,.2f}")
    lines.append(
        f"cost ceiling {ceiling(planned, prices):,.2f} {prices.currency}: if every attempt of every step reaches its "
        f"time limit, at {prices.region} prices of {prices.date} ({prices.source}; replace them with --prices), "
        "without storage, disks, network and the service's fee per run"
    )
    return "\n".join(lines)


def _maximum(step: Step, prices: Prices) -> float:
    return sum(prices.hourly(machine) for machine in step.machines) * step.hours * step.attempts


def _tasks(spec: Mapping[str, Any], graph: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Tasks that run something, with their components, in a possible order of execution.

    The tasks of a condition are in its place.
    """
    waiting: dict[str, dict[str, Any]] = dict(sorted(graph["tasks"].items()))
    while waiting:
        name = next(name for name, task in waiting.items() if not set(task.get("dependentTasks", ())) & set(waiting))
        task = waiting.pop(name)
        component = spec["components"][task["componentRef"]["name"]]
        if "dag" in component:
            yield from _tasks(spec, component["dag"])
        else:
            yield task, component


def _parameter(task: Mapping[str, Any], component: Mapping[str, Any], name: str) -> Any:
    """A task's constant input, or the default of its component."""
    given = task.get("inputs", {}).get("parameters", {}).get(name, {}).get("runtimeValue", {}).get("constant")
    declared = component.get("inputDefinitions", {}).get("parameters", {}).get(name, {})
    return declared.get("defaultValue") if given is None else given


def _pools(pools: list[dict[str, Any]], spot: bool) -> tuple[Machine, ...]:
    machines = []
    for pool in pools:
        spec = pool.get("machine_spec", {})
        machines.append(
            Machine(
                count=int(float(pool.get("replica_count", 1))),
                type=spec.get("machine_type", ""),
                accelerator=spec.get("accelerator_type", ""),
                accelerators=int(float(spec.get("accelerator_count", 0))),
                topology=spec.get("tpu_topology", ""),
                spot=spot,
            )
        )
    return tuple(machine for machine in machines if machine.count)


def _resources(resources: Mapping[str, Any], default_machine: str) -> Machine:
    cpu = float(resources.get("cpuLimit", 0))
    accelerator = resources.get("accelerator", {})
    if not cpu and not accelerator:
        return Machine(type=default_machine)
    return Machine(
        cpu=cpu,
        memory_gb=float(resources.get("memoryLimit", 0)),
        accelerator=accelerator.get("type", ""),
        accelerators=int(float(accelerator.get("count", 0))),
    )
