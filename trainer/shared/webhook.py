"""Posts the outcome of a run to a webhook, such as Slack's. An alert never changes the run that it reports.

The webhook's address is a secret: anyone who has it can post. So it is given by the name of the secret, read where it
is used, and no message of this module contains it.
"""

import json
import os
import re
import threading
import time
from dataclasses import asdict, dataclass
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from beam_preprocess.base.errors import Failure

ATTEMPTS = 3
WAIT_SECONDS = 2.0
"""Before the second attempt, and twice as long before the third."""
CALL_SECONDS = 10.0
"""Maximum wait for one answer."""
LIMIT_SECONDS = 60.0
"""Maximum time of everything, whatever hangs."""
SECRET_VERSION = re.compile(r"projects/[^/\s]+/secrets/[\w-]{1,255}/versions/(\d+|latest)")
"""Name of a secret in Secret Manager."""
CLUSTER_SECRET = re.compile(r"([a-z0-9][a-z0-9.-]{0,252})/([\w.-]{1,253})")
"""Name and key of a Kubernetes secret, which reaches the step as CLUSTER_VARIABLE. Any other name is an environment
variable's."""
CLUSTER_VARIABLE = "CENTERNET_WEBHOOK"
ENDPOINT_VARIABLE = "CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER"
"""Another address of Secret Manager, as gcloud reads it."""


class WebhookFailed(Failure):
    """The alert was not delivered. The message gives the reason, without the address."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Alert:
    """What a webhook receives, with `text` added."""

    outcome: str
    """promoted, held, pending approval, or failed."""
    sentence: str
    """The outcome with its reason, in one line."""
    run: str
    link: str = ""
    """The run's page; "" if unknown."""
    report: str = ""
    """URI of the report; "" if there is none."""

    def payload(self) -> dict[str, str]:
        """JSON with the text that Slack shows, and the fields for programs."""
        lines = [f"CenterNet run {self.run}: {self.sentence}", self.report and f"report {self.report}", self.link]
        return {"text": "\n".join(filter(None, lines)), **{k: v for k, v in asdict(self).items() if v}}


def send(secret: str, alert: Alert) -> bool:
    """Delivers the alert, or prints a warning with the reason. It never raises, and ends within LIMIT_SECONDS.

    Args:
      secret: see `read_address`.
      alert: what is sent.

    Returns:
      Whether it was delivered.
    """
    failed: list[str] = ["no answer in time"]

    def deliver() -> None:
        try:
            post(read_address(secret), alert.payload())
        except WebhookFailed as error:
            failed[:] = [str(error)]
        except Exception as error:  # a library's own error could hold the address: only its kind is shown
            failed[:] = [type(error).__name__]
        else:
            failed.clear()

    # A thread of its own: a name server or a slow answer can take longer than any time limit of a socket.
    thread = threading.Thread(target=deliver, daemon=True)
    thread.start()
    thread.join(LIMIT_SECONDS)
    if reason := " ".join(failed):
        print(f"warning: the alert ({alert.outcome}) was not delivered: {reason}; the run's result stays", flush=True)
        return False
    print(f"alert     {alert.outcome}: delivered", flush=True)
    return True


def read_address(secret: str) -> str:
    """The webhook's address.

    Args:
      secret: `projects/P/secrets/NAME/versions/V` of Secret Manager, NAME/KEY of a Kubernetes secret, or the name of an
        environment variable.

    Raises:
      WebhookFailed: there is no such secret, it can't be read, or it doesn't hold an address.
    """
    if SECRET_VERSION.fullmatch(secret):
        text = _from_secret_manager(secret)
    else:
        text = os.environ.get(CLUSTER_VARIABLE if CLUSTER_SECRET.fullmatch(secret) else secret, "")
    if not text.strip():
        raise WebhookFailed(f"secret {secret}: is empty or not set; store the webhook's address in it")
    parts = urlsplit(text.strip())
    local = parts.hostname in ("127.0.0.1", "localhost")
    if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and local)):
        raise WebhookFailed(f"secret {secret}: doesn't hold an https:// address; store the webhook's address in it")
    return text.strip()


def _from_secret_manager(secret: str) -> str:
    from google.api_core.client_options import ClientOptions
    from google.api_core.exceptions import GoogleAPICallError
    from google.auth.exceptions import GoogleAuthError
    from google.cloud.secretmanager_v1 import SecretManagerServiceClient
    from requests.exceptions import RequestException

    from trainer.shared.google_cloud import CloudError, brief, credentials

    endpoint = os.environ.get(ENDPOINT_VARIABLE, "").rstrip("/") or "https://secretmanager.googleapis.com"
    try:
        client = SecretManagerServiceClient(
            credentials=credentials(endpoint), transport="rest", client_options=ClientOptions(api_endpoint=endpoint)
        )
        answer = client.access_secret_version(name=secret, timeout=CALL_SECONDS)
        return str(answer.payload.data.decode("utf-8"))
    except (GoogleAPICallError, GoogleAuthError, RequestException, CloudError) as error:
        raise WebhookFailed(
            f"secret {secret}: can't be read ({brief(error)}); grant the run's service account "
            "roles/secretmanager.secretAccessor on it"
        ) from error


class _NoRedirect(HTTPRedirectHandler):
    """An address that moves is not followed: the alert goes where the secret says."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def post(address: str, payload: dict[str, str]) -> None:
    """Posts JSON. A busy or silent server is asked again.

    Raises:
      WebhookFailed: it does not accept it, or can't be reached.
    """
    body = json.dumps(payload).encode()
    opener = build_opener(_NoRedirect)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            request = Request(address, data=body, headers={"Content-Type": "application/json"}, method="POST")
            with opener.open(request, timeout=CALL_SECONDS):
                return
        except HTTPError as error:
            reason = f"the webhook answers {error.code}"
            lasting = error.code < 500 and error.code != 429
            error.close()
        except (URLError, TimeoutError, ConnectionError) as error:
            # Its text is the socket's, which knows host and port only.
            reason, lasting = f"the webhook can't be reached ({getattr(error, 'reason', error)})", False
        except (HTTPException, OSError, ValueError) as error:
            reason, lasting = f"the webhook can't be called ({type(error).__name__})", True
        if lasting or attempt == ATTEMPTS:
            raise WebhookFailed(reason)
        time.sleep(WAIT_SECONDS * attempt)
