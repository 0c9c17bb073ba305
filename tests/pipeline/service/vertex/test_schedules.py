"""Schedules on Vertex AI: what only this service does. tests/pipeline/service/test_schedules.py has the rest."""

import pytest

from pipeline.service.cron import parse
from pipeline.service.vertex.schedules import VertexSchedules
from tests.loopback.invocations import PLACE, WHAT, WHERE, Run
from tests.loopback.vertex_server import VertexServer
from trainer.shared.google_cloud import Place

pytestmark = pytest.mark.usefixtures("loopback_cloud")


def test_an_update_sends_only_what_changes(vertex: VertexServer, run: Run) -> None:
    assert run("schedule", "create", "--name", "weekly", "--cron", "0 3 * * 1", *WHERE, *WHAT)[0] == 0
    schedules = VertexSchedules(Place(project="my-project", region="us-central1"))
    view = schedules.update("weekly", max_concurrent_runs=3)
    assert (view.max_concurrent_runs, view.cron) == (3, "TZ=Etc/UTC 0 3 * * 1")
    (patch,) = vertex.sent("PATCH")
    assert patch.query["updateMask"] == "maxConcurrentRunCount"
    view = schedules.update("weekly", cron=parse("0 4 * * 1", "Europe/Berlin"))
    assert (view.max_concurrent_runs, view.cron) == (3, "TZ=Europe/Berlin 0 4 * * 1")


def test_schedules_of_other_kinds_are_not_listed(vertex: VertexServer, run: Run) -> None:
    assert run("schedule", "create", "--name", "weekly", "--cron", "0 3 * * 1", *WHERE, *WHAT)[0] == 0
    ((name, content),) = vertex.schedules.items()
    notebook = {key: value for key, value in content.items() if key != "createPipelineJobRequest"}
    vertex.schedules[f"{name}9"] = {**notebook, "name": f"{name}9", "displayName": "a notebook"}
    schedules = VertexSchedules(Place(project="my-project", region="us-central1"))
    assert [view.name for view in schedules.list()] == ["weekly"]


def test_a_deletion_whose_operation_cannot_be_followed(vertex: VertexServer, run: Run) -> None:
    vertex.operations_address, vertex.operation_requests = "/v1/", 4
    assert run("schedule", "create", "--name", "weekly", "--cron", "0 3 * * 1", *WHERE, *WHAT)[0] == 0
    code, out, err = run("schedule", "delete", "weekly", *PLACE)
    assert (code, err) == (0, "")
    assert "the operation can't be followed" in out
    assert vertex.schedules == {}
