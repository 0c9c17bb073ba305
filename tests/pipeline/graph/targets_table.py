"""The table of docs/targets.md, made from the targets. `make golden` writes it."""

from collections.abc import Callable
from pathlib import Path

from pipeline.graph.targets import TARGETS, Resources, Target

PAGE = Path(__file__).parents[3] / "docs" / "targets.md"
BEGIN, END = "<!-- table: make golden -->\n", "<!-- end of table -->\n"


def resources(target: Target, task: str) -> str:
    found = target.resources.get(task)
    return asked(found) + f", {found.timeout_hours:g} h" if found else "-"


def asked(found: Resources) -> str:
    if not found.cpu:
        return "default machine"
    accelerators = f", {found.accelerators} x {found.accelerator}" if found.accelerators else ""
    return f"{found.cpu} vCPU, {found.memory}{accelerators}"


def machine(target: Target) -> str:
    if target.custom_job:
        return target.machine_type
    return asked(target.resources["train"]) if "train" in target.resources else "this one"


def accelerator(target: Target) -> str:
    if target.accelerator:
        return f"{target.accelerator_count} x {target.accelerator}"
    return "the machine type's chips" if target.tpu_topology else "-"


def limit(target: Target) -> str:
    if target.custom_job:
        return f"{target.timeout_hours:g} h"
    return f"{target.resources['train'].timeout_hours:g} h" if "train" in target.resources else "none"


SMALL = ("data_check", "export_model", "report")
OTHERS = (
    "should_run",
    "compare_splits",
    "resolve_champion",
    "gate",
    "hold",
    "remember",
    "unchanged",
    "training_due",
    "no_training",
    "alert",
    "track",
)
ROWS: dict[str, Callable[[Target], object]] = {
    "image": lambda target: target.image.rsplit("/", 1)[-1].split(":")[0],
    "device": lambda target: target.device,
    "precision": lambda target: target.precision or "the config's",
    "strategy": lambda target: target.strategy or "the config's",
    "training is a": lambda target: "custom job" if target.custom_job else "plain task",
    "training's machine": machine,
    "accelerators of each": accelerator,
    "TPU topology": lambda target: target.tpu_topology or "-",
    "replicas": lambda target: target.replicas,
    "reduction servers": lambda target: target.reduction_servers,
    "capacity": lambda target: target.capacity + (", or `--capacity`" if target.custom_job else ""),
    "boot disk": lambda target: f"{target.boot_disk_gb} GB" if target.custom_job else "the service's",
    "training's time limit": limit,
    "training's further attempts": lambda target: target.retries,
    "preprocess": lambda target: resources(target, "preprocess"),
    "evaluate": lambda target: resources(target, "evaluate"),
    "watch": lambda target: resources(target, "watch"),
    "data_check, export_model, report": lambda target: resources(target, "data_check"),
    "promote": lambda target: resources(target, "promote"),
    "deploy (with a section `deploy:`)": lambda target: resources(target, "deploy"),
    "the other steps": lambda target: resources(target, "gate"),
    "`preprocess_on`": lambda target: target.preprocess_on,
}


def table() -> str:
    for target in TARGETS.values():
        for row in (SMALL, OTHERS):
            assert len({target.resources.get(task) for task in row}) == 1, f"{target.name}: {row} differ"
        named = {"train", "preprocess", "evaluate", "watch", "promote", "deploy", *SMALL, *OTHERS}
        assert set(target.resources) <= named, f"{target.name}: a step has no row"
    lines = [f"| | {' | '.join(f'`{name}`' for name in TARGETS)} |", "|---" * (len(TARGETS) + 1) + "|"]
    lines += [
        f"| {name} | {' | '.join(str(value(target)) for target in TARGETS.values())} |" for name, value in ROWS.items()
    ]
    return "\n".join(lines) + "\n"


def written(page: str) -> str:
    """The table on the page."""
    return page.split(BEGIN)[1].split(END)[0]


def write() -> None:
    page = PAGE.read_text()
    PAGE.write_text(page.replace(written(page), table()))
