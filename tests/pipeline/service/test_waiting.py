"""Waiting for a run: what ends it."""

import pytest

from tests.loopback.invocations import PLACE, Run, submitted
from tests.loopback.server import Fault
from tests.loopback.vertex_server import VertexServer

pytestmark = pytest.mark.usefixtures("loopback_cloud")


@pytest.mark.parametrize(
    ("status", "says"),
    [(403, "aiplatform.pipelineJobs.get"), (404, "not found"), (503, "after 2 attempts")],
)
def test_waiting_ends_when_the_run_cannot_be_read(
    status: int, says: str, vertex: VertexServer, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once if permission is missing, after half an hour (here: at once) if the service can't be reached."""
    job = submitted(vertex, run)
    monkeypatch.setattr("trainer.shared.google_cloud.ATTEMPTS", 2)
    monkeypatch.setattr("pipeline.service.waiting.LONGEST_SILENCE_SECONDS", 0.0)
    vertex.next_fault("GET", "pipelineJobs", Fault(status=status), times=2)
    code, _, err = run("status", job, *PLACE, "--wait", "--poll", "0.01")
    assert code == 1
    assert says in err
