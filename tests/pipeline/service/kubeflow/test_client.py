"""kfp's private parts that `pipeline.service.kubeflow.client` uses.

When one of these tests fails after an upgrade of kfp: read `kfp/client/client.py` of the new version, adapt `client.py`
to its new parts, or delete the part that kfp has fixed. Until then keep the upper bound of kfp in pyproject.toml.
"""

import inspect
import logging

import pytest
from kfp.client import Client
from urllib3.exceptions import HTTPError

from pipeline.service.kubeflow.client import make_client, quiet, rest_client
from tests.loopback.kubeflow_server import KubeflowServer
from tests.loopback.server import Fault
from trainer.shared import google_cloud


def test_the_constructor_still_asks_for_the_health_by_this_method() -> None:
    """Else our time limit for the first call is lost, and kfp logs tracebacks again."""
    assert "sleep_duration" in inspect.signature(Client.get_kfp_healthz).parameters
    assert "get_kfp_healthz" in inspect.getsource(Client.__init__)


def test_all_apis_still_share_one_rest_client(kubeflow: KubeflowServer) -> None:
    """Else the time limit and the check of the answer reach only some calls."""
    client = make_client(kubeflow.url, "")
    apis = [value for name, value in vars(client).items() if name.endswith("_api")]
    assert len(apis) >= 5
    assert {id(api.api_client.rest_client) for api in apis} == {id(rest_client(client))}


def test_an_answer_that_is_not_json_is_an_error(kubeflow: KubeflowServer) -> None:
    client = make_client(kubeflow.url, "")
    kubeflow.next_fault("GET", "/runs/", Fault(text="<html>Please sign in</html>"))
    with pytest.raises(HTTPError, match="the answer is not JSON"):
        client.get_run("x")


def test_every_call_has_a_time_limit(kubeflow: KubeflowServer, monkeypatch: pytest.MonkeyPatch) -> None:
    client = make_client(kubeflow.url, "")
    monkeypatch.setattr(google_cloud, "CALL_SECONDS", 0.2)
    kubeflow.runs["x"] = {"run_id": "x", "state": "SUCCEEDED"}
    # urllib3 itself tries three times more.
    kubeflow.next_fault("GET", "/runs/", Fault(seconds=1.0), times=4)
    with pytest.raises(HTTPError, match="timed out"):
        client.get_run("x")


def test_quiet_hides_output_and_restores_logging(capsys: pytest.CaptureFixture[str]) -> None:
    before = logging.root.manager.disable
    with quiet():
        print("a link")
        assert logging.root.manager.disable == logging.INFO
    assert logging.root.manager.disable == before
    assert capsys.readouterr().out == ""
