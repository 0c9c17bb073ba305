"""Failed calls: what is repeated, and what the user reads. tests/cloud/test_faults.py goes all the way to a service."""

from collections.abc import Iterator

import pytest
from google.api_core import exceptions
from google.auth.exceptions import DefaultCredentialsError

from beam_preprocess.base.errors import Failure, InputError
from trainer.shared import google_cloud
from trainer.shared.google_cloud import CloudError, Place, call, explain

PLACE = Place(project="my-project", region="us-central1")


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(google_cloud, "FIRST_WAIT_SECONDS", 0.0)


class Answers:
    """A request that gives one answer after the other; exceptions are raised."""

    def __init__(self, *answers: object) -> None:
        self.answers: Iterator[object] = iter(answers)
        self.calls = 0

    def __call__(self) -> object:
        self.calls += 1
        answer = next(self.answers)
        if isinstance(answer, Exception):
            raise answer
        return answer


def make(request: Answers, after_doubt: Answers | None = None) -> object:
    return call("do it", request, permission="aiplatform.jobs.do", place=PLACE, after_doubt=after_doubt)


BUSY, LOST = exceptions.TooManyRequests("quota"), exceptions.ServiceUnavailable("gone")


def test_a_busy_service_is_asked_again(capsys: pytest.CaptureFixture[str]) -> None:
    request = Answers(LOST, BUSY, "done")
    assert make(request) == "done"
    assert request.calls == 3
    assert capsys.readouterr().out.count("trying again in 0 s") == 2


def test_it_gives_up() -> None:
    request = Answers(*[LOST] * google_cloud.ATTEMPTS)
    with pytest.raises(CloudError, match="could not do it after 6 attempts: 503") as error:
        make(request)
    assert (request.calls, error.value.status, error.value.may_pass) == (6, 503, True)


def test_an_attempt_that_took_effect_after_all_is_the_result() -> None:
    request, look = Answers(LOST, LOST), Answers(None, "found")
    assert make(request, look) == "found"
    assert (request.calls, look.calls) == (2, 2)


def test_no_look_where_nothing_was_carried_out() -> None:
    look = Answers()
    assert make(Answers(BUSY, "done"), look) == "done"
    assert look.calls == 0


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (exceptions.BadRequest("field x"), InputError, "Vertex AI rejects it: field x"),
        (exceptions.Forbidden("no"), CloudError, "aiplatform.jobs.do is missing; grant roles/aiplatform.user"),
        (
            exceptions.Forbidden("Permission 'storage.objects.get' denied"),
            CloudError,
            "storage.objects.get is missing; grant roles/storage.objectUser on the bucket",
        ),
        (exceptions.NotFound("x"), CloudError, "project my-project, region us-central1"),
        (BUSY, CloudError, "quota exceeded"),
        (DefaultCredentialsError("none"), CloudError, "gcloud auth application-default login"),
        (ConnectionError("NameResolutionError: x"), CloudError, "are --region us-central1 and DNS right?"),
        (ConnectionError("refused"), CloudError, "is the network up?"),
    ],
)
def test_messages(error: Exception, kind: type[Exception], words: str) -> None:
    found = explain("do it", error, permission="aiplatform.jobs.do", place=PLACE)
    assert type(found) is kind
    assert words in str(found)
    assert "\n" not in str(found)


def test_a_cloud_error_ends_a_command_with_one_line() -> None:
    assert issubclass(CloudError, Failure)
    assert (CloudError("x").exit_code, CloudError("x").may_pass) == (1, True)


@pytest.mark.parametrize(
    ("project", "region", "words"),
    [("X", "us-central1", "not a project id"), ("my-project", "mars", "not a region")],
)
def test_bad_places(project: str, region: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Place(project=project, region=region)
