"""`submit` and `schedule create` when the service is busy, refuses, or can't be reached: exit code, message, and never
two runs for one command."""

from dataclasses import dataclass
from typing import Any

import pytest

from tests.loopback.invocations import ENDPOINT_WHAT, PLACE, WHAT, WHERE, Run, task
from tests.loopback.kubeflow_server import KubeflowServer
from tests.loopback.server import Fault
from tests.loopback.vertex_server import VertexServer

pytestmark = pytest.mark.usefixtures("loopback_cloud")

CREATE = ["schedule", "create", "--name", "weekly", "--cron", "0 3 * * 1"]


@dataclass(frozen=True)
class Way:
    """One verb at one service."""

    server: VertexServer | KubeflowServer
    arguments: list[str]
    path: str
    """Path of the request that creates something."""
    made: dict[str, Any]
    permission: str


@pytest.fixture(params=["vertex submit", "vertex schedule", "kubeflow submit", "kubeflow schedule"])
def way(request: pytest.FixtureRequest, vertex: VertexServer, kubeflow: KubeflowServer) -> Way:
    at_kubeflow = ["--endpoint", kubeflow.url, *ENDPOINT_WHAT]
    ways = {
        "vertex submit": Way(
            vertex, ["submit", *WHERE, *WHAT], "/pipelineJobs", vertex.jobs, "aiplatform.pipelineJobs.create"
        ),
        "vertex schedule": Way(
            vertex, [*CREATE, *WHERE, *WHAT], "/schedules", vertex.schedules, "aiplatform.schedules.create"
        ),
        "kubeflow submit": Way(
            kubeflow, ["submit", *at_kubeflow], "/runs", kubeflow.runs, "create runs.pipelines.kubeflow.org"
        ),
        "kubeflow schedule": Way(
            kubeflow,
            [*CREATE, *at_kubeflow],
            "/recurringruns",
            kubeflow.recurring,
            "create jobs.pipelines.kubeflow.org",
        ),
    }
    found: Way = ways[request.param]
    return found


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=429),
        Fault(status=503),
        Fault(status=500),
        Fault(cut="request"),
        Fault(cut="before"),
        Fault(cut="after"),
        Fault(cut="answer"),
        Fault(text="<html>Please sign in to this network</html>"),
        Fault(seconds=1.2),  # a time-out on our side; the service did it
    ],
    ids=["429", "503", "500", "cut within", "cut before", "cut after", "half an answer", "not JSON", "time-out"],
)
def test_one_whatever_happens(fault: Fault, way: Way, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    if fault.seconds:
        monkeypatch.setattr("trainer.shared.google_cloud.CALL_SECONDS", 0.6)
    way.server.next_fault("POST", way.path, fault)
    code, out, err = run(*way.arguments)
    assert (code, err) == (0, "")
    assert len(way.made) == 1
    assert next(iter(way.made)).rpartition("/")[2] in out
    assert "again in" in out, "the user sees why it waits"
    ids = {request.query.get("pipelineJobId") for request in way.server.sent("POST", way.path)}
    assert len(ids) == 1, "every retry has the same id"


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (Fault(status=429, message="Quota exceeded for custom_model_training_nvidia_a100_gpus"), "a100_gpus"),
        (Fault(status=503), "503"),
        (Fault(cut="before"), "no answer"),
        (Fault(text="<html>Please sign in</html>"), "not JSON"),
    ],
    ids=["429", "503", "cut", "not JSON"],
)
def test_gives_up(fault: Fault, says: str, way: Way, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.shared.google_cloud.ATTEMPTS", 2)
    way.server.next_fault("POST", way.path, fault, times=2)
    code, _, err = run(*way.arguments)
    assert code == 1
    assert "after 2 attempts" in err
    assert says in err
    assert len(way.server.sent("POST", way.path)) == 2
    assert way.made == {}


def test_what_the_last_attempt_did_is_found(way: Way, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was carried out is never reported as failed."""
    monkeypatch.setattr("trainer.shared.google_cloud.ATTEMPTS", 1)
    way.server.next_fault("POST", way.path, Fault(cut="after"))
    code, out, err = run(*way.arguments)
    assert (code, err) == (0, "")
    assert len(way.made) == 1
    assert next(iter(way.made)).rpartition("/")[2] in out


def test_gives_up_after_six_attempts(vertex: VertexServer, run: Run) -> None:
    vertex.next_fault("POST", "pipelineJobs", Fault(status=503), times=6)
    code, out, err = run("submit", *WHERE, *WHAT)
    assert code == 1
    assert "after 6 attempts" in err
    assert out.count("again in") == 5
    assert vertex.jobs == {}


@pytest.mark.parametrize(
    ("status", "code", "says"),
    [(401, 1, "not signed in"), (403, 1, ""), (404, 1, "not found"), (400, 2, "rejected")],
)
def test_errors_that_no_retry_helps(status: int, code: int, says: str, way: Way, run: Run) -> None:
    way.server.next_fault("POST", way.path, Fault(status=status, message="words of the service: rejected"))
    got, _, err = run(*way.arguments)
    assert got == code
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert (says or way.permission) in err
    if status != 401:  # then Google's client tries to sign in again, and that fails
        assert "words of the service" in err
    assert len(way.server.sent("POST", way.path)) == 1
    assert way.made == {}


DISABLED = {
    "@type": "type.googleapis.com/google.rpc.ErrorInfo",
    "reason": "SERVICE_DISABLED",
    "domain": "googleapis.com",
    "metadata": {"service": "aiplatform.googleapis.com"},
}
DENIED = (
    "Permission 'aiplatform.pipelineJobs.create' denied on resource '//aiplatform.googleapis.com/projects/my-project'"
)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (Fault(status=401), ["gcloud auth application-default login"]),
        (Fault(status=403, message=DENIED), ["aiplatform.pipelineJobs.create", "roles/aiplatform.user"]),
        (Fault(status=403, message="no"), ["aiplatform.pipelineJobs.create", "roles/aiplatform.user"]),
        (
            Fault(status=403, message="You do not have permission iam.serviceAccounts.actAs on trainer@"),
            ["iam.serviceAccounts.actAs", "roles/iam.serviceAccountUser"],
        ),
        (
            Fault(status=403, message="off", details=(DISABLED,)),
            ["gcloud services enable aiplatform.googleapis.com --project my-project"],
        ),
        (Fault(status=404), ["us-central1", "my-project"]),
    ],
)
def test_the_message_names_the_fix(fault: Fault, says: list[str], vertex: VertexServer, run: Run) -> None:
    vertex.next_fault("POST", "pipelineJobs", fault)
    code, _, err = run("submit", *WHERE, *WHAT)
    assert code == 1
    for part in says:
        assert part in err


SCHEDULE = ["schedule", "update", "weekly", "--cron", "0 4 * * 1"]


@pytest.mark.parametrize(
    ("words", "method", "path", "permission", "role"),
    [
        (["list"], "GET", "pipelineJobs", "aiplatform.pipelineJobs.list", "roles/aiplatform.user"),
        (["status", "JOB"], "GET", "pipelineJobs/", "aiplatform.pipelineJobs.get", "roles/aiplatform.user"),
        (["cancel", "JOB"], "POST", ":cancel", "aiplatform.pipelineJobs.cancel", "roles/aiplatform.user"),
        (["logs", "JOB"], "GET", "pipelineJobs/", "aiplatform.pipelineJobs.get", "roles/aiplatform.user"),
        (["logs", "JOB"], "POST", "entries:list", "logging.logEntries.list", "roles/logging.viewer"),
        (["schedule", "list"], "GET", "schedules", "aiplatform.schedules.list", "roles/aiplatform.user"),
        (["schedule", "pause", "weekly"], "POST", ":pause", "aiplatform.schedules.update", "roles/aiplatform.user"),
        (SCHEDULE, "PATCH", "schedules/", "aiplatform.schedules.update", "roles/aiplatform.user"),
        (["schedule", "delete", "weekly"], "DELETE", "", "aiplatform.schedules.delete", "roles/aiplatform.user"),
    ],
    ids=lambda value: "",
)
def test_a_denied_verb_names_the_missing_permission(
    words: list[str], method: str, path: str, permission: str, role: str, vertex: VertexServer, run: Run
) -> None:
    run("submit", *WHERE, *WHAT)
    run(*CREATE, *WHERE, *WHAT)
    (job,) = vertex.jobs
    started = {"executorDetail": {"containerDetail": {"mainJob": "projects/1/locations/us-central1/customJobs/7"}}}
    vertex.timeline = [{"jobDetail": {"taskDetails": [task("data-check", "RUNNING", **started)]}}]
    vertex.next_fault(method, path, Fault(status=403, message="no"))
    code, _, err = run(*[job.rpartition("/")[2] if word == "JOB" else word for word in words], *PLACE)
    assert code == 1
    assert err.count("\n") == 1
    assert f"permission {permission} is missing; grant {role}" in err


def test_no_server_at_all(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = "http://127.0.0.1:1"
    monkeypatch.setenv("CLOUDSDK_API_ENDPOINT_OVERRIDES_AIPLATFORM", nowhere)
    for arguments in ([*WHERE, *WHAT], ["--endpoint", nowhere, *ENDPOINT_WHAT]):
        code, _, err = run("submit", *arguments)
        assert code == 1
        assert "no answer" in err
        assert nowhere in err


def test_an_endpoint_that_refuses_the_first_call(kubeflow: KubeflowServer, run: Run) -> None:
    """kfp's own client would log five tracebacks in 25 seconds and raise another error."""
    kubeflow.next_fault("GET", "healthz", Fault(status=401))
    code, _, err = run("list", "--endpoint", kubeflow.url)
    assert code == 1
    assert "not signed in" in err
