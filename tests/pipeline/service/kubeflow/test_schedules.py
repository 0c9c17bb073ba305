"""Recurring runs on an open-source endpoint: kfp's own client against an API on loopback."""

import json

import pytest

from tests.loopback.invocations import Run, endpoint_flags
from tests.loopback.kubeflow_server import KubeflowServer

pytestmark = pytest.mark.usefixtures("loopback_cloud")


def test_schedule(kubeflow: KubeflowServer, run: Run) -> None:
    create = [
        "schedule",
        "create",
        "--name",
        "weekly",
        "--cron",
        "0 3 * * 7",
        *endpoint_flags(kubeflow.url),
        "--only-if-changed",
    ]
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
    assert json.loads(run("schedule", "show", "weekly", *at)[1])["schedule_id"] == second
    assert run("schedule", "delete", "weekly", *at)[0] == 0
    assert kubeflow.recurring == {}


def test_a_watch(kubeflow: KubeflowServer, run: Run) -> None:
    watch = ["--pipeline", "watch", "--images", "gs://my-data/val", "--since", "1d"]
    create = ["schedule", "create", "--name", "w", "--cron", "0 5 * * *", *endpoint_flags(kubeflow.url), *watch]
    code, _, err = run(*create)
    assert (code, err) == (0, "")
    (request,) = kubeflow.sent("POST", "/recurringruns")
    assert (request.body["max_concurrency"], request.body["no_catchup"]) == (1, True)
    values = request.body["runtime_config"]["parameters"]
    assert (values["images"], values["since"]) == ("gs://my-data/val", "1d")
    spec = request.body["pipeline_spec"]
    assert spec.get("pipeline_spec", spec)["pipelineInfo"]["name"] == "centernet-watch"
    at = ["--endpoint", kubeflow.url]
    code, _, err = run("schedule", "update", "w", "--max-concurrent-runs", "2", *at)
    assert code == 2
    assert "two watches at once" in err
    assert run("submit", *endpoint_flags(kubeflow.url), *watch)[0] == 0
    (experiment,) = (one for one in kubeflow.experiments.values() if one["display_name"] == "centernet-watch")
    assert kubeflow.sent("POST", "/runs")[0].body["experiment_id"] == experiment["experiment_id"]
    assert "no runs" in run("list", *at)[1]
    assert "centernet-watch-" in run("list", *at, "--pipeline", "watch")[1]


@pytest.mark.parametrize("paused", [False, True])
def test_an_update_is_a_new_recurring_run_of_the_same(paused: bool, kubeflow: KubeflowServer, run: Run) -> None:
    run("schedule", "create", "--name", "weekly", "--cron", "0 3 * * 1", *endpoint_flags(kubeflow.url), "--seed", "4")
    at = ["--endpoint", kubeflow.url]
    if paused:
        run("schedule", "pause", "weekly", *at)
    ((first, before),) = kubeflow.recurring.items()
    assert "would update" in run("schedule", "update", "weekly", "--cron", "0 4 * * 1", *at, "--dry-run")[1]
    assert set(kubeflow.recurring) == {first}
    assert run("schedule", "update", "weekly", "--cron", "0 4 * * 1", "--max-concurrent-runs", "2", *at)[0] == 0
    ((second, after),) = kubeflow.recurring.items()
    assert second != first
    assert after["trigger"]["cron_schedule"]["cron"] == "0 0 4 * * 1"
    assert after["max_concurrency"] == 2
    assert after["mode"] == ("DISABLE" if paused else "ENABLE")
    for same in ("pipeline_spec", "runtime_config", "description", "experiment_id", "display_name"):
        assert after[same] == before[same]
    # And `create` with the new cron finds nothing to change.
    create = [
        "schedule",
        "create",
        "--name",
        "weekly",
        "--cron",
        "0 4 * * 1",
        *endpoint_flags(kubeflow.url),
        "--seed",
        "4",
    ]
    assert "unchanged" in run(*create, "--max-concurrent-runs", "2")[1]
