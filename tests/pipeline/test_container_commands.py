"""Runs what the containers would run: each executor's command from the compiled YAML, with an executor input filled in.

No container engine is needed: the image holds this repository and this environment.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from golden import compiled

from pipeline.targets import TARGETS

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def specs() -> dict[str, dict[str, Any]]:
    return {name: compiled(TARGETS[name]) for name in ("vertex-gpu", "vertex-multinode-gpu")}


def execute(
    spec: dict[str, Any],
    component: str,
    folder: Path,
    parameters: dict[str, Any],
    artifacts: dict[str, dict[str, Any]] | None = None,
    **environment: str,
) -> tuple[subprocess.CompletedProcess[str], dict[str, Any] | None]:
    """The finished process, and the content of its executor_output.json, None if it wrote none."""
    declared = spec["components"][f"comp-{component}"]
    container = spec["deploymentSpec"]["executors"][declared["executorLabel"]]["container"]
    env = {entry["name"]: entry["value"] for entry in container.get("env", [])}
    command, args = container["command"], container["args"]
    pools = (
        declared["inputDefinitions"]["parameters"].get("worker_pool_specs") if "inputDefinitions" in declared else {}
    )
    if pools:  # a custom job: every replica of a pool runs the pool's command
        pool = pools["defaultValue"][
            1 if '"workerpool1"' in environment.get("CLUSTER_SPEC", "").split("task")[-1] else 0
        ]
        command, args = pool["container_spec"]["command"], pool["container_spec"]["args"]
        env = {entry["name"]: entry["value"] for entry in pool["container_spec"].get("env", [])}
    output = folder / "executor_output.json"
    outputs = declared.get("outputDefinitions", {})
    content = {
        "inputs": {
            "parameterValues": parameters,
            "artifacts": {name: {"artifacts": [a]} for name, a in (artifacts or {}).items()},
        },
        "outputs": {
            "parameters": {name: {"outputFile": str(folder / name)} for name in outputs.get("parameters", {})},
            "artifacts": {
                name: {
                    "artifacts": [
                        {"name": name, "type": facts["artifactType"], "uri": str(folder / name), "metadata": {}}
                    ]
                }
                for name, facts in outputs.get("artifacts", {}).items()
                if name != "gcp_resources"
            },
            "outputFile": str(output),
        },
    }
    text = json.dumps(content)
    argv = [part.replace("{{$.json_escape[1]}}", text).replace("{{$}}", text) for part in [*command, *args]]
    process = subprocess.run(
        argv,
        cwd=folder,
        env={
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(REPOSITORY),
            **env,
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    return process, json.loads(output.read_text()) if output.exists() else None


RUN = {
    "train_digest": "t",
    "val_digest": "v",
    "config": "gate: {}",
    "seed": 0,
    "image": "i",
    "pipeline_root": "gs://none",
}


def test_should_run_then_remember_then_nothing_new(specs: dict[str, Any], tmp_path: Path) -> None:
    spec, run = specs["vertex-gpu"], {**RUN, "registry": str(tmp_path / "registry")}
    answers = []
    for component, extra in (
        ("should-run", {"only_if_changed": True}),
        ("remember", {"outcome": "held: min_ap"}),
        ("should-run", {"only_if_changed": True}),
        ("should-run", {"only_if_changed": False}),
        ("should-run", {"only_if_changed": True, "val_digest": "other"}),
        ("should-run", {"only_if_changed": True, "image": "other"}),
        ("should-run", {"only_if_changed": True, "config": "gate: {min_ap: 0.1}"}),
    ):
        process, output = execute(spec, component, tmp_path, {**run, **extra})
        assert process.returncode == 0, process.stderr
        assert output
        answers.append(output["parameterValues"]["Output"])
    assert answers == [True, "held: min_ap", False, True, True, True, True]


def test_resolve_champion_of_an_empty_registry(specs: dict[str, Any], tmp_path: Path) -> None:
    process, output = execute(
        specs["vertex-gpu"],
        "resolve-champion",
        tmp_path,
        {"registry": str(tmp_path / "none"), "alias": "champion", "known": ""},
    )
    assert process.returncode == 0, process.stderr
    assert output
    assert output["parameterValues"]["Output"] == ""
    assert output["artifacts"]["champion"]["artifacts"][0]["metadata"]["status"] == "none"


def test_bad_input_ends_a_container_with_its_message(specs: dict[str, Any], tmp_path: Path) -> None:
    data = {
        f"{split}_{kind}": str(tmp_path / "none") for split in ("train", "val") for kind in ("images", "annotations")
    }
    process, output = execute(
        specs["vertex-gpu"], "data-check", tmp_path, {**data, "config": "gate: {}", "work_dir": ""}
    )
    assert process.returncode != 0
    assert output is None
    assert "InputError" in process.stderr
    assert "no such annotation file" in process.stderr


def cluster(role: str, index: int = 0) -> str:
    hosts = {"workerpool0": ["localhost:1"], "workerpool1": ["localhost:2"], "workerpool2": ["localhost:3"]}
    return json.dumps({"cluster": hosts, "task": {"type": role, "index": index}, "environment": "cloud"})


def test_a_role_that_does_not_train_is_refused(specs: dict[str, Any], tmp_path: Path) -> None:
    artifact = {"name": "r", "type": {"schemaTitle": "system.Dataset"}, "uri": str(tmp_path), "metadata": {}}
    process, output = execute(
        specs["vertex-multinode-gpu"],
        "train",
        tmp_path,
        {"config": "", "seed": 0, "runtime": "", "work_dir": ""},
        {"records": artifact, "val_records": artifact},
        CLUSTER_SPEC=cluster("workerpool2"),
    )
    assert process.returncode != 0
    assert output is None
    assert "'workerpool2' doesn't train" in process.stderr
