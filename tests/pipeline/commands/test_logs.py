"""`centernet logs` of runs on a Vertex AI on loopback."""

import pytest

from tests.loopback.invocations import FAILED, PLACE, Run, submitted
from tests.loopback.vertex_server import PARENT, VertexServer

pytestmark = pytest.mark.usefixtures("loopback_cloud")


def test_logs(vertex: VertexServer, run: Run) -> None:
    job = submitted(vertex, run)
    vertex.timeline = [FAILED]
    vertex.log_entries = [
        {"timestamp": "2026-11-24T03:09:00Z", "severity": "ERROR", "textPayload": "ResourceExhaustedError\n"},
        {"timestamp": "2026-11-24T03:08:00Z", "severity": "INFO", "jsonPayload": {"message": "step 10"}},
    ]
    code, out, _ = run("logs", job, *PLACE, "--limit", "2")
    assert code == 0
    lines = out.splitlines()
    assert lines[:3] == [
        "== check the data: SUCCEEDED",
        "no log: it has not started a machine (waiting, not needed, or reused from the cache)",
        "== train: FAILED",
    ]
    assert lines[3] == "error: out of memory"
    assert lines[4].endswith("INFO     step 10"), "oldest first"
    assert lines[5].endswith("ERROR    ResourceExhaustedError")
    assert lines[6].startswith("whole log: https://console.cloud.google.com/logs/query;query=resource.type")
    _, asked = vertex.sent("POST", "entries:list")  # the first has found nothing yet
    since = vertex.jobs[f"{PARENT}/pipelineJobs/{job}"]["createTime"][:19]
    wanted = f'resource.type="ml_job" AND resource.labels.job_id=("77") AND timestamp>="{since}+00:00"'
    assert asked.body["filter"] == wanted
    assert asked.body["resourceNames"] == ["projects/my-project"]
    assert run("logs", job, *PLACE, "--task", "train")[1].count("==") == 1
    code, _, err = run("logs", job, *PLACE, "--task", "tarin")
    assert code == 2
    assert "check the data" in err


def test_logs_before_anything_has_started(vertex: VertexServer, run: Run) -> None:
    job = submitted(vertex, run)
    assert run("logs", job, *PLACE) == (0, f"{job}: no task has started yet\n", "")
    code, _, err = run("logs", job, *PLACE, "--task", "train")
    assert code == 2
    assert "it has none yet" in err
