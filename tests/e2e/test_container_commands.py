"""Runs what the containers would run: each executor's command from the compiled YAML, with an executor input filled in.

No container engine is needed: the image holds this repository and this environment.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from components.support.stage import TIMEOUT, WORK_DIR
from tests.e2e.container_run import ContainerRun
from tests.e2e.containers import container, execute
from tests.loopback.webhook_server import TOKEN, WebhookServer
from tests.pipeline.graph.golden import CASES, compiled
from tests.trainer.made_decision import evaluation
from tests.trainer.made_evaluation import write_evaluation
from trainer.config.sections import parse_config
from trainer.promotion.judge import judge
from trainer.registry.base import CHAMPION
from trainer.registry.digest import model_digest
from trainer.registry.local import LocalRegistry

pytestmark = pytest.mark.xdist_group("compiled")  # one worker compiles each target, once


@pytest.fixture(scope="module")
def specs() -> dict[str, dict[str, Any]]:
    return {name: compiled(name) for name in ("vertex-gpu", "vertex-multinode-gpu")}


CHECKED = {
    "config": "gate: {}",
    "runtime": "",
    "work_dir": "",
    "preprocess_on": "step",
    "dataflow": "{}",
    "beam_args": "",
    "run_id": "",
    "strict": False,
}
RUN = {
    "train_digest": "t",
    "val_digest": "v",
    "preprocess_config": "preprocess: {}",
    "train_config": "task: {}",
    "export_config": "export: {}",
    "gate_config": "gate: {}",
    "seed": 0,
    "image": "i",
    "pipeline_root": "gs://none",
}


def test_should_run_then_remember_then_nothing_new(specs: dict[str, Any], tmp_path: Path) -> None:
    spec, run = specs["vertex-gpu"], {**RUN, "registry": str(tmp_path / "registry")}
    answers = []
    for component, extra in (
        ("should-run", {"only_if_changed": True}),
        ("remember", {"outcome": "held: min_ap", "report": "gs://none/report.html", "job": ""}),
        ("should-run", {"only_if_changed": True}),
    ):
        process, output = execute(spec, component, tmp_path, {**run, **extra})
        assert process.returncode == 0, process.stderr
        assert output
        answers.append(output["parameterValues"]["Output"])
    assert answers == [True, "held: min_ap", False], "tests/components/test_should_run.py has what counts as a change"


@pytest.mark.parametrize(
    ("status", "says"),
    [
        ({"state": "FAILED", "error": {"code": 9, "message": "The failed tasks are: [train]."}}, "failed: The failed"),
        ({}, "failed: centernet status"),  # what a Kubeflow endpoint gets
    ],
)
def test_the_alert_of_a_failed_run(status: dict[str, Any], says: str, tmp_path: Path) -> None:
    server = WebhookServer()
    where = {"secret": "alerts/slack", "pipeline_root": str(tmp_path), "job": "7", "run": "run-1"}
    parameters = {"status": status, **where}
    process, _ = execute(
        compiled("vertex-tpu-v5e-mail"), "alert", tmp_path, parameters, CENTERNET_WEBHOOK=server.address
    )
    server.stop()
    assert process.returncode == 0, process.stderr
    assert [posted["sentence"].startswith(says) for posted in server.posted] == [True]
    assert TOKEN not in process.stdout + process.stderr


def test_resolve_champion_of_an_empty_registry(specs: dict[str, Any], tmp_path: Path) -> None:
    process, output = execute(
        specs["vertex-gpu"],
        "resolve-champion",
        tmp_path,
        {
            "registry": str(tmp_path / "none"),
            "alias": "champion",
            "known": "",
            "work_dir": "",
            "run_id": "run-1",
            "job": "",
            "title": "",
        },
    )
    assert process.returncode == 0, process.stderr
    assert output
    reason = "no champion yet"
    assert output["parameterValues"] == {"version": "", "model": "", "status": "none", "reason": reason}
    assert output.get("artifacts", {}) == {}, "a champion is another run's: Kubeflow refuses it as an artifact"


def decided(folder: Path, ap: float) -> ContainerRun:
    """A run of a schedule, whose parameters are those of all its runs, after the gate."""
    model = folder / "model"
    model.mkdir()
    (model / "saved_model.pb").write_bytes(b"model")
    candidate = evaluation(ap, model=str(model), model_digest=model_digest(str(model)))
    config = "gate: {min_ap: 0.5}"
    decision = judge(write_evaluation(folder / "candidate", candidate), None, parse_config(config).gate)
    (folder / "decision").mkdir()
    (folder / "decision" / "decision.json").write_text(decision.to_json())
    values = {"registry": str(folder / "registry"), "config": config}
    run = ContainerRun(compiled("vertex-gpu"), folder, values, pipeline_job_uuid="77")
    run.put("export-model", "model", model / "saved_model.pb")
    run.put("gate", "decision", folder / "decision")
    run.put("evaluate", "evaluation", folder / "candidate" / "evaluation.json")
    run.put_values("data-check", gate_config=config)
    return run


def test_a_schedules_run_is_published_under_the_services_id_of_it(tmp_path: Path) -> None:
    """The graph passes the placeholder, which the service fills in."""
    run = decided(tmp_path, 0.6)
    assert run.values["run_id"] == ""
    run.run("promote")
    assert run.result("promote") == "promoted: v0001 (no champion before)"
    registry = LocalRegistry(run.values["registry"])
    assert registry.alias(CHAMPION) == "v0001"
    assert registry.version("v0001").metadata["run_id"] == "77"


def test_hold_says_why_and_promote_refuses(tmp_path: Path) -> None:
    run = decided(tmp_path, 0.4)
    run.run("hold")
    assert run.result("hold").startswith("held: min_ap")
    refused = run.container("promote")
    process = refused.run()
    assert process.returncode != 0
    assert "PromotionRefused" in process.stderr
    assert refused.output() is None
    assert LocalRegistry(run.values["registry"]).alias(CHAMPION) is None


def test_a_container_over_its_time_limit_ends(specs: dict[str, Any], tmp_path: Path) -> None:
    """The compiled environment sets the limit; here it is a shorter one, and a file that nobody ever writes."""
    endless = tmp_path / "annotations.json"
    os.mkfifo(endless)
    data = {f"{split}_{kind}": str(endless) for split in ("train", "val") for kind in ("images", "annotations")}
    made = container(specs["vertex-gpu"], "data-check", tmp_path, {**CHECKED, **data}, root=f"{tmp_path}/run/a")
    assert made.environment[TIMEOUT] == "14400"
    made.environment[TIMEOUT] = "4"  # the limit includes the imports
    process = made.run()
    assert process.returncode == 1
    assert made.output() is None
    assert "error: stage 'check the data' took longer than its limit of 4 s" in process.stderr
    assert "annotations.py" in process.stderr, "where it was"


def test_bad_input_ends_a_container_with_its_message(specs: dict[str, Any], tmp_path: Path) -> None:
    data = {
        f"{split}_{kind}": str(tmp_path / "none") for split in ("train", "val") for kind in ("images", "annotations")
    }
    process, output = execute(
        specs["vertex-gpu"], "data-check", tmp_path, {**CHECKED, **data}, root=f"{tmp_path}/run/a"
    )
    assert process.returncode != 0
    assert output is None
    assert "InputError" in process.stderr
    assert "no such annotation file" in process.stderr


def cluster(role: str, index: int = 0) -> str:
    hosts = {"workerpool0": ["localhost:1"], "workerpool1": ["localhost:2"], "workerpool2": ["localhost:3"]}
    return json.dumps({"cluster": hosts, "task": {"type": role, "index": index}, "environment": "cloud"})


def test_a_role_that_does_not_train_is_refused(specs: dict[str, Any], tmp_path: Path) -> None:
    process, output = execute(
        specs["vertex-multinode-gpu"],
        "train",
        tmp_path,
        {"config": "", "seed": 0, "records": str(tmp_path)},
        CLUSTER_SPEC=cluster("workerpool2"),
        **{WORK_DIR: str(tmp_path)},
    )
    assert process.returncode != 0
    assert output is None
    assert "'workerpool2' doesn't train" in process.stderr


@pytest.mark.parametrize("case", [name for name in CASES if name != "vertex-cpu"])
def test_every_targets_containers_run_the_programs_of_vertex_cpu(case: str) -> None:
    """Those are run from the data check to the report by test_container_run."""
    own, run = programs(compiled(case)), programs(compiled("vertex-cpu"))
    own.pop("exec-vertex-pipelines-notification-email", None)  # Google's
    own.pop("exec-alert", None)  # run above
    assert own == run


def programs(spec: dict[str, Any]) -> dict[str, list[str]]:
    """Command and arguments of every executor; of a custom job, those of its worker pools that train."""
    found = {}
    for component in spec["components"].values():
        if "executorLabel" not in component:
            continue
        runs = [spec["deploymentSpec"]["executors"][component["executorLabel"]]["container"]]
        pools = component.get("inputDefinitions", {}).get("parameters", {}).get("worker_pool_specs")
        if pools:
            runs = [pool["container_spec"] for pool in pools["defaultValue"] if "command" in pool["container_spec"]]
        commands = [[*one["command"], *one["args"]] for one in runs]
        # The launcher reads its own from JSON.
        texts = [[word.replace("{{$.json_escape[1]}}", "{{$}}") for word in command] for command in commands]
        assert all(text == texts[0] for text in texts), "chief and workers run one program"
        found[component["executorLabel"]] = texts[0]
    return found
