"""`centernet schedule …` against a Vertex AI on loopback: one schedule per name, whatever happens."""

import json

import pytest

from tests.loopback.invocations import ACCOUNT, PLACE, WHAT, WHERE, Run, spec_of
from tests.loopback.vertex_server import PARENT, VertexServer

pytestmark = pytest.mark.usefixtures("loopback_cloud")

CREATE = ["schedule", "create", "--name", "weekly", "--cron", "0 3 * * 1", "--time-zone", "Europe/Berlin"]
FULL = [*CREATE, *WHERE, *WHAT]
WATCH = ["--pipeline", "watch", "--images", "gs://my-data/val", "--since", "1d"]


def test_what_arrives(vertex: VertexServer, run: Run) -> None:
    code, out, err = run(*FULL)
    assert (code, err) == (0, "")
    (request,) = vertex.sent("POST")
    assert request.path == f"/v1/{PARENT}/schedules"
    body = request.body
    assert body["displayName"] == "weekly"
    assert body["cron"] == "TZ=Europe/Berlin 0 3 * * 1"
    assert body["maxConcurrentRunCount"] == "1"
    assert body["createPipelineJobRequest"]["parent"] == PARENT
    job = body["createPipelineJobRequest"]["pipelineJob"]
    assert job["pipelineSpec"] == spec_of("vertex-gpu")
    assert job["serviceAccount"] == ACCOUNT
    assert job["runtimeConfig"]["gcsOutputDirectory"] == "gs://my-bucket/runs"
    assert not job["runtimeConfig"]["parameterValues"].get("run_id"), "every run needs its own name"
    assert out.count("will run") == 3
    assert "created: weekly" in out


def test_the_same_again_changes_nothing(vertex: VertexServer, run: Run) -> None:
    run(*FULL)
    code, out, _ = run(*FULL)
    assert code == 0
    assert "unchanged" in out
    assert [r.method for r in vertex.requests if r.method != "GET"] == ["POST"]


def test_another_time_is_an_update(vertex: VertexServer, run: Run) -> None:
    run(*FULL)
    code, out, _ = run(*FULL, "--cron", "30 4 * * 0", "--max-concurrent-runs", "2")
    assert code == 0
    assert "updated" in out
    (patch,) = vertex.sent("PATCH")
    assert set(patch.query["updateMask"].split(",")) == {"cron", "maxConcurrentRunCount"}
    (schedule,) = vertex.schedules.values()
    assert schedule["cron"] == "TZ=Europe/Berlin 30 4 * * 0"
    assert schedule["maxConcurrentRunCount"] == "2"


@pytest.mark.parametrize("paused", [False, True])
def test_a_changed_pipeline_is_a_new_schedule(paused: bool, vertex: VertexServer, run: Run) -> None:
    run(*FULL)
    if paused:
        run("schedule", "pause", "weekly", *PLACE)
    (old,) = vertex.schedules
    code, out, _ = run(*FULL, "--seed", "5")
    assert code == 0
    assert "replaced" in out
    (name,) = vertex.schedules
    assert name != old
    assert vertex.schedules[name]["state"] == ("PAUSED" if paused else "ACTIVE")
    changes = [(r.method, r.path.rpartition("/")[2]) for r in vertex.requests if r.method != "GET"]
    old_id = old.rpartition("/")[2]
    assert changes.index(("POST", f"{old_id}:pause")) < changes.index(("POST", "schedules"), 1)
    assert changes[-1] == ("DELETE", old_id)


def test_operating(vertex: VertexServer, run: Run) -> None:
    run(*FULL)
    (name,) = vertex.schedules
    assert "weekly  ACTIVE  TZ=Europe/Berlin 0 3 * * 1" in run("schedule", "list", *PLACE)[1]
    shown = json.loads(run("schedule", "show", "weekly", *PLACE)[1])
    assert shown["details"]["create_pipeline_job_request"]["pipeline_job"]["pipeline"] == "centernet-training"
    assert run("schedule", "pause", "weekly", *PLACE)[0] == 0
    assert vertex.schedules[name]["state"] == "PAUSED"
    assert "would resume" in run("schedule", "resume", "weekly", *PLACE, "--dry-run")[1]
    assert vertex.schedules[name]["state"] == "PAUSED"
    assert run("schedule", "resume", "weekly", *PLACE)[0] == 0
    assert vertex.schedules[name]["state"] == "ACTIVE"
    assert run("schedule", "update", "weekly", "--cron", "0 5 * * *", *PLACE)[0] == 0
    assert vertex.schedules[name]["cron"] == "TZ=Europe/Berlin 0 5 * * *", "another hour, not another time zone"
    assert run("schedule", "update", "weekly", "--time-zone", "Asia/Tokyo", *PLACE)[0] == 0
    assert vertex.schedules[name]["cron"] == "TZ=Asia/Tokyo 0 5 * * *"
    assert run("schedule", "delete", "weekly", *PLACE)[0] == 0
    assert vertex.schedules == {}
    assert "no schedules" in run("schedule", "list", *PLACE)[1]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([*FULL, "--cron", "0 3 * *"], ["4 fields", "needs 5"]),
        ([*FULL, "--cron", "0 25 * * *"], ["hour '25'", "0 to 23"]),
        ([*FULL, "--time-zone", "Mars/Base"], ["--time-zone Mars/Base", "Europe/Berlin"]),
        ([*FULL, "--param", "run_id=x"], ["run_id", "leave it out"]),
        ([*FULL, "--param", "work_dir=gs://my-bucket/one"], ["work_dir", "leave it out"]),
        (["schedule", "pause", "daily", *PLACE], ["daily", "no such schedule", "there are: none"]),
        (["schedule", "update", "daily", *PLACE], ["nothing to change"]),
        ([*FULL, "--pipeline", "watch"], ["--images: not given", "--pipeline watch"]),
        ([*FULL, "--images", "gs://my-data/val"], ["--images gs://my-data/val", "--pipeline watch"]),
        ([*FULL, "--since", "1d"], ["--since 1d", "--pipeline watch"]),
        ([*FULL, *WATCH, "--images", "photos"], ["--images photos", "path on this machine"]),
        ([*FULL, *WATCH, "--images", "gs://my-data/none"], ["--images gs://my-data/none", "no such folder"]),
        ([*FULL, *WATCH, "--only-if-changed"], ["--only-if-changed", "always compares"]),
        ([*FULL, *WATCH, "--set", "watch.on_drift=train"], ["watch.on_drift", "report"]),
    ],
)
def test_bad_input(arguments: list[str], says: list[str], vertex: VertexServer, run: Run) -> None:
    code, _, err = run(*arguments)
    assert code == 2
    assert err.count("\n") == 1
    for part in says:
        assert part in err
    assert not [request for request in vertex.requests if request.method != "GET"]


def test_a_watch(vertex: VertexServer, run: Run) -> None:
    code, out, err = run(*FULL, *WATCH)
    assert (code, err) == (0, "")
    assert "pipeline       centernet-watch for vertex-gpu" in out
    (request,) = vertex.sent("POST")
    assert request.body["maxConcurrentRunCount"] == "1"
    assert not request.body.get("allowQueueing"), "a run that can't start is skipped"
    job = request.body["createPipelineJobRequest"]["pipelineJob"]
    assert job["pipelineSpec"]["pipelineInfo"]["name"] == "centernet-watch"
    values = job["runtimeConfig"]["parameterValues"]
    assert (values["images"], values["since"]) == ("gs://my-data/val", "1d")
    assert "unchanged" in run(*FULL, *WATCH)[1]
    for verb in (["schedule", "update", "weekly", *PLACE], [*FULL, *WATCH]):
        code, _, err = run(*verb, "--max-concurrent-runs", "2")
        assert (code, err.count("\n")) == (2, 1)
        assert "two watches at once could train twice on the same data" in err


def test_dry_run_contacts_nothing(vertex: VertexServer, run: Run) -> None:
    code, out, _ = run(*FULL, "--dry-run")
    assert code == 0
    assert "dry run" in out
    assert vertex.requests == []
