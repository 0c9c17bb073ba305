"""`centernet list` of runs on a Vertex AI on loopback."""

import pytest

from tests.loopback.invocations import PLACE, Run, submitted
from tests.loopback.vertex_server import VertexServer

pytestmark = pytest.mark.usefixtures("loopback_cloud")


def test_list(vertex: VertexServer, run: Run) -> None:
    assert run("list", *PLACE) == (0, "no runs\n", "")
    ids = [submitted(vertex, run, "--seed", str(seed)) for seed in (1, 2)]
    code, out, _ = run("list", *PLACE)
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == ids[::-1]
    assert run("list", *PLACE, "--limit", "1")[1].split()[0] == ids[1]
