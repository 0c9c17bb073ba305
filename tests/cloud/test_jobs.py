"""`status`, `list`, `cancel` and `logs` of runs on a Vertex AI on loopback."""

from vertex_server import PARENT, VertexServer

from conftest import PLACE, WHAT, WHERE, Run, output, task

JOB = "projects/123/locations/us-central1/customJobs/77"
FAILED = {
    "state": "PIPELINE_STATE_FAILED",
    "error": {"code": 9, "message": "The DAG failed because some tasks failed."},
    "jobDetail": {
        "taskDetails": [
            task("data-check", "SUCCEEDED"),
            task(
                "train",
                "FAILED",
                startTime="2026-11-24T03:05:00Z",
                error={"code": 9, "message": "out of memory"},
                executorDetail={"containerDetail": {"mainJob": JOB}},
            ),
        ]
    },
}
PROMOTED = {
    "state": "PIPELINE_STATE_SUCCEEDED",
    "jobDetail": {"taskDetails": [task("promote", "SUCCEEDED", **output("promoted: 4 (was 3)"))]},
}


def submitted(vertex: VertexServer, run: Run, *more: str) -> str:
    assert run("submit", *WHERE, *WHAT, *more)[0] == 0
    return list(vertex.jobs)[-1].rpartition("/")[2]


def test_status(vertex: VertexServer, run: Run) -> None:
    job = submitted(vertex, run)
    code, out, _ = run("status", job, *PLACE)
    assert code == 0
    assert f"{job}  PENDING" in out
    vertex.timeline = [FAILED]
    code, out, _ = run("status", job, *PLACE)
    assert code == 1
    assert "outcome   failed in train: out of memory" in out
    assert "check the data" in out, "tasks go by the names that the graph shows"
    vertex.timeline = [PROMOTED]
    vertex.jobs[f"{PARENT}/pipelineJobs/{job}"]["state"] = "PIPELINE_STATE_RUNNING"
    code, out, _ = run("status", job, *PLACE, "--wait", "--poll", "0.01")
    assert code == 0
    assert "promoted: 4 (was 3)" in out


def test_list(vertex: VertexServer, run: Run) -> None:
    assert run("list", *PLACE) == (0, "no runs\n", "")
    ids = [submitted(vertex, run, "--seed", str(seed)) for seed in (1, 2)]
    code, out, _ = run("list", *PLACE)
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == ids[::-1]
    assert run("list", *PLACE, "--limit", "1")[1].split()[0] == ids[1]


def test_cancel(vertex: VertexServer, run: Run) -> None:
    job = submitted(vertex, run)
    assert run("cancel", job, *PLACE)[0] == 0
    assert vertex.jobs[f"{PARENT}/pipelineJobs/{job}"]["state"] == "PIPELINE_STATE_CANCELLED"
    code, _, err = run("cancel", "centernet-training-0", *PLACE)
    assert code == 1
    assert "not found" in err


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
        "no log: it has not started a machine (waiting, not needed, or taken from the cache)",
        "== train: FAILED",
    ]
    assert lines[3] == "error: out of memory"
    assert lines[4].endswith("INFO     step 10"), "oldest first"
    assert lines[5].endswith("ERROR    ResourceExhaustedError")
    assert lines[6].startswith("whole log: https://console.cloud.google.com/logs/query;query=resource.type")
    (asked,) = vertex.sent("POST", "entries:list")
    assert asked.body["filter"] == 'resource.type="ml_job" AND resource.labels.job_id=("77")'
    assert asked.body["resourceNames"] == ["projects/my-project"]
    assert run("logs", job, *PLACE, "--task", "train")[1].count("==") == 1
    code, _, err = run("logs", job, *PLACE, "--task", "tarin")
    assert code == 2
    assert "check the data" in err
