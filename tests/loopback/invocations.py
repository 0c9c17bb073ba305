"""Flags of submissions, what they compile to, and what a service returns about a run's tasks."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pipeline.graph.targets import find_target
from pipeline.service.submission import compiled
from trainer.shared.versions import VERSION

if TYPE_CHECKING:
    from tests.loopback.vertex_server import VertexServer

PLACE = ["--project", "my-project", "--region", "us-central1"]
ACCOUNT = "trainer@my-project.iam.gserviceaccount.com"
WHERE = [*PLACE, "--pipeline-root", "gs://my-bucket/runs", "--service-account", ACCOUNT]
DATA = [
    *("--train-images", "gs://my-data/train", "--train-annotations", "gs://my-data/train.json"),
    *("--val-images", "gs://my-data/val", "--val-annotations", "gs://my-data/val.json"),
]
IMAGES = "us-central1-docker.pkg.dev/my-project/centernet"
"""Default repository of the images."""
# The full check of a configuration imports TensorFlow; one test has it on.
WEIGHTS = "gs://my-data/weights/extremenet"
CONFIG = [
    *("--config", "coco-centernet-hourglass-gpu", "--no-config-check"),
    *("--set", f"task.init_checkpoint={WEIGHTS}"),
]
WHAT = ["--target", "vertex-gpu", *CONFIG, *DATA]

ENDPOINT_WHAT = [
    *("--target", "kubeflow-gpu", *CONFIG, *DATA),
    *("--image", f"{IMAGES}/python-gpu:{VERSION}", "--registry", "vertex://my-project/us-central1/centernet"),
    *("--pipeline-root", "gs://my-bucket/runs"),
]
"""An endpoint has no default image and no default registry."""


def endpoint_flags(url: str) -> list[str]:
    """All flags of a submission to an endpoint."""
    return ["--endpoint", url, *ENDPOINT_WHAT]


Run = Callable[..., tuple[int, str, str]]


def spec_of(target: str, **changes: Any) -> dict[str, Any]:
    """The compiled pipeline of a target with changes; its image is in the default repository."""
    row = find_target(target)
    image = f"{IMAGES}/{row.image.rpartition('/')[2]}"
    return compiled(replace(row, **{"image": image, **changes}))


def task(name: str, state: str, **more: Any) -> dict[str, Any]:
    """One task of a job as the service returns it."""
    times = {"startTime": "2026-11-24T03:00:00Z", "endTime": "2026-11-24T03:10:00Z"}
    return {"taskId": str(sum(name.encode())), "taskName": name, "state": state, **times, **more}


def output(text: str) -> dict[str, Any]:
    """The part of a task that returned this text."""
    return {"execution": {"metadata": {"output:Output": text}}}


def submitted(vertex: "VertexServer", run: Run, *more: str) -> str:
    """Submits a run; returns its id."""
    assert run("submit", *WHERE, *WHAT, *more)[0] == 0
    return list(vertex.jobs)[-1].rpartition("/")[2]


JOB = "projects/123/locations/us-central1/customJobs/77"
FAILED: dict[str, Any] = {
    "state": "PIPELINE_STATE_FAILED",
    "error": {"code": 9, "message": "The DAG failed because some tasks failed."},
    "jobDetail": {
        "taskDetails": [
            task("data-check", "SUCCEEDED"),
            task(
                "train",
                "FAILED",
                startTime="2026-11-24T03:05:00Z",
                error={"code": 9, "message": "out of memory"},
                executorDetail={"containerDetail": {"mainJob": JOB}},
            ),
        ]
    },
}
"""A job whose training failed."""
