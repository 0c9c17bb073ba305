"""The machines of a compiled pipeline, and the machine-hours that it may use at most.

It reads the compiled spec, so it shows what is sent, not what was meant. A ceiling is not an estimate: a run that
succeeds ends long before its time limits. Money is in `pipeline.service.prices`.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from components.support.dataflow import Dataflow
from components.support.stage import TIMEOUT

VERTEX_HOURS = 168.0
"""Vertex AI ends every job after seven days."""
DEFAULT_MACHINE = "e2-standard-4"
"""Vertex AI's machine of a step that requests nothing (its page "machine types for pipelines")."""

_CAPACITY = {"SPOT": "spot", "FLEX_START": "flex-start"}
"""Strategies whose machines have prices of their own."""
_TPU_CHIPS = re.compile(r"ct\w+-\w+-([0-9]+)t")


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """Equal machines of one step; without `type` the step requests cpu, memory and accelerators."""

    count: int = 1
    type: str = ""
    cpu: float = 0.0
    memory_gb: float = 0.0
    accelerator: str = ""
    accelerators: int = 0
    """Per machine."""
    topology: str = ""
    capacity: str = ""
    """"" is on demand."""
    dataflow: bool = False
    """A Dataflow worker, which has its own prices."""

    @property
    def kind(self) -> str:
        """What one of them is: the name of its price."""
        words = [self.type or f"{self.cpu:g} vCPU, {self.memory_gb:g} GB"]
        if self.accelerators:
            words.append(f"+ {self.accelerators} x {self.accelerator}")
        if self.capacity:
            words.append(f"({self.capacity})")
        return " ".join(words) + (" (Dataflow)" if self.dataflow else "")

    @property
    def devices(self) -> tuple[str, int]:
        """The accelerators of one of them: name and number. A TPU's machine type implies its chips."""
        if self.accelerators:
            return self.accelerator, self.accelerators
        chips = _TPU_CHIPS.fullmatch(self.type)
        return (f"chips of {self.type}", int(chips[1])) if chips else ("", 0)

    def __str__(self) -> str:
        several = f"{self.count} x " if self.count > 1 else ""
        return several + self.kind + (f", topology {self.topology}" if self.topology else "")


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One task of the graph."""

    name: str
    """Display name in the graph."""
    machines: tuple[Machine, ...]
    hours: float
    """Time limit of one attempt."""
    attempts: int = 1


def steps(spec: Mapping[str, Any], dataflow: Dataflow | None = None) -> list[Step]:
    """Every task that needs a machine, in both branches of a condition.

    Args:
      spec: the compiled pipeline.
      dataflow: the Dataflow job that preprocesses while its step waits; None: the step preprocesses itself.
    """
    executors = spec["deploymentSpec"]["executors"]
    found = []
    for task, component in _tasks(spec, spec["root"]["dag"]):
        container = executors[component["executorLabel"]].get("container")
        if container is None:
            continue  # an importer needs no machine
        pools = _parameter(task, component, "worker_pool_specs")
        strategy = str(_parameter(task, component, "strategy") or "")
        machines = _pools(pools, strategy) if pools else (_resources(container.get("resources", {})),)
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


def machine_hours(planned: list[Step]) -> dict[str, float]:
    """Hours by kind of machine, if every attempt of every step reaches its time limit."""
    return _added(planned, lambda machine: (machine.kind, 1))


def accelerator_hours(planned: list[Step]) -> dict[str, float]:
    """As `machine_hours`, by accelerator."""
    return _added(planned, lambda machine: machine.devices)


def _added(planned: list[Step], what: Any) -> dict[str, float]:
    hours: dict[str, float] = {}
    for step in planned:
        for machine in step.machines:
            name, number = what(machine)
            if number:
                hours[name] = hours.get(name, 0.0) + number * machine.count * step.hours * step.attempts
    return hours


def _hours(task: Mapping[str, Any], component: Mapping[str, Any], container: Mapping[str, Any]) -> float:
    """Time limit of one attempt: that of the custom job, the stage (`components.support.stage`), or the service."""
    limit = re.fullmatch(r"([0-9.]+)s", str(_parameter(task, component, "timeout") or ""))
    if limit:
        return float(limit[1]) / 3600
    environment = {variable["name"]: variable["value"] for variable in container.get("env", ())}
    return float(environment.get(TIMEOUT, VERTEX_HOURS * 3600)) / 3600


def hours_table(planned: list[Step]) -> str:
    """A table of steps, machines, limits and machine-hours, with the sums below it."""
    rows = [("step", "machine", "limit", "machine-hours at most")]
    for step in planned:
        attempts = f" x {step.attempts}" if step.attempts > 1 else ""
        hours = sum(machine_hours([step]).values())
        rows.append((step.name, " and ".join(map(str, step.machines)), f"{step.hours:g} h{attempts}", f"{hours:,.1f}"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    name, machine, limit, hours_wide = widths
    lines = [f"{a:<{name}}  {b:<{machine}}  {c:>{limit}}  {d:>{hours_wide}}" for a, b, c, d in rows]
    lines.append("in all, if every attempt of every step reaches its time limit:")
    sums = [(f"machine-hours of {kind}", hours) for kind, hours in machine_hours(planned).items()]
    sums += [(f"accelerator-hours of {kind}", hours) for kind, hours in accelerator_hours(planned).items()]
    wide = max((len(label) for label, _ in sums), default=0)
    lines += [f"  {label:<{wide}}  {hours:>9,.1f}" for label, hours in sums]
    return "\n".join(lines)


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


def _pools(pools: list[dict[str, Any]], strategy: str) -> tuple[Machine, ...]:
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
                capacity=_CAPACITY.get(strategy, ""),
            )
        )
    return tuple(machine for machine in machines if machine.count)


def _resources(resources: Mapping[str, Any]) -> Machine:
    cpu = float(resources.get("cpuLimit", 0))
    accelerator = resources.get("accelerator", {})
    if not cpu and not accelerator:
        return Machine(type=DEFAULT_MACHINE)
    return Machine(
        cpu=cpu,
        memory_gb=float(resources.get("memoryLimit", 0)),
        accelerator=accelerator.get("type", ""),
        accelerators=int(float(accelerator.get("count", 0))),
    )
