"""What of a compiled spec a reviewer wants to see, as the files of tests/golden hold it. `make golden` writes them."""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from pipeline.compile import compile_pipeline
from pipeline.targets import TARGETS, Target

FOLDER = Path(__file__).parents[1] / "golden"
CASES: Mapping[str, Target] = {
    **TARGETS,
    "vertex-multinode-gpu-spot-reduction": replace(
        TARGETS["vertex-multinode-gpu"], spot=True, replicas=4, reduction_servers=4, image="example.com/python-own:1"
    ),
    "vertex-tpu-v5e-mail": replace(TARGETS["vertex-tpu-v5e"], notify=("owner@example.org",)),
}


def compiled(target: Target) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pipeline.yaml"
        compile_pipeline(target, path)
        spec: dict[str, Any] = yaml.safe_load(path.read_text())
    return spec


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
                for pool in facts.get("worker_pool_specs") or []:
                    # The program is the component's own, and long: tests run it.
                    pool["container_spec"].pop("command", None)
                    pool["container_spec"].pop("args", None)
            tasks[name] = facts
    return {"parameters": spec["root"]["inputDefinitions"]["parameters"], "tasks": tasks}


def text(target: Target) -> str:
    return json.dumps(view(compiled(target)), indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    for case, variant in CASES.items():
        (FOLDER / f"{case}.json").write_text(text(variant))
