"""What of a compiled spec a reviewer wants to see, as the files of tests/golden hold it. `make golden` writes them,
and the table of docs/targets.md."""

import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from pipeline.graph.targets import TARGETS, Target
from pipeline.service import submission
from tests.pipeline import targets_table

FOLDER = Path(__file__).parents[1] / "golden"
CASES: Mapping[str, Target] = {
    **TARGETS,
    "vertex-multinode-gpu-spot-reduction": replace(
        TARGETS["vertex-multinode-gpu"], spot=True, replicas=4, reduction_servers=4, image="example.com/python-own:1"
    ),
    "vertex-tpu-v5e-mail": replace(TARGETS["vertex-tpu-v5e"], notify=("owner@example.org",)),
}


@cache
def compiled(case: str) -> dict[str, Any]:
    """The spec as `submit` sends it (test_compile reads the written one). Made once a process: don't edit it."""
    made: dict[str, Any] = in_a_thread(submission.compiled, CASES[case])
    return made


def in_a_thread(compile_it: Callable[..., Any], *arguments: Any) -> Any:
    """A compilation in a thread of its own: kfp looks through the whole stack at each setting of a task, and pytest's
    is deep."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(compile_it, *arguments).result()


def view(spec: dict[str, Any]) -> dict[str, Any]:
    """Parameters, and for every task: image, machine, worker pools, environment, caching, retries, condition."""
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
                facts |= {key: container[key] for key in ("image", "resources", "env") if key in container}
                for key in ("worker_pool_specs", "strategy", "timeout", "restart_job_on_worker_restart"):
                    if key in declared:
                        facts[key] = declared[key].get("defaultValue")
                if "worker_pool_specs" in facts:
                    facts["worker_pool_specs"] = [_pool(pool) for pool in facts["worker_pool_specs"]]
                    given = task["inputs"]["parameters"]
                    facts["from the run"] = {key: given[key] for key in ("service_account", "network")}
            tasks[name] = facts
    return {"parameters": spec["root"]["inputDefinitions"]["parameters"], "tasks": tasks}


def _pool(pool: dict[str, Any]) -> dict[str, Any]:
    """Without the program, which is the component's own, and long: tests run it."""
    container = {key: value for key, value in pool["container_spec"].items() if key not in ("command", "args")}
    return {**pool, "container_spec": container}


def text(case: str) -> str:
    return json.dumps(view(compiled(case)), indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    for name in CASES:
        (FOLDER / f"{name}.json").write_text(text(name))
    targets_table.write()
