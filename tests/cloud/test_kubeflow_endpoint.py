"""submit, schedule, status, list, cancel, logs on an open-source endpoint: kfp's own client against a loopback API."""

from collections.abc import Iterator
from typing import Any

import pytest
from kfp_server import KubeflowServer
from loopback import Fault

from conftest import WHAT, Run
from pipeline.submission import compiled
from pipeline.targets import find_target

REGISTRY = ["--registry", "vertex://my-project/us-central1/centernet"]


@pytest.fixture
def kubeflow() -> Iterator[KubeflowServer]:
    server = KubeflowServer()
    yield server
    server.stop()
    assert server.violations == []


def flags(server: KubeflowServer) -> list[str]:
    return ["--endpoint", server.url, *WHAT, *REGISTRY]


def test_submit(kubeflow: KubeflowServer, run: Run) -> None:
    extra = ["--pipeline-root", "gs://my-bucket/runs", "--service-account", "trainer", "--seed", "3"]
    code, out, _ = run("submit", *flags(kubeflow), *extra)
    assert code == 0
    (request,) = kubeflow.sent("POST", "/runs")
    body = request.body
    assert body["pipeline_spec"] == compiled(find_target("vertex-gpu"))
    assert body["service_account"] == "trainer"
    assert body["runtime_config"]["pipeline_root"] == "gs://my-bucket/runs"
    values = body["runtime_config"]["parameters"]
    assert values["train_images"] == "gs://my-data/train"
    assert values["seed"] == 3
    assert values["run_id"] == body["display_name"]
    (run_id,) = kubeflow.runs
    assert f"{kubeflow.url}/#/runs/details/{run_id}" in out


@pytest.mark.parametrize("fault", [Fault(status=503), Fault(cut="after"), Fault(cut="before"), Fault(status=429)])
def test_one_run_whatever_happens(fault: Fault, kubeflow: KubeflowServer, run: Run) -> None:
    kubeflow.next_fault("POST", "/runs", fault)
    assert run("submit", *flags(kubeflow))[0] == 0
    assert len(kubeflow.runs) == 1


def detail(name: str, state: str) -> dict[str, Any]:
    return {"display_name": name, "state": state}


@pytest.mark.parametrize(
    ("state", "tasks", "code"),
    [
        ("SUCCEEDED", [detail("promote", "SUCCEEDED"), detail("hold", "SKIPPED")], 0),
        ("SUCCEEDED", [detail("promote", "SKIPPED"), detail("hold", "SUCCEEDED")], 3),
        ("FAILED", [detail("train", "FAILED")], 1),
        ("CANCELED", [], 1),
    ],
)
def test_wait(state: str, tasks: list[dict[str, Any]], code: int, kubeflow: KubeflowServer, run: Run) -> None:
    kubeflow.timeline = [{"state": "RUNNING"}, {"state": state, "run_details": {"task_details": tasks}}]
    assert run("submit", *flags(kubeflow), "--wait", "--poll", "0.01")[0] == code


def test_operating(kubeflow: KubeflowServer, run: Run) -> None:
    run("submit", *flags(kubeflow))
    (run_id,) = kubeflow.runs
    at = ["--endpoint", kubeflow.url]
    assert run_id in run("list", *at)[1]
    assert "PENDING" in run("status", run_id, *at)[1]
    assert f"/#/runs/details/{run_id}" in run("logs", run_id, *at)[1]
    assert run("cancel", run_id, *at)[0] == 0
    assert kubeflow.runs[run_id]["state"] == "CANCELED"
    code, _, err = run("status", "no-such-run", *at)
    assert code == 1
    assert "no-such-run" in err


def test_schedule(kubeflow: KubeflowServer, run: Run) -> None:
    create = ["schedule", "create", "--name", "weekly", "--cron", "0 3 * * 7", *flags(kubeflow), "--only-if-changed"]
    at = ["--endpoint", kubeflow.url]
    assert run(*create)[0] == 0
    (request,) = kubeflow.sent("POST", "/recurringruns")
    assert request.body["trigger"]["cron_schedule"]["cron"] == "0 0 3 * * 0"
    assert request.body["max_concurrency"] == 1
    assert request.body["no_catchup"] is True
    assert request.body["runtime_config"]["parameters"]["only_if_changed"] is True
    assert "run_id" not in request.body["runtime_config"]["parameters"]
    assert "unchanged" in run(*create)[1]
    (first,) = kubeflow.recurring
    assert "replaced" in run(*create, "--seed", "4")[1]
    (second,) = kubeflow.recurring
    assert second != first
    assert run("schedule", "pause", "weekly", *at)[0] == 0
    assert kubeflow.recurring[second]["status"] == "DISABLED"
    assert run("schedule", "resume", "weekly", *at)[0] == 0
    assert kubeflow.recurring[second]["status"] == "ENABLED"
    assert "weekly  ACTIVE  0 0 3 * * 0" in run("schedule", "list", *at)[1]
    assert run("schedule", "update", "weekly", "--cron", "0 4 * * 1", *at)[0] == 2
    assert run("schedule", "delete", "weekly", *at)[0] == 0
    assert kubeflow.recurring == {}


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        (["--project", "my-project"], "--endpoint"),
        (["--network", "projects/1/global/networks/x"], "--network"),
        (["--registry", ""], "--registry"),
        (["--endpoint", "localhost"], "http://localhost"),
    ],
)
def test_bad_input(extra: list[str], says: str, kubeflow: KubeflowServer, run: Run) -> None:
    code, _, err = run("submit", *flags(kubeflow), *extra)
    assert code == 2
    assert says in err
    assert kubeflow.runs == {}
