"""Curves and experiments: Google's own clients against a Vertex AI on loopback."""

import json
from collections.abc import Iterator

import pytest

from beam_preprocess.base.errors import InputError
from tests.loopback.server import Fault
from tests.loopback.tracking_server import STORE, TENSORBOARD, TrackingServer
from tests.loopback.vertex_server import PARENT
from trainer.report import tracking
from trainer.report.tracking import Tracking, track
from trainer.shared import google_cloud

JOB = f"{PARENT}/pipelineJobs/centernet-training-1a2b3c4d-20261124-030000"
CONTEXT = f"{STORE}/contexts/centernet-training-1a2b3c4d-20261124-030000"
HISTORY = [
    {"step": 100, "total_loss": 2.5, "images/s": 3},
    {"step": 200, "total_loss": 1.5, "images/s": 4, "ap": 0.25, "measured_on": "64 training images"},
]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, no_long_waits: None) -> Iterator[TrackingServer]:
    made = TrackingServer()
    made.jobs[JOB] = {
        "name": JOB,
        "state": "PIPELINE_STATE_RUNNING",
        "jobDetail": {"pipelineRunContext": {"name": CONTEXT}},
    }
    monkeypatch.setenv(google_cloud.ENDPOINT_VARIABLE, made.url)
    yield made
    made.stop()
    assert made.violations == []


def points(server: TrackingServer, experiment: str) -> dict[str, dict[int, float]]:
    runs = f"{TENSORBOARD}/experiments/{experiment}/runs/{JOB.rpartition('/')[2]}/timeSeries/"
    return {one["displayName"]: one["points"] for name, one in server.boards.items() if name.startswith(runs)}


@pytest.mark.parametrize("experiment", ["", "detector"])
def test_the_curves(experiment: str, server: TrackingServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "MAX_POINTS", 1)
    text = Tracking(tensorboard=TENSORBOARD, experiment=experiment).text()
    done = track(HISTORY, text, JOB)
    assert done.startswith(f"5 points sent to {TENSORBOARD}")
    wanted = {"total_loss": {100: 2.5, 200: 1.5}, "images/s": {100: 3.0, 200: 4.0}, "ap": {200: 0.25}}
    assert points(server, experiment or tracking.EXPERIMENT) == wanted
    assert track(HISTORY, text, JOB) == done, "a repeated step writes the same points"
    assert points(server, experiment or tracking.EXPERIMENT) == wanted


def test_the_experiment(server: TrackingServer) -> None:
    text = Tracking(experiment="detector").text()
    for _ in range(2):
        assert track(HISTORY, text, JOB) == "added to the experiment detector"
    experiment = server.contexts[f"{STORE}/contexts/detector"]
    assert experiment["schemaTitle"] == "system.Experiment"
    assert experiment["children"] == [CONTEXT]
    assert len(server.boards) == 1, "no curves without --tensorboard"


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ({"status": 403}, "permission aiplatform.tensorboardExperiments.create is missing"),
        ({"status": 404}, "not found"),
        ({"status": 503}, "after 6 attempts"),
    ],
)
def test_a_service_that_refuses_fails_no_run(fault: dict[str, int], says: str, server: TrackingServer) -> None:
    server.next_fault("POST", "tensorboards", Fault(status=fault["status"]), times=6)
    done = track(HISTORY, Tracking(tensorboard=TENSORBOARD).text(), JOB)
    assert done.startswith("not tracked: could not create TensorBoard's experiment")
    assert says in done


def test_a_run_outside_vertex(server: TrackingServer) -> None:
    assert "not a pipeline job of Vertex AI" in track(HISTORY, Tracking(experiment="x").text(), "runs/1")


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"tensorboard": "77"}, "--tensorboard 77: give its full name"),
        ({"experiment": "My Experiment"}, "--experiment My Experiment: give a name"),
    ],
)
def test_wrong_names(wrong: dict[str, str], says: str) -> None:
    with pytest.raises(InputError, match=says):
        Tracking(**wrong)
    assert Tracking().text() == ""
    assert json.loads(Tracking(experiment="a").text()) == {"tensorboard": "", "experiment": "a"}
