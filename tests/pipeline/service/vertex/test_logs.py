"""Pages of Cloud Logging, and whose log a task's log is."""

import json

import pytest

from tests.loopback.invocations import FAILED, JOB, PLACE, Run, submitted, task
from tests.loopback.vertex_server import VertexServer

pytestmark = pytest.mark.usefixtures("loopback_cloud")


def test_more_lines_than_a_page(vertex: VertexServer, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.service.vertex.logs.PAGE", 2)
    job = submitted(vertex, run)
    vertex.timeline = [FAILED]
    vertex.log_entries = [
        {"timestamp": f"2026-11-24T03:0{9 - n}:00Z", "severity": "INFO", "textPayload": str(n)} for n in range(7)
    ]
    for limit in (1, 2, 5, 50):
        lines = run("logs", job, *PLACE, "--task", "train", "--limit", str(limit))[1].splitlines()[2:-1]
        assert [line.split()[-1] for line in lines] == [str(n) for n in range(min(limit, 7))][::-1]


def test_logs_of_a_custom_job_include_the_job_that_the_launcher_started(vertex: VertexServer, run: Run) -> None:
    job = submitted(vertex, run, "--target", "vertex-tpu-v5e")
    uri = f"https://us-central1-aiplatform.googleapis.com/v1/{JOB}"
    made = json.dumps({"resources": [{"resourceType": "CustomJob", "resourceUri": uri}]})
    launcher = {"containerDetail": {"mainJob": "projects/123/locations/us-central1/customJobs/76"}}
    returned = {"execution": {"metadata": {"output:gcp_resources": made}}, "executorDetail": launcher}
    vertex.timeline = [
        {"state": "PIPELINE_STATE_RUNNING", "jobDetail": {"taskDetails": [task("train", "FAILED", **returned)]}}
    ]
    assert run("logs", job, *PLACE)[0] == 0
    assert 'job_id=("76" OR "77")' in vertex.sent("POST", "entries:list")[-1].body["filter"]
