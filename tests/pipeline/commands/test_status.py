"""`centernet status` of runs on a Vertex AI on loopback, and what the verbs accept as a run's id."""

import pytest

from pipeline.commands.cli import main
from tests.loopback.invocations import FAILED, PLACE, Run, output, submitted, task
from tests.loopback.vertex_server import PARENT, VertexServer

pytestmark = pytest.mark.usefixtures("loopback_cloud")

PROMOTED = {
    "state": "PIPELINE_STATE_SUCCEEDED",
    "jobDetail": {"taskDetails": [task("promote", "SUCCEEDED", **output("promoted: 4 (was 3)"))]},
}


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


@pytest.mark.parametrize("verb", ["status", "cancel", "logs"])
@pytest.mark.parametrize("run_id", ["", "projects/1/locations/us-central1/pipelineJobs/x", "a b", "x:cancel"])
def test_an_id_is_not_a_resource_name(
    verb: str, run_id: str, vertex: VertexServer, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([verb, run_id, *PLACE])
    assert stopped.value.code == 2
    assert "give only the run's id" in capsys.readouterr().err
    assert vertex.requests == []


def test_ctrl_c_stops_watching_but_not_the_run(vertex: VertexServer, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    job = submitted(vertex, run)

    def ctrl_c(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pipeline.service.waiting.time.sleep", ctrl_c)
    code, _, err = run("status", job, *PLACE, "--wait")
    assert code == 130
    assert f"stopped watching; {job} is still running (centernet cancel {job} cancels it)" in err
    assert vertex.sent("POST", ":cancel") == []
