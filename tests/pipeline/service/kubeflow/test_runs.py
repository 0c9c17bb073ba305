"""Runs on an open-source endpoint: kfp's own client against an API on loopback."""

import json
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.graph import training_pipeline
from tests.loopback.invocations import Run, endpoint_flags, spec_of
from tests.loopback.kubeflow_server import KubeflowServer

pytestmark = pytest.mark.usefixtures("loopback_cloud")


def test_submit(kubeflow: KubeflowServer, run: Run) -> None:
    extra = ["--service-account", "trainer", "--seed", "3"]
    code, out, _ = run("submit", *endpoint_flags(kubeflow.url), *extra)
    assert code == 0
    (request,) = kubeflow.sent("POST", "/runs")
    body = request.body
    text = json.dumps(spec_of("kubeflow-gpu"))
    assert text.count("{{$.pipeline_root}}") == 3
    assert body["pipeline_spec"]["pipeline_spec"] == json.loads(
        text.replace("{{$.pipeline_root}}", "gs://my-bucket/runs")
    )
    executors = body["pipeline_spec"]["platform_spec"]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert executors["exec-train"]["emptyDirMounts"][0]["mountPath"] == "/dev/shm"
    assert body["service_account"] == "trainer"
    assert body["runtime_config"]["pipeline_root"] == "gs://my-bucket/runs"
    values = body["runtime_config"]["parameters"]
    assert values["train_images"] == "gs://my-data/train"
    assert values["seed"] == 3
    assert values["run_id"] == body["display_name"]
    (run_id,) = kubeflow.runs
    assert f"{kubeflow.url}/#/runs/details/{run_id}" in out


def test_equal_submits_in_one_second_publish_under_their_own_keys(
    kubeflow: KubeflowServer, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = datetime(2026, 11, 27, 2, 42, 27, tzinfo=UTC)
    monkeypatch.setattr("pipeline.commands.submit.datetime", SimpleNamespace(now=lambda _zone: second))
    for _ in range(2):
        assert run("submit", *endpoint_flags(kubeflow.url))[0] == 0
    keys = [found["runtime_config"]["parameters"]["run_id"] for found in kubeflow.runs.values()]
    assert len(set(keys)) == len(keys) == 2
    assert all("-20261127-024227-" in key for key in keys), "the second is the same"


def test_a_namespace_of_an_installation_with_several_users(kubeflow: KubeflowServer, run: Run) -> None:
    assert run("submit", *endpoint_flags(kubeflow.url), "--namespace", "team")[0] == 0
    assert [experiment["namespace"] for experiment in kubeflow.experiments.values()] == ["team"]
    assert run("list", "--endpoint", kubeflow.url, "--namespace", "team")[0] == 0
    assert kubeflow.sent("GET", "/experiments")[-1].query["namespace"] == "team"


def detail(name: str, state: str) -> dict[str, Any]:
    return {"display_name": name, "state": state}


@pytest.mark.parametrize(
    ("state", "tasks", "code"),
    [
        ("SUCCEEDED", [detail("promote", "SUCCEEDED"), detail("hold", "SKIPPED")], 0),
        ("SUCCEEDED", [detail("promote", "SKIPPED"), detail("hold", "SUCCEEDED")], 3),
        ("SUCCEEDED", [detail("promote", "SKIPPED"), detail("request approval", "SUCCEEDED")], 3),
        ("SUCCEEDED", [detail("nothing new", "SUCCEEDED"), detail("promote", "SKIPPED")], 0),
        ("SUCCEEDED", [detail("unchanged", "SKIPPED"), detail("promote", "SKIPPED")], 1),
        ("FAILED", [detail("train", "FAILED")], 1),
        ("CANCELED", [], 1),
    ],
)
def test_wait(state: str, tasks: list[dict[str, Any]], code: int, kubeflow: KubeflowServer, run: Run) -> None:
    kubeflow.timeline = [{"state": "RUNNING"}, {"state": state, "run_details": {"task_details": tasks}}]
    assert run("submit", *endpoint_flags(kubeflow.url), "--wait", "--poll", "0.01")[0] == code


def test_operating(kubeflow: KubeflowServer, run: Run) -> None:
    run("submit", *endpoint_flags(kubeflow.url))
    (run_id,) = kubeflow.runs
    at = ["--endpoint", kubeflow.url]
    name = kubeflow.runs[run_id]["display_name"]
    assert run_id in run("list", *at)[1]
    assert run("list", *at)[1].rstrip().endswith(name), "the id alone means nothing to a reader"
    assert "PENDING" in run("status", run_id, *at)[1]
    assert f"/#/runs/details/{run_id}" in run("logs", run_id, *at)[1]
    code, _, err = run("logs", run_id, "--task", "tarin", *at)
    assert code == 2
    assert "--task tarin" in err
    assert run("cancel", run_id, *at)[0] == 0
    assert kubeflow.runs[run_id]["state"] == "CANCELED"
    code, _, err = run("status", "no-such-run", *at)
    assert code == 1
    assert "no-such-run" in err


def test_more_runs_than_a_page(kubeflow: KubeflowServer, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.service.kubeflow.runs.PAGE", 2)
    assert run("list", "--endpoint", kubeflow.url)[1] == "no runs\n", "nothing ran here yet"
    kubeflow.experiments["1"] = {"experiment_id": "1", "display_name": training_pipeline.NAME}
    for number in range(5):
        kubeflow.runs[f"run-{number}"] = {"run_id": f"run-{number}", "state": "SUCCEEDED", "experiment_id": "1"}
    kubeflow.runs["other"] = {"run_id": "other", "state": "SUCCEEDED", "experiment_id": "2"}
    for limit in (1, 4, 20):
        lines = run("list", "--endpoint", kubeflow.url, "--limit", str(limit))[1].splitlines()
        assert [line.split()[0] for line in lines] == [f"run-{n}" for n in range(5)][::-1][:limit]


def test_no_cache(kubeflow: KubeflowServer, run: Run) -> None:
    run("submit", *endpoint_flags(kubeflow.url), "--no-cache")
    (request,) = kubeflow.sent("POST", "/runs")
    assert '"enableCache": true' not in json.dumps(request.body["pipeline_spec"])


def test_the_webhooks_secret_is_the_clusters(kubeflow: KubeflowServer, run: Run) -> None:
    assert run("submit", *endpoint_flags(kubeflow.url), "--webhook-secret", "alerts/slack")[0] == 0
    (request,) = kubeflow.sent("POST", "/runs")
    sent = request.body["pipeline_spec"]
    executors = sent["platform_spec"]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    (secret,) = executors["exec-alert"]["secretAsEnv"]
    assert secret["secretName"] == secret["secretNameParameter"]["runtimeValue"]["constant"] == "alerts"
    assert secret["keyToEnv"] == [{"secretKey": "slack", "envVar": "CENTERNET_WEBHOOK"}]
    alert = sent["pipeline_spec"]["root"]["dag"]["tasks"]["alert"]
    assert alert["triggerPolicy"]["strategy"] == "ALL_UPSTREAM_TASKS_COMPLETED"
    assert "taskFinalStatus" not in json.dumps(sent), "released backends refuse it: kubeflow/pipelines#11641"


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        (["--project", "my-project"], "--endpoint"),
        (["--network", "projects/1/global/networks/x"], "--network"),
        (["--registry", ""], "--registry"),
        (["--image", ""], "--image"),
        (["--pipeline-root", ""], "--pipeline-root: not given"),
        (["--pipeline-root", "minio://mlpipeline/v2"], "--pipeline-root minio://mlpipeline/v2"),
        (["--labels", "team=vision"], "--labels"),
        (["--notify", "owner@example.org"], "--notify"),
        (["--experiment", "detector"], "--experiment detector: only Vertex AI"),
        (["--webhook-secret", "slack"], "--webhook-secret slack: give a Kubernetes secret with its key"),
        (["--target", "vertex-tpu-v5e"], "custom job"),
        (["--target", "vertex-gpu"], "which no node of a cluster can give whole; with --endpoint choose kubeflow or"),
        (["--target", "vertex-multinode-gpu"], "one pod on one node"),
        (["--replicas", "2"], "--replicas 2: a step of an endpoint is one pod on one node"),
        (["--param", "work_dir=gs://my-bucket/shared"], "--param work_dir=gs://my-bucket/shared: an endpoint refuses"),
        (["--pods", "no-such-file.yaml"], "--pods no-such-file.yaml: cannot be read"),
        (["--endpoint", "localhost"], "http://localhost"),
        (["--endpoint", "http://[bad"], "http://localhost"),
    ],
)
def test_bad_input(extra: list[str], says: str, kubeflow: KubeflowServer, run: Run) -> None:
    code, _, err = run("submit", *endpoint_flags(kubeflow.url), *extra)
    assert code == 2
    assert says in err
    assert kubeflow.runs == {}
