"""The flags that every submission needs, what they compile to, and what a service tells of a run's tasks."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pipeline.graph.targets import find_target
from pipeline.service.submission import compiled

PLACE = ["--project", "my-project", "--region", "us-central1"]
ACCOUNT = "trainer@my-project.iam.gserviceaccount.com"
WHERE = [*PLACE, "--pipeline-root", "gs://my-bucket/runs", "--service-account", ACCOUNT]
DATA = [
    *("--train-images", "gs://my-data/train", "--train-annotations", "gs://my-data/train.json"),
    *("--val-images", "gs://my-data/val", "--val-annotations", "gs://my-data/val.json"),
]
IMAGES = "us-central1-docker.pkg.dev/my-project/centernet"
"""Where images are looked for when --image isn't given."""
# The full check of a config imports TensorFlow; one test has it on.
CONFIG = ["--config", "coco-centernet-hourglass-gpu", "--no-config-check"]
WHAT = ["--target", "vertex-gpu", *CONFIG, *DATA]

ENDPOINT_WHAT = [
    *WHAT,
    *("--image", f"{IMAGES}/python-gpu:0.1.0", "--registry", "vertex://my-project/us-central1/centernet"),
    *("--pipeline-root", "gs://my-bucket/runs"),
]
"""An endpoint has no default image, and no default registry."""

Run = Callable[..., tuple[int, str, str]]


def spec_of(target: str, **changes: Any) -> dict[str, Any]:
    """The compiled pipeline of a target with changes; its image is where submissions look for it."""
    row = find_target(target)
    image = f"{IMAGES}/{row.image.rpartition('/')[2]}"
    return compiled(replace(row, **{"image": image, **changes}))


def task(name: str, state: str, **more: Any) -> dict[str, Any]:
    """One task of a job as the service tells it."""
    times = {"startTime": "2026-11-24T03:00:00Z", "endTime": "2026-11-24T03:10:00Z"}
    return {"taskId": str(sum(name.encode())), "taskName": name, "state": state, **times, **more}


def output(text: str) -> dict[str, Any]:
    """What a task carries that returned this text."""
    return {"execution": {"metadata": {"output:Output": text}}}
