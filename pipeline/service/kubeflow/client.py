"""kfp's client, adapted. The only module that uses private parts of kfp.

Two of its habits don't suit a command: it waits without limit for an answer, and it logs and prints on its own. The
public interface has no settings for them. `tests/pipeline/service/kubeflow/test_client.py` says what to do when a new
version of kfp has other private parts.
"""

import io
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

from trainer.shared import google_cloud


def make_client(url: str, namespace: str) -> Any:
    """A `kfp.client.Client` whose calls time out, and whose errors reach the caller at once.

    Args:
      url: address of the installation.
      namespace: of an installation with several users; "" for one without.
    """
    from kfp.client import Client as KfpClient

    class Client(KfpClient):
        def get_kfp_healthz(self, sleep_duration: int = 5) -> Any:
            """Called by the constructor. The original logs a traceback per attempt and raises another error."""
            return self._healthz_api.healthz_service_get_healthz(_request_timeout=_timeout())

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        client = Client(host=url, **({"namespace": namespace} if namespace else {}))
    _check_answers(rest_client(client))
    return client


def rest_client(client: Any) -> Any:
    """The object that sends the requests of all of the client's APIs."""
    return client._run_api.api_client.rest_client


def _check_answers(rest: Any) -> None:
    """Sets a time limit for each request, and refuses an answer that is not JSON.

    kfp's client would take a proxy's page for a run without an id, silently.
    """
    from urllib3.exceptions import HTTPError

    plain = rest.request

    def request(*arguments: Any, **more: Any) -> Any:
        answer = plain(*arguments, **{**more, "_request_timeout": more.get("_request_timeout") or _timeout()})
        try:
            json.loads(answer.data or "null")
        except ValueError as error:
            raise HTTPError(f"the answer is not JSON: {' '.join(str(answer.data).split())[:100]}") from error
        return answer

    rest.request = request


def _timeout() -> tuple[float, float]:
    """Seconds to connect, and to answer."""
    return google_cloud.CALL_SECONDS, google_cloud.CALL_SECONDS


@contextmanager
def quiet() -> Iterator[None]:
    """Hides kfp's own output: a line per experiment and run, with links that other installations have.

    A context manager and, like everything from `contextmanager`, a decorator of functions.
    """
    before = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)
