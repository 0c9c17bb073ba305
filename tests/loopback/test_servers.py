"""The loopback servers refuse what the services would refuse. Otherwise the tests against them would prove nothing."""

import copy
import json
from typing import Any

import pytest
import requests

from tests.loopback.invocations import ACCOUNT, spec_of
from tests.loopback.kubeflow_server import KubeflowServer
from tests.loopback.vertex_server import PARENT, VertexServer

JOB: dict[str, Any] = {
    "displayName": "x",
    "runtimeConfig": {
        "gcsOutputDirectory": "gs://my-bucket/runs",
        "parameterValues": {
            **dict.fromkeys(("train_images", "train_annotations", "val_images", "val_annotations"), "gs://b/x"),
            "config": "gate: {}",
            "registry": "registry",
        },
    },
    "labels": {"team": "vision"},
    "serviceAccount": ACCOUNT,
}


@pytest.fixture(scope="module")
def job(one_compilation_per_target: None) -> dict[str, Any]:
    return {**JOB, "pipelineSpec": spec_of("vertex-gpu")}


def changed(content: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with one value set, or removed if it is None."""
    copied = copy.deepcopy(content)
    *folders, name = path.split(".")
    place = copied
    for folder in folders:
        place = place[folder]
    if value is None:
        del place[name]
    else:
        place[name] = value
    return copied


@pytest.fixture
def strict() -> Any:
    """Its own server: the violations are the subject of the test."""
    server = VertexServer()
    yield server
    server.stop()


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("colour", "red", 'no field named "colour"'),
        ("gcsOutputDirectory", "gs://b/x", 'no field named "gcsOutputDirectory"'),  # misplaced
        ("runtimeConfig.failurePolicy", "NEVER", "failurePolicy"),
        ("runtimeConfig.gcsOutputDirectory", "runs", "gcsOutputDirectory"),
        ("runtimeConfig.parameterValues.sed", 1, "parameter sed is not in the pipeline"),
        ("runtimeConfig.parameterValues.seed", "one", "parameter seed"),
        ("runtimeConfig.parameterValues.config", None, "parameters without value: config"),
        ("runtimeConfig", None, "runtimeConfig"),
        ("labels.Team", "x", "label"),
        ("serviceAccount", "me@example.com", "serviceAccount"),
        ("network", "default", "network"),
        ("pipelineSpec.deploymentSpec.machines", 3, "machines"),
        ("pipelineSpec.root.dag.colour", "red", "colour"),
        ("pipelineSpec.deploymentSpec.executors.exec-train.container.gpus", 8, "gpus"),
    ],
)
def test_a_job_that_vertex_ai_would_refuse(
    path: str, value: Any, says: str, job: dict[str, Any], strict: VertexServer
) -> None:
    url = f"{strict.url}/v1/{PARENT}/pipelineJobs"
    assert requests.post(url, json=job, timeout=10).status_code == 200
    answer = requests.post(url, json=changed(job, path, value), timeout=10)
    assert answer.status_code == 400
    assert says in answer.json()["error"]["message"]
    assert len(strict.violations) == 1, "the fixture of the other tests fails on violations"
    assert len(strict.jobs) == 1


def test_a_worker_pool_that_vertex_ai_would_refuse(job: dict[str, Any], strict: VertexServer) -> None:
    url = f"{strict.url}/v1/{PARENT}/pipelineJobs"
    spec = spec_of("vertex-multinode-gpu")
    assert requests.post(url, json={**job, "pipelineSpec": spec}, timeout=10).status_code == 200
    pools = spec["components"]["comp-train"]["inputDefinitions"]["parameters"]["worker_pool_specs"]["defaultValue"]
    pools[1]["machine_spec"]["accelerator_type"] = "NVIDIA_ABACUS"
    answer = requests.post(url, json={**job, "pipelineSpec": spec}, timeout=10)
    assert answer.status_code == 400
    assert "NVIDIA_ABACUS" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("query", "status"),
    [("pipelineJobId=good-id", 200), ("pipelineJobId=Bad_Id", 400), ("jobId=good-id", 400)],
)
def test_a_jobs_query(query: str, status: int, job: dict[str, Any], strict: VertexServer) -> None:
    url = f"{strict.url}/v1/{PARENT}/pipelineJobs?{query}"
    assert requests.post(url, json=job, timeout=10).status_code == status
    if status == 200:
        assert requests.post(url, json=job, timeout=10).status_code == 409, "an id can be used once"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("cron", "0 0 3 * * 1"),  # six fields are Kubeflow's
        ("maxConcurrentRunCount", None),
        ("createPipelineJobRequest.pipelineJobId", "always-the-same"),
        ("createPipelineJobRequest.parent", "projects/other/locations/us-central1"),
        ("createPipelineJobRequest.pipelineJob.labels.Team", "x"),
        ("paused", True),
    ],
)
def test_a_schedule_that_vertex_ai_would_refuse(
    path: str, value: Any, job: dict[str, Any], strict: VertexServer
) -> None:
    schedule = {
        "displayName": "weekly",
        "cron": "TZ=Etc/UTC 0 3 * * 1",
        "maxConcurrentRunCount": "1",
        "createPipelineJobRequest": {"parent": PARENT, "pipelineJob": job},
    }
    url = f"{strict.url}/v1/{PARENT}/schedules"
    made = requests.post(url, json=schedule, timeout=10)
    assert made.status_code == 200
    assert requests.post(url, json=changed(schedule, path, value), timeout=10).status_code == 400
    # A schedule can't run something else.
    patch = f"{strict.url}/v1/{made.json()['name']}?updateMask=createPipelineJobRequest"
    assert requests.patch(patch, json=schedule, timeout=10).status_code == 400
    assert len(strict.schedules) == 1


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("service_acount", "x"),
        ("pipeline_spec.colour", "red"),
        ("runtime_config.parameters.sed", 1),
        ("runtime_config.parameters.seed", "one"),
    ],
)
def test_a_run_that_kubeflow_would_refuse(path: str, value: Any, job: dict[str, Any]) -> None:
    server = KubeflowServer()
    spec = json.loads(json.dumps(job["pipelineSpec"]).replace("{{$.pipeline_root}}", "gs://my-bucket/runs"))
    run = {
        "display_name": "x",
        "pipeline_spec": spec,
        "runtime_config": {"parameters": job["runtimeConfig"]["parameterValues"]},
    }
    url = f"{server.url}/apis/v2beta1/runs"
    assert requests.post(url, json=run, timeout=10).status_code == 200
    assert requests.post(url, json=changed(run, path, value), timeout=10).status_code == 400
    assert len(server.violations) == 1
    # Vertex AI's form of the graph has placeholders that only that service fills in.
    assert requests.post(url, json={**run, "pipeline_spec": job["pipelineSpec"]}, timeout=10).status_code == 400
    server.stop()
