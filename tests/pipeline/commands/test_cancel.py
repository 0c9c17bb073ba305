"""`centernet cancel` of runs on a Vertex AI on loopback."""

import pytest

from tests.loopback.invocations import PLACE, Run, submitted
from tests.loopback.server import Fault
from tests.loopback.vertex_server import PARENT, VertexServer

pytestmark = pytest.mark.usefixtures("loopback_cloud")


def test_cancel(vertex: VertexServer, run: Run) -> None:
    job = submitted(vertex, run)
    assert run("cancel", job, *PLACE)[0] == 0
    assert vertex.jobs[f"{PARENT}/pipelineJobs/{job}"]["state"] == "PIPELINE_STATE_CANCELLED"
    code, _, err = run("cancel", "centernet-training-0", *PLACE)
    assert code == 1
    assert "not found" in err


def test_a_cancellation_whose_answer_is_lost_is_not_a_failure(vertex: VertexServer, run: Run) -> None:
    """The service would refuse a second cancellation."""
    job = submitted(vertex, run)
    vertex.next_fault("POST", ":cancel", Fault(cut="after"))
    assert run("cancel", job, *PLACE)[0] == 0
    assert len(vertex.sent("POST", ":cancel")) == 1
