"""The plan that is printed before anything is sent."""

import re

import pytest

from tests.loopback.invocations import ACCOUNT, PLACE, WEIGHTS, WHAT, WHERE, Run, endpoint_flags
from tests.loopback.vertex_server import VertexServer

pytestmark = pytest.mark.usefixtures("loopback_cloud")


def test_the_plan(vertex: VertexServer, run: Run) -> None:
    code, out, _ = run("submit", *WHERE, *WHAT, "--seed", "3", "--dry-run")
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == "pipeline       centernet-training for vertex-gpu on my-project, us-central1"
    assert "pipeline root  gs://my-bucket/runs" in lines
    assert f"service account {ACCOUNT}" in lines
    assert "  seed                 3" in lines
    assert any(line.startswith("  config ") and "coco-centernet-hourglass-gpu.yaml with" in line for line in lines)
    assert not any(line.startswith("  run_id") for line in lines)
    assert lines[-1] == "dry run: nothing was sent, and the data was not checked"
    assert vertex.requests == []


def test_labels_and_weights(run: Run) -> None:
    _, out, err = run("submit", *WHERE, *WHAT, "--labels", "team=vision", "--dry-run")
    (labels,) = [line for line in out.splitlines() if line.startswith("labels ")]
    start = r"labels         pipeline=centernet-training, target=vertex-gpu, team=vision, content=[0-9a-f]{16}"
    assert re.fullmatch(start, labels)
    assert f"weights        from {WEIGHTS} (backbone)" in out.splitlines()
    assert "warning" not in err
    _, out, err = run("submit", *WHERE, *WHAT, "--set", "task.init_checkpoint=''", "--dry-run")
    assert "weights        from scratch" in out.splitlines()
    assert err.startswith("warning: gate.min_ap 0.400 will hardly be reached: 0.389 is what")
    assert "labels" not in run("submit", *endpoint_flags("http://127.0.0.1:1"), "--dry-run")[1]


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("gs://my-data/weights/nowhere", "gs://my-data/weights/nowhere: no such folder or checkpoint"),
        ("./extremenet", "./extremenet: on this machine, which the cloud can't read"),
    ],
)
def test_weights_that_the_cloud_cannot_read(uri: str, says: str, vertex: VertexServer, run: Run) -> None:
    code, _, err = run("submit", *WHERE, *WHAT, "--set", f"task.init_checkpoint={uri}")
    assert (code, vertex.requests) == (2, [])
    assert f"task.init_checkpoint{':' if uri == './extremenet' else ''} {says}" in err


def test_a_pipeline_root_must_be_given(run: Run) -> None:
    code, _, err = run("submit", *PLACE, *WHAT, "--dry-run")
    assert code == 2
    assert "--pipeline-root: not given" in err
    assert "such as --pipeline-root gs://my-bucket/runs" in err
