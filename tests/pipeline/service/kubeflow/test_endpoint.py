"""A connection to an endpoint: its address, its retries, its experiments."""

import pytest

from beam_preprocess.base.errors import InputError
from pipeline.service.kubeflow.endpoint import Endpoint
from tests.loopback.kubeflow_server import KubeflowServer
from tests.loopback.server import Fault
from trainer.shared.google_cloud import CloudError

pytestmark = pytest.mark.usefixtures("no_long_waits")


@pytest.mark.parametrize("url", ["localhost:8080", "ftp://x", "http://", "http://[bad", "http://a b"])
def test_addresses_that_are_refused(url: str) -> None:
    with pytest.raises(InputError, match=r"--endpoint .*not an address"):
        Endpoint(url, "")


def test_an_experiment_is_created_once(kubeflow: KubeflowServer) -> None:
    endpoint = Endpoint(f"{kubeflow.url}/", "team")
    assert endpoint.url == kubeflow.url
    first = endpoint.experiment("centernet-training")
    assert list(kubeflow.experiments) == [first]
    assert kubeflow.experiments[first]["namespace"] == "team"


@pytest.mark.parametrize(
    ("status", "kind", "says"),
    [
        (400, InputError, "rejected"),
        (401, CloudError, "KF_PIPELINES_"),
        (403, CloudError, "get runs.pipelines.kubeflow.org"),
        (404, CloudError, "is this the address of the API"),
    ],
)
def test_errors_in_the_users_terms(status: int, kind: type[Exception], says: str, kubeflow: KubeflowServer) -> None:
    endpoint = Endpoint(kubeflow.url, "")
    kubeflow.next_fault("GET", "/runs/", Fault(status=status))
    with pytest.raises(kind, match=says):
        endpoint.call("read the run x", lambda: endpoint.client.get_run("x"), permission="get runs")


def test_a_busy_service_is_called_again(kubeflow: KubeflowServer) -> None:
    endpoint = Endpoint(kubeflow.url, "")
    kubeflow.runs["x"] = {"run_id": "x", "state": "SUCCEEDED"}
    kubeflow.next_fault("GET", "/runs/", Fault(status=503), times=2)
    found = endpoint.call("read the run x", lambda: endpoint.client.get_run("x"), permission="get runs")
    assert found.run_id == "x"
