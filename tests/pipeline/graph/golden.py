"""The part of a compiled spec that a reviewer wants to see, as in the files of tests/golden.

Two targets' files are whole; the others hold the differences from `vertex-gpu`. `make golden` writes them, and the
table of docs/targets.md.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from pipeline.graph.request import WATCH
from pipeline.graph.targets import TARGETS, Target
from pipeline.service import submission
from tests.pipeline.graph import targets_table

FOLDER = Path(__file__).parents[2] / "golden"
BASE = "vertex-gpu"
WHOLE = ("local", BASE)
ABSENT = "absent"
CASES: Mapping[str, Target] = {
    **TARGETS,
    "vertex-multinode-gpu-spot-reduction": replace(
        TARGETS["vertex-multinode-gpu"],
        capacity="spot",
        replicas=4,
        reduction_servers=4,
        image="example.com/python-own:1",
    ),
    "vertex-tpu-v5e-mail": replace(
        TARGETS["vertex-tpu-v5e"],
        notify=("owner@example.org",),
        webhook="projects/my-project/secrets/slack/versions/latest",
    ),
}
WATCHES: Mapping[str, Target] = {
    f"watch-{name}": CASES[name] for name in ("vertex-gpu", "kubeflow-gpu", "vertex-tpu-v5e-mail")
}
"""The second graph; its files hold the differences from the same target's training."""


@cache
def compiled(case: str) -> dict[str, Any]:
    """The spec as `submit` sends it (test_compile reads the written file). Compiled once per process: don't edit it."""
    made: dict[str, Any]
    if case in WATCHES:
        made = in_a_thread(partial(submission.compiled, pipeline=WATCH), WATCHES[case])
    else:
        made = in_a_thread(submission.compiled, CASES[case])
    return made


def in_a_thread(compile_it: Callable[..., Any], *arguments: Any) -> Any:
    """Compiles in a thread of its own: kfp walks the whole stack at each setting of a task, and pytest's is deep."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(compile_it, *arguments).result()


def view(spec: dict[str, Any]) -> dict[str, Any]:
    """The parameters, and each task's image, machine, worker pools, environment, caching, retries and condition."""
    executors = spec["deploymentSpec"]["executors"]
    tasks: dict[str, Any] = {}
    for dag in [spec["root"]["dag"], *(c["dag"] for c in spec["components"].values() if "dag" in c)]:
        for name, task in dag["tasks"].items():
            component = spec["components"][task["componentRef"]["name"]]
            facts = {
                "caching": task.get("cachingOptions", {}),
                "after": sorted(task.get("dependentTasks", [])),
                "retries": task.get("retryPolicy", {}).get("maxRetryCount", 0),
                "condition": task.get("triggerPolicy", {}).get("condition", ""),
            }
            if "executorLabel" in component:
                container = executors[component["executorLabel"]]["container"]
                declared = component.get("inputDefinitions", {}).get("parameters", {})
                facts |= {key: container[key] for key in ("image", "resources") if key in container}
                facts["env"] = {entry["name"]: entry["value"] for entry in container.get("env", [])}
                for key in (
                    "worker_pool_specs",
                    "strategy",
                    "max_wait_duration",
                    "timeout",
                    "restart_job_on_worker_restart",
                ):
                    if key in declared:
                        facts[key] = declared[key].get("defaultValue")
                if "worker_pool_specs" in facts:
                    facts["worker_pool_specs"] = [_pool(pool) for pool in facts["worker_pool_specs"]]
                    given = task["inputs"]["parameters"]
                    facts["from the run"] = {key: given[key] for key in ("service_account", "network")}
            tasks[name] = facts
    return {"parameters": spec["root"]["inputDefinitions"]["parameters"], "tasks": tasks}


def _pool(pool: dict[str, Any]) -> dict[str, Any]:
    """The pool without its program, which is the component's: long, and run by tests."""
    container = {key: value for key, value in pool["container_spec"].items() if key not in ("command", "args")}
    return {**pool, "container_spec": container}


def whole(case: str) -> str:
    """The view as JSON."""
    return json.dumps(view(compiled(case)), indent=1, sort_keys=True) + "\n"


def differences(case: str) -> str:
    """What of the view differs from that of `BASE`, for a watch from that of its target's training: one line per value,
    `the other's -> its own`, and the tasks that have it."""
    other = case.removeprefix("watch-") if case in WATCHES else BASE
    base, own = (dict(_leaves(view(compiled(name)))) for name in (other, case))
    tasks: dict[str, list[str]] = {}
    for path in sorted(base.keys() | own.keys()):
        if base.get(path) != own.get(path):
            place, _, rest = path.partition(" / ")
            task, _, key = rest.partition(" / ") if place == "tasks" else ("", "", path)
            tasks.setdefault(f"{key}: {base.get(path, ABSENT)} -> {own.get(path, ABSENT)}", []).append(task)
    return "".join(f"{line}\n" + "".join(f"    {task}\n" for task in names if task) for line, names in tasks.items())


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """(path, JSON) of every value that is not a filled mapping or list."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = False
    for key, content in items:
        found = True
        yield from _leaves(content, f"{path} / {key}" if path else str(key))
    if not found:
        yield path, json.dumps(value)


def golden(case: str) -> tuple[Path, str]:
    """The file of a case, and what belongs into it."""
    if case in WHOLE:
        return FOLDER / f"{case}.json", whole(case)
    return FOLDER / f"{case}.diff", differences(case)


def write() -> None:
    for name in (*CASES, *WATCHES):
        path, content = golden(name)
        path.write_text(content)


if __name__ == "__main__":
    write()
    targets_table.write()
