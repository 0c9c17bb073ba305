"""Runs what the containers would run: each executor's command from the compiled YAML, with an executor input filled in.

No container engine is needed: the image holds this repository and this environment.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from containers import execute
from golden import compiled


@pytest.fixture(scope="module")
def specs() -> dict[str, dict[str, Any]]:
    return {name: compiled(name) for name in ("vertex-gpu", "vertex-multinode-gpu")}


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
