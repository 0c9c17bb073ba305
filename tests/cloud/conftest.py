"""Loopback servers for the real clients, and the flags that every submission needs."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from kfp_server import KubeflowServer
from vertex_server import VertexServer

from pipeline import training_pipeline
from pipeline.cli import main
from pipeline.submission import compiled
from pipeline.targets import find_target
from tests.gcs_emulator import GcsEmulator, gcs_emulator
from trainer import vertex_client

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
]
"""An endpoint has no default image, and no default registry."""

Run = Callable[..., tuple[int, str, str]]


def spec_of(target: str, **changes: Any) -> dict[str, Any]:
    """The compiled pipeline of a target with changes; its image is where submissions look for it."""
    row = find_target(target)
    image = f"{IMAGES}/{row.image.rpartition('/')[2]}"
    return compiled(replace(row, **{"image": image, **changes}))


@pytest.fixture(scope="package", autouse=True)
def one_compilation_a_target() -> Iterator[None]:
    """Keeps what `make_pipeline` returned, which is read only, and lets kfp's client read YAML by libyaml.

    Each compilation is in a thread of its own: kfp looks through the whole stack at each setting of a task, and
    pytest's is deep.
    """
    made: dict[str, Any] = {}
    make = training_pipeline.make_pipeline

    def kept(target: Any) -> Any:
        if repr(target) not in made:
            with ThreadPoolExecutor(1) as thread:
                made[repr(target)] = thread.submit(make, target).result()
        return made[repr(target)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_pipeline, "make_pipeline", kept)
        patch.setattr(yaml, "SafeLoader", getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        yield


@pytest.fixture(autouse=True)
def no_long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting of seconds between attempts."""
    monkeypatch.setattr(vertex_client, "FIRST_WAIT_SECONDS", 0.001)


@pytest.fixture(scope="package", autouse=True)
def gcs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GcsEmulator]:
    """A storage emulator that holds the data of `DATA`; gs:// of fsspec and of Google's clients goes there, with the
    credentials of an account that only it knows."""
    with gcs_emulator(tmp_path_factory.mktemp("gcs")) as emulator, emulator.in_this_process() as bucket:
        for name in ("my-data", "my-bucket"):
            bucket.mkdir(name)
        for split in ("train", "val"):
            bucket.pipe_file(f"my-data/{split}.json", b"{}")
            bucket.pipe_file(f"my-data/{split}/1.jpg", b"")
        yield emulator


@pytest.fixture
def vertex(monkeypatch: pytest.MonkeyPatch) -> Iterator[VertexServer]:
    """Vertex AI of project my-project in us-central1; a request that it would not take fails the test."""
    server = VertexServer()
    monkeypatch.setenv(vertex_client.ENDPOINT_VARIABLE, server.url)
    monkeypatch.setenv("CLOUDSDK_API_ENDPOINT_OVERRIDES_LOGGING", server.url)
    yield server
    server.stop()
    assert server.violations == []


@pytest.fixture
def kubeflow() -> Iterator[KubeflowServer]:
    """A Kubeflow Pipelines API; a request that it would not take fails the test."""
    server = KubeflowServer()
    yield server
    server.stop()
    assert server.violations == []


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Calls `python -m pipeline`'s main: exit code, standard output, standard error."""

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        code = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return call


def task(name: str, state: str, **more: Any) -> dict[str, Any]:
    """One task of a job as the service tells it."""
    times = {"startTime": "2026-11-24T03:00:00Z", "endTime": "2026-11-24T03:10:00Z"}
    return {"taskId": str(sum(name.encode())), "taskName": name, "state": state, **times, **more}


def output(text: str) -> dict[str, Any]:
    """What a task carries that returned this text."""
    return {"execution": {"metadata": {"output:Output": text}}}
