"""`status`, `list`, `cancel` and `logs` of runs on a Vertex AI on loopback."""

import json

import pytest

from pipeline.commands.cli import main
from tests.loopback.invocations import PLACE, WHAT, WHERE, Run, output, task
from tests.loopback.server import Fault
from tests.loopback.vertex_server import PARENT, VertexServer

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


def test_a_cancellation_whose_answer_is_lost_is_no_failure(vertex: VertexServer, run: Run) -> None:
    """The service would refuse to do it again."""
    job = submitted(vertex, run)
    vertex.next_fault("POST", ":cancel", Fault(cut="after"))
    assert run("cancel", job, *PLACE)[0] == 0
    assert len(vertex.sent("POST", ":cancel")) == 1


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
    _, asked = vertex.sent("POST", "entries:list")  # the first has found nothing yet
    since = vertex.jobs[f"{PARENT}/pipelineJobs/{job}"]["createTime"][:19]
    wanted = f'resource.type="ml_job" AND resource.labels.job_id=("77") AND timestamp>="{since}+00:00"'
    assert asked.body["filter"] == wanted
    assert asked.body["resourceNames"] == ["projects/my-project"]
    assert run("logs", job, *PLACE, "--task", "train")[1].count("==") == 1
    code, _, err = run("logs", job, *PLACE, "--task", "tarin")
    assert code == 2
    assert "check the data" in err


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


def test_logs_of_a_custom_job_are_those_of_the_job_that_the_launcher_made(vertex: VertexServer, run: Run) -> None:
    job = submitted(vertex, run, "--target", "vertex-tpu-v5e")
    uri = f"https://us-central1-aiplatform.googleapis.com/v1/{JOB}"
    made = json.dumps({"resources": [{"resourceType": "CustomJob", "resourceUri": uri}]})
    launcher = {"containerDetail": {"mainJob": "projects/123/locations/us-central1/customJobs/76"}}
    told = {"execution": {"metadata": {"output:gcp_resources": made}}, "executorDetail": launcher}
    vertex.timeline = [
        {"state": "PIPELINE_STATE_RUNNING", "jobDetail": {"taskDetails": [task("train", "FAILED", **told)]}}
    ]
    assert run("logs", job, *PLACE)[0] == 0
    assert 'job_id=("76" OR "77")' in vertex.sent("POST", "entries:list")[-1].body["filter"]


def test_logs_before_anything_has_started(vertex: VertexServer, run: Run) -> None:
    job = submitted(vertex, run)
    assert run("logs", job, *PLACE) == (0, f"{job}: no task has started yet\n", "")
    code, _, err = run("logs", job, *PLACE, "--task", "train")
    assert code == 2
    assert "it has none yet" in err


@pytest.mark.parametrize("verb", ["status", "cancel", "logs"])
@pytest.mark.parametrize("run_id", ["", "projects/1/locations/us-central1/pipelineJobs/x", "a b", "x:cancel"])
def test_what_is_no_id(verb: str, run_id: str, vertex: VertexServer, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([verb, run_id, *PLACE])
    assert stopped.value.code == 2
    assert "give the run's id alone" in capsys.readouterr().err
    assert vertex.requests == []


def test_who_stops_watching_is_told_that_the_run_goes_on(
    vertex: VertexServer, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submitted(vertex, run)

    def ctrl_c(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pipeline.service.waiting.time.sleep", ctrl_c)
    code, _, err = run("status", job, *PLACE, "--wait")
    assert code == 1
    assert f"{job} goes on (python -m pipeline cancel {job} ends it)" in err
    assert vertex.sent("POST", ":cancel") == []


@pytest.mark.parametrize(
    ("status", "says"),
    [(403, "aiplatform.pipelineJobs.get"), (404, "not found"), (503, "after 2 attempts")],
)
def test_waiting_ends_when_the_run_cannot_be_looked_at(
    status: int, says: str, vertex: VertexServer, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once if that will stay so, after half an hour (here: none) if the service is away."""
    job = submitted(vertex, run)
    monkeypatch.setattr("trainer.shared.google_cloud.ATTEMPTS", 2)
    monkeypatch.setattr("pipeline.service.waiting.LONGEST_SILENCE_SECONDS", 0.0)
    vertex.next_fault("GET", "pipelineJobs", Fault(status=status), times=2)
    code, _, err = run("status", job, *PLACE, "--wait", "--poll", "0.01")
    assert code == 1
    assert says in err
