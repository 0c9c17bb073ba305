"""A changed pipeline needs a new schedule: what remains if that fails, is interrupted, or finds others of the name."""

import shlex
from dataclasses import dataclass
from typing import Any

import pytest

from pipeline.commands.cli import main
from tests.loopback.invocations import ENDPOINT_WHAT, PLACE, WHAT, WHERE, Run
from tests.loopback.kubeflow_server import KubeflowServer
from tests.loopback.server import Fault
from tests.loopback.vertex_server import VertexServer

pytestmark = pytest.mark.usefixtures("loopback_cloud")

NAMED = ["--name", "weekly", "--cron", "0 3 * * 1"]


@dataclass(frozen=True)
class Service:
    """The schedules of one service."""

    server: VertexServer | KubeflowServer
    place: list[str]
    create: list[str]
    path: str
    kept: dict[str, Any]

    def active(self) -> list[str]:
        """The schedules that start runs."""
        return [name for name, one in self.kept.items() if one.get("state", one.get("status")) in ("ACTIVE", "ENABLED")]


@pytest.fixture(params=["vertex", "kubeflow"])
def service(request: pytest.FixtureRequest, vertex: VertexServer, kubeflow: KubeflowServer) -> Service:
    if request.param == "vertex":
        create = ["schedule", "create", *NAMED, *WHERE, *WHAT]
        return Service(vertex, PLACE, create, "schedules", vertex.schedules)
    place = ["--endpoint", kubeflow.url]
    create = ["schedule", "create", *NAMED, *place, *ENDPOINT_WHAT]
    return Service(kubeflow, place, create, "recurringruns", kubeflow.recurring)


def test_one_that_fails_leaves_the_old_one_active(service: Service, run: Run) -> None:
    run(*service.create)
    (old,) = service.kept
    service.server.next_fault("POST", service.path, Fault(), times=1)  # the pause goes through
    service.server.next_fault("POST", service.path, Fault(status=403))
    code, _, err = run(*service.create, "--seed", "5")
    assert code == 1
    assert "create" in err
    assert service.active() == list(service.kept) == [old]


def test_a_pause_whose_answer_is_lost_is_not_a_failure(service: Service, run: Run) -> None:
    run(*service.create)
    (old,) = service.kept
    service.server.next_fault("POST", old.rpartition("/")[2], Fault(cut="after"))
    assert run(*service.create, "--seed", "5")[0] == 0
    assert service.active() == list(service.kept) != [old]


def test_ctrl_c_leaves_the_old_one_active(service: Service, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run(*service.create)
    (old,) = service.kept
    service.server.next_fault("POST", service.path, Fault(), times=1)  # the pause goes through
    service.server.next_fault("POST", service.path, Fault(status=503))

    def ctrl_c(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("trainer.shared.google_cloud.time.sleep", ctrl_c)
    code, _, err = run(*service.create, "--seed", "5")
    assert (code, err) == (130, "interrupted\n")
    assert service.active() == list(service.kept) == [old]


def test_one_that_was_interrupted_is_finished(service: Service, run: Run) -> None:
    """The new schedule was created, the old one could not be deleted: the same command finishes the replacement."""
    run(*service.create)
    (old,) = service.kept
    service.server.next_fault("DELETE", "", Fault(status=403))
    assert run(*service.create, "--seed", "5")[0] == 1
    assert len(service.kept) == 2
    code, out, _ = run(*service.create, "--seed", "5")
    assert code == 0
    assert "unchanged" in out
    assert len(service.kept) == 1
    assert old not in service.kept


def test_one_that_was_interrupted_gives_way_to_the_next(service: Service, run: Run) -> None:
    run(*service.create)
    service.server.next_fault("DELETE", "", Fault(status=403))
    assert run(*service.create, "--seed", "5")[0] == 1
    assert "replaced" in run(*service.create, "--seed", "6")[1]
    assert service.active() == list(service.kept)
    assert len(service.kept) == 1


def test_a_failed_read_after_creating_leaves_one_active(vertex: VertexServer, run: Run) -> None:
    create = ["schedule", "create", *NAMED, *WHERE, *WHAT]
    run(*create)
    (old,) = vertex.schedules
    vertex.next_fault("GET", "/schedules/", Fault(status=403))
    assert run(*create, "--seed", "5")[0] == 0
    (new,) = vertex.schedules
    assert new != old


def test_a_paused_one_is_never_replaced_by_an_active_one(vertex: VertexServer, run: Run) -> None:
    """Vertex AI creates only active schedules; one that can't be paused is deleted."""
    create = ["schedule", "create", *NAMED, *WHERE, *WHAT]
    run(*create)
    run("schedule", "pause", "weekly", *PLACE)
    (old,) = vertex.schedules
    vertex.next_fault("POST", ":pause", Fault(status=403))
    assert run(*create, "--seed", "5")[0] == 1
    assert list(vertex.schedules) == [old]
    assert vertex.schedules[old]["state"] == "PAUSED"


def twin(service: Service) -> tuple[str, str]:
    """Makes a copy of the schedule, as two commands at the same time would; (first, second)."""
    ((first, content),) = service.kept.items()
    if isinstance(service.server, VertexServer):
        second = f"{first}9"
        service.kept[second] = {**content, "name": second}
    else:
        second = first[::-1]
        service.kept[second] = {**content, "recurring_run_id": second}
    return first, second


def test_of_two_that_are_the_same_one_stays(service: Service, run: Run) -> None:
    run(*service.create)
    twin(service)
    code, out, _ = run(*service.create)
    assert code == 0
    assert "unchanged" in out
    assert len(service.active()) == len(service.kept) == 1


def test_of_two_with_a_name_each_goes_by_its_id(service: Service, run: Run) -> None:
    run(*service.create)
    first, second = twin(service)
    code, _, err = run("schedule", "delete", "weekly", *service.place)
    assert code == 2
    assert "2 schedules have this name" in err
    assert "give the id of one" in err
    assert run("schedule", "delete", second.rpartition("/")[2], *service.place)[0] == 0
    assert list(service.kept) == [first]


def test_what_others_made_is_not_replaced(service: Service, run: Run) -> None:
    """Another user's schedule may have the same name: this command would delete it."""
    run(*service.create)
    ((name, content),) = service.kept.items()
    if isinstance(service.server, VertexServer):
        del content["createPipelineJobRequest"]["pipelineJob"]["labels"]
    else:
        del content["description"]
    code, _, err = run(*service.create, "--seed", "5")
    assert code == 2
    assert err.count("\n") == 1
    assert "was not made by this command" in err
    assert service.active() == list(service.kept) == [name]
    assert "not made by schedule create" in run("schedule", "list", *service.place)[1]


@pytest.mark.parametrize("verb", ["create --cron '0 3 * * 1' --name", "delete", "pause", "resume", "update", "show"])
def test_an_empty_name_is_refused(verb: str, vertex: VertexServer, capsys: pytest.CaptureFixture[str]) -> None:
    """An empty name, such as an unset "$NAME" in a script, would match any schedule."""
    with pytest.raises(SystemExit) as stopped:
        main(["schedule", *shlex.split(verb), "", *PLACE])
    assert stopped.value.code == 2
    assert "give a name of 1 to 128 characters" in capsys.readouterr().err
    assert vertex.requests == []


def test_a_name_matches_only_itself(vertex: VertexServer, run: Run) -> None:
    def create(name: str) -> list[str]:
        return ["schedule", "create", "--name", name, "--cron", "0 3 * * 1", *WHERE, *WHAT]

    for name in ('the "weekly" one', "weekly", "w*"):
        assert "created" in run(*create(name))[1]
    assert "unchanged" in run(*create('the "weekly" one'))[1]
    assert len(vertex.schedules) == 3


def test_an_update_that_was_interrupted_is_finished(kubeflow: KubeflowServer, run: Run) -> None:
    """An update on an endpoint is a replacement with the same content."""
    create = ["schedule", "create", "--name", "weekly", "--endpoint", kubeflow.url, *ENDPOINT_WHAT]
    run(*create, "--cron", "0 3 * * 1")
    (old,) = kubeflow.recurring
    kubeflow.next_fault("DELETE", "", Fault(status=403))
    assert run("schedule", "update", "weekly", "--cron", "0 4 * * 1", "--endpoint", kubeflow.url)[0] == 1
    assert kubeflow.recurring[old]["status"] == "DISABLED", "only the new one starts runs"
    assert "unchanged" in run(*create, "--cron", "0 4 * * 1")[1]
    (left,) = kubeflow.recurring.values()
    assert left["trigger"]["cron_schedule"]["cron"] == "0 0 4 * * 1"
