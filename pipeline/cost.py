"""What a compiled pipeline would run where, and what that costs at most: machines x list price x time limit.

It reads the compiled spec, so it shows what is sent and not what was meant. A ceiling is no estimate: a run that
succeeds ends long before its time limits.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from beam_preprocess.errors import InputError

PRICES = Path(__file__).with_name("prices.yaml")
VERTEX_HOURS = 168.0
"""Vertex AI ends every job after seven days, also one without a limit of its own."""

_IMPLIES_ACCELERATOR = re.compile(r"(a2|a3|a4|g2|ct\w+)-")


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """Equal machines of one step; a step without `type` asks for cpu, memory and accelerators."""

    count: int = 1
    type: str = ""
    cpu: float = 0.0
    memory_gb: float = 0.0
    accelerator: str = ""
    accelerators: int = 0
    topology: str = ""
    spot: bool = False

    def __str__(self) -> str:
        words = [f"{self.count} x"] if self.count > 1 else []
        words.append(self.type or f"{self.cpu:g} vCPU, {self.memory_gb:g} GB")
        if self.topology:
            words.append(f"topology {self.topology}")
        if self.accelerators:
            words.append(f"+ {self.accelerators} x {self.accelerator}")
        return " ".join(words) + (" (spot)" if self.spot else "")


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One task of the graph."""

    name: str
    """What the graph shows."""
    component: str
    machines: tuple[Machine, ...]
    hours: float
    """Time limit of one attempt."""
    attempts: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Prices:
    """A price list: US dollars an hour."""

    date: str
    currency: str
    region: str
    machines: Mapping[str, float]
    accelerators: Mapping[str, float]
    vcpu: float
    memory_gb: float
    default_machine: str
    spot: float

    def hourly(self, machine: Machine) -> float:
        """Price of an hour of all these machines.

        Raises:
          InputError: the list lacks one of the names.
        """
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
            raise InputError(f"prices: {kind} has no {name}; copy {PRICES.name}, add it, and pass the file by --prices")
        return table[name]


def read_prices(path: str | Path = PRICES) -> Prices:
    """Reads a price list.

    Raises:
      InputError: no such file, unknown or missing keys, or a price that is no number.
    """
    try:
        values = yaml.safe_load(Path(path).read_text())
    except (OSError, yaml.YAMLError) as error:
        raise InputError(f"--prices {path}: cannot be read ({error}); copy pipeline/prices.yaml") from error
    wanted = set(Prices.__dataclass_fields__)
    if not isinstance(values, dict) or set(values) != wanted:
        found = sorted(set(values) ^ wanted) if isinstance(values, dict) else type(values).__name__
        raise InputError(f"--prices {path}: unknown or missing keys {found}; copy pipeline/prices.yaml")
    numbers = [values[name] for name in ("vcpu", "memory_gb", "spot")]
    for table in ("machines", "accelerators"):
        numbers += list(values[table].values())
    if any(isinstance(n, bool) or not isinstance(n, int | float) or n < 0 for n in numbers):
        raise InputError(f"--prices {path}: holds a price that is no number of 0 or more; correct it")
    return Prices(**{**values, "date": str(values["date"])})


def steps(spec: Mapping[str, Any], hours: Mapping[str, float], default_machine: str) -> list[Step]:
    """Every task that takes a machine, both branches of a condition included.

    Args:
      spec: the compiled pipeline.
      hours: time limits by component name (`train`), for steps whose spec holds none.
      default_machine: what a step without resources gets.
    """
    executors = spec["deploymentSpec"]["executors"]
    found = []
    for task in _tasks(spec):
        component = spec["components"][task["componentRef"]["name"]]
        if "executorLabel" not in component:
            continue  # a branch: its tasks come by themselves
        container = executors[component["executorLabel"]].get("container")
        if container is None:
            continue  # an importer: takes no machine
        name = re.sub(r"-\d+$", "", task["componentRef"]["name"].removeprefix("comp-")).replace("-", "_")
        pools = _parameter(task, component, "worker_pool_specs")
        spot = _parameter(task, component, "strategy") == "SPOT"
        machines = _pools(pools, spot) if pools else (_resources(container.get("resources", {}), default_machine),)
        limit = _seconds(_parameter(task, component, "timeout")) / 3600 if pools else 0.0
        attempts = 1 + int(task.get("retryPolicy", {}).get("maxRetryCount", 0))
        found.append(
            Step(
                name=task["taskInfo"]["name"],
                component=name,
                machines=machines,
                hours=limit or hours.get(name, VERTEX_HOURS),
                attempts=attempts,
            )
        )
    return found


def ceiling(planned: list[Step], prices: Prices) -> float:
    """US dollars, if every attempt of every step runs into its time limit."""
    return sum(_most(step, prices) for step in planned)


def table(planned: list[Step], prices: Prices) -> str:
    """The plan for a person, step by step, with the ceiling."""
    width = max(len(step.name) for step in planned)
    machines = {step.name: " and ".join(map(str, step.machines)) for step in planned}
    wide = max(map(len, machines.values()))
    lines = [f"{'step':<{width}}  {'machine':<{wide}}  {'limit':>7}  {'at most':>12}"]
    for step in planned:
        again = f" x {step.attempts}" if step.attempts > 1 else ""
        limit = f"{step.hours:g} h{again}"
        lines.append(
            f"{step.name:<{width}}  {machines[step.name]:<{wide}}  {limit:>7}  {_most(step, prices):>12,.2f}".rstrip()
        )
    lines.append(
        f"cost ceiling {ceiling(planned, prices):,.2f} {prices.currency}: every step running into its time limit, at "
        f"the list prices of {prices.date} for {prices.region} ({PRICES.name} or --prices; not verified), without "
        "storage, network and Dataflow"
    )
    return "\n".join(lines)


def _most(step: Step, prices: Prices) -> float:
    return sum(prices.hourly(machine) for machine in step.machines) * step.hours * step.attempts


def _tasks(spec: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Tasks of all graphs, in the order of a reader: the main graph first."""
    for graph in (spec["root"]["dag"], *(c["dag"] for c in spec["components"].values() if "dag" in c)):
        yield from graph["tasks"].values()


def _parameter(task: Mapping[str, Any], component: Mapping[str, Any], name: str) -> Any:
    """A constant input of a task, or its component's default."""
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


def _seconds(text: Any) -> float:
    found = re.fullmatch(r"([0-9.]+)s", str(text or ""))
    return float(found[1]) if found else 0.0
