"""The service that the flags name is the one that is contacted."""

import pytest

from tests.loopback.invocations import PLACE, Run
from tests.loopback.kubeflow_server import KubeflowServer
from tests.loopback.vertex_server import VertexServer

pytestmark = pytest.mark.usefixtures("no_long_waits")


@pytest.mark.parametrize("verb", ["list", "schedule list"])
def test_one_service_is_contacted(verb: str, vertex: VertexServer, kubeflow: KubeflowServer, run: Run) -> None:
    assert run(*verb.split(), *PLACE)[0] == 0
    assert vertex.requests
    assert not kubeflow.requests
    seen = len(vertex.requests)
    assert run(*verb.split(), "--endpoint", kubeflow.url)[0] == 0
    assert kubeflow.requests
    assert len(vertex.requests) == seen


def test_both_are_refused(vertex: VertexServer, run: Run) -> None:
    code, _, err = run("list", *PLACE, "--endpoint", "http://localhost:8080")
    assert code == 2
    assert "give one" in err
    assert vertex.requests == []
