"""Google's Vertex AI clients, and error messages that say what to do when a call fails. The SDK is imported lazily.

The clients use REST, in production too, so the tests on loopback exercise the code that runs. The address is the
region's, or the one in `CLOUDSDK_API_ENDPOINT_OVERRIDES_AIPLATFORM`, which gcloud reads as well (private endpoints,
tests). An `http://127.0.0.1` address is used without credentials.
"""

import os
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from beam_preprocess.base.errors import Failure, InputError

ENDPOINT_VARIABLE = "CLOUDSDK_API_ENDPOINT_OVERRIDES_AIPLATFORM"
ATTEMPTS = 6
FIRST_WAIT_SECONDS = 1.0
"""Doubles with every attempt, plus up to half of it at random: 6 attempts wait 31 to 47 s in all."""
LONGEST_LOOK_SECONDS = 30.0
"""Between two looks for the result of an operation that can't be followed."""
CALL_SECONDS = 60.0
"""Maximum wait for one answer."""

_REGION = re.compile(r"[a-z]+(-[a-z]+)+[0-9]+")
_PROJECT = re.compile(r"[a-z][a-z0-9.:-]{4,61}[a-z0-9]")
_ROLES = {
    "aiplatform.": "roles/aiplatform.user",
    "iam.serviceAccounts.actAs": "roles/iam.serviceAccountUser on that service account",
    "storage.": "roles/storage.objectUser on the bucket",
    "logging.": "roles/logging.viewer",
}

T = TypeVar("T")


class CloudError(Failure):
    """A call to the cloud failed for good. The message tells the user what to do."""

    def __init__(self, message: str, *, status: int = 0):
        """
        Args:
          message: what failed, why, and what to do.
          status: HTTP status of the answer; 0 if there was no answer.
        """
        super().__init__(message)
        self.status = status

    @property
    def may_pass(self) -> bool:
        """Whether the same call may succeed a little later: the service is busy or broken, or it did not answer."""
        return self.status in (0, 429, 500, 502, 503, 504)


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """A project and a region."""

    project: str
    region: str

    def __post_init__(self) -> None:
        if not _PROJECT.fullmatch(self.project):
            raise InputError(f"--project {self.project!r}: not a project id; see gcloud projects list")
        if not _REGION.fullmatch(self.region):
            raise InputError(f"--region {self.region!r}: not a region; give one such as us-central1 or europe-west4")

    @property
    def parent(self) -> str:
        return f"projects/{self.project}/locations/{self.region}"

    @property
    def endpoint(self) -> str:
        """Address of the region's Vertex AI, without a trailing slash."""
        override = os.environ.get(ENDPOINT_VARIABLE, "").rstrip("/")
        return override or f"https://{self.region}-aiplatform.googleapis.com"


def make_client(kind: type[T], place: Place) -> T:
    """A client of one service, such as `PipelineServiceClient`.

    Raises:
      CloudError: there are no credentials.
    """
    from google.api_core.client_options import ClientOptions

    return kind(  # type: ignore[call-arg]
        credentials=credentials(place.endpoint),
        transport="rest",
        client_options=ClientOptions(api_endpoint=place.endpoint, quota_project_id=None),
    )


def credentials(endpoint: str) -> Any:
    """The application default credentials; anonymous ones for an address on this machine.

    Raises:
      CloudError: there are no credentials.
    """
    import google.auth
    from google.auth.credentials import AnonymousCredentials
    from google.auth.exceptions import GoogleAuthError

    if re.match(r"http://(127\.0\.0\.1|localhost)[:/]", endpoint):
        return AnonymousCredentials()
    try:
        found, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
    except GoogleAuthError as error:
        raise _not_signed_in("Vertex AI", error) from error
    return found


def call(
    action: str,
    request: Callable[[], T],
    *,
    permission: str,
    place: Place,
    after_doubt: Callable[[], T | None] | None = None,
) -> T:
    """Makes one call, and repeats it with back-off while the service is busy or cannot be reached.

    Args:
      action: what the call does, for messages: "create the pipeline job centernet-training-…".
      request: makes the call. It must be harmless to repeat, or carry a name that the service accepts only once.
      permission: what the call needs; the message names it if the call is denied and the answer names none.
      place: for messages.
      after_doubt: checks whether an attempt without an answer (a cut connection, a time-out, a server error) took
        effect after all. What it finds is the result; after None the request is repeated.

    Raises:
      InputError: the service rejects the request as invalid.
      CloudError: every other failure.
    """
    from google.api_core.exceptions import GoogleAPICallError
    from google.auth.exceptions import GoogleAuthError
    from google.protobuf.json_format import ParseError
    from requests.exceptions import RequestException

    return with_back_off(
        action,
        request,
        errors=(GoogleAPICallError, GoogleAuthError, RequestException, ParseError),
        explain=lambda what, error, attempts: explain(
            what, error, permission=permission, place=place, attempts=attempts
        ),
        after_doubt=after_doubt,
    )


def finish(operation: Any, action: str, *, seconds: float, look: Callable[[], T | None]) -> Any:
    """Waits until a long-running operation that a call started has ended.

    Google's client asks for it at an address of its own (/ui/…). Whatever that address answers, the work itself may be
    done: so before this says that it failed, `look` looks for the result.

    Args:
      operation: what the client returned.
      action: as in `call`.
      seconds: the longest wait.
      look: finds the result without the operation; None if there is none yet.

    Returns:
      The operation's result, or what `look` found.

    Raises:
      CloudError: there is no result after `seconds`.
      GoogleAPICallError: the operation itself failed; for `call`.
    """
    from google.api_core.exceptions import GoogleAPICallError
    from google.api_core.future.polling import DEFAULT_POLLING
    from requests.exceptions import RequestException

    deadline = time.monotonic() + seconds
    try:
        return operation.result(timeout=seconds, polling=DEFAULT_POLLING.with_delay(initial=FIRST_WAIT_SECONDS))
    except TimeoutError:
        reason = f"it was started and has not ended after {seconds:g} s"
    except (GoogleAPICallError, RequestException) as error:
        if operation.operation.done:
            raise
        reason = f"it was started, but can't be followed ({brief(error)}), and there is no result after {seconds:g} s"
        print(f"  {action}: the operation can't be followed ({brief(error)}); looking for its result", flush=True)
    wait = FIRST_WAIT_SECONDS
    while (found := look()) is None:
        if time.monotonic() >= deadline:
            raise CloudError(
                f"could not {action}: {reason}; it may still end: look in the console before you try again"
            )
        time.sleep(min(wait, LONGEST_LOOK_SECONDS))
        wait *= 2
    return found


def with_back_off(
    action: str,
    request: Callable[[], T],
    *,
    errors: tuple[type[Exception], ...],
    explain: Callable[[str, Exception, int], InputError | CloudError],
    after_doubt: Callable[[], T | None] | None = None,
) -> T:
    """The attempts of `call`, for any client.

    Args:
      action: as in `call`, like `request` and `after_doubt`.
      request: see `call`.
      errors: what the client raises for a failed call.
      explain: makes the error to raise from the action, the client's error and the number of attempts.
      after_doubt: see `call`.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return request()
        except errors as error:
            translated = explain(action, error, attempt)
            if not isinstance(translated, CloudError) or not translated.may_pass:
                raise translated from error
            if attempt < ATTEMPTS:
                wait = FIRST_WAIT_SECONDS * 2 ** (attempt - 1) * (1 + random.random() / 2)
                print(f"  {action}: {brief(error)}; trying again in {wait:.0f} s", flush=True)
                time.sleep(wait)
            # After the last attempt too: an attempt that took effect is not a failure.
            if after_doubt is not None and translated.status != 429:
                looking = f"check whether it took effect ({action})"
                done = with_back_off(looking, after_doubt, errors=errors, explain=explain)
                if done is not None:
                    return done
            if attempt == ATTEMPTS:
                raise translated from error
    raise AssertionError("the last attempt returns or raises")


def explain(
    action: str, error: Exception, *, permission: str, place: Place, attempts: int = 1
) -> InputError | CloudError:
    """The error to raise for a failed call: one line that says what to do."""
    from google.protobuf.json_format import ParseError

    status, message = _status(error), brief(error)
    tries = f" after {attempts} attempts" if attempts > 1 else ""
    failed = f"could not {action}{tries}"
    if status == 400:
        return InputError(f"could not {action}: Vertex AI rejects it: {message}")
    if status == 401 or (not status and _is_auth(error)):
        return _not_signed_in(action, error)
    if status == 403:
        return CloudError(f"{failed}: {_denied(error, message, permission, place.project)}", status=status)
    if status == 404:
        return CloudError(
            f"{failed}: not found ({message}); are project {place.project}, region {place.region} and the name "
            "right, and is Vertex AI in that region?",
            status=status,
        )
    if status == 429:
        return CloudError(
            f"{failed}: quota exceeded ({message}); try again later, or ask for more at "
            f"https://console.cloud.google.com/iam-admin/quotas?project={place.project}",
            status=status,
        )
    if status:
        return CloudError(f"{failed}: {status} {message}", status=status)
    if isinstance(error, ParseError):
        return CloudError(f"{failed}: the answer of {place.endpoint} is not JSON ({message}); is a proxy in between?")
    if "NameResolution" in message or "Name or service not known" in message:
        return CloudError(f"{failed}: {place.endpoint} does not exist; are --region {place.region} and DNS right?")
    return CloudError(f"{failed}: no answer from {place.endpoint} ({message}); is the network up?")


def _status(error: Exception) -> int:
    return int(getattr(error, "code", None) or 0)


def _is_auth(error: Exception) -> bool:
    from google.auth.exceptions import GoogleAuthError, TransportError

    return isinstance(error, GoogleAuthError) and not isinstance(error, TransportError)


def _not_signed_in(action: str, error: Exception) -> CloudError:
    return CloudError(
        f"{action}: not signed in ({brief(error)}); run: gcloud auth application-default login "
        "(or set GOOGLE_APPLICATION_CREDENTIALS to a key file)",
        status=401,
    )


def _denied(error: Exception, message: str, permission: str, project: str) -> str:
    """What to grant or enable. The answer names the permission more precisely than we can."""
    if getattr(error, "reason", None) == "SERVICE_DISABLED" or "has not been used in project" in message:
        return f"the API is not enabled; run: gcloud services enable aiplatform.googleapis.com --project {project}"
    named = re.search(r"[Pp]ermission '?([a-zA-Z]+\.[a-zA-Z.]+\w)'?", message)
    needed = named[1] if named else permission
    role = next((role for prefix, role in _ROLES.items() if needed.startswith(prefix)), "a role with it")
    return f"permission {needed} is missing; grant {role} ({message})"


def brief(error: Exception) -> str:
    """The message of an error, on one line of at most 300 characters."""
    text = getattr(error, "message", None) or str(error) or type(error).__name__
    line = " ".join(str(text).split())
    return line if len(line) <= 300 else f"{line[:297]}..."
