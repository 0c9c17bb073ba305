"""The plan that is printed before anything is sent."""

import pytest

from pipeline.service import cost
from tests.loopback.invocations import ACCOUNT, CONFIG, DATA, PLACE, WHAT, WHERE, Run, endpoint_flags
from tests.loopback.vertex_server import VertexServer

pytestmark = pytest.mark.usefixtures("loopback_cloud")


def test_the_plan(vertex: VertexServer, run: Run) -> None:
    code, out, _ = run("submit", *WHERE, *WHAT, "--seed", "3", "--dry-run")
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == "pipeline       centernet-training for vertex-gpu on my-project, us-central1"
    assert "pipeline root  gs://my-bucket/runs" in lines
    assert f"service account{ACCOUNT}" in lines or f"service account {ACCOUNT}" in lines
    assert "  seed                 3" in lines
    assert any(line.startswith("  config ") and "coco-centernet-hourglass-gpu.yaml (" in line for line in lines)
    assert not any(line.startswith("  run_id") for line in lines)
    assert lines[-1] == "dry run: nothing was sent, and the data was not checked"
    assert "note: these are prices" not in out
    assert vertex.requests == []


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ([*PLACE, "--region", "europe-west4"], "prices in europe-west4 differ"),
        ([], "your cluster has its own costs"),
    ],
)
def test_prices_of_another_place_are_labelled(where: list[str], says: str, run: Run) -> None:
    if where:
        flags = [*where, "--pipeline-root", "gs://my-bucket/runs", "--target", "vertex-gpu", *CONFIG, *DATA]
    else:
        flags = endpoint_flags("http://127.0.0.1:1")
    _, out, _ = run("submit", *flags, "--dry-run")
    assert f"note: these are prices of {cost.read_prices().region}; {says}" in out
