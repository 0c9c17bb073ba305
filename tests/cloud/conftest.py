"""Loopback servers for the real clients, and the flags that every submission needs."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from vertex_server import VertexServer

from pipeline.cli import main
from trainer import vertex_client

PLACE = ["--project", "my-project", "--region", "us-central1"]
ACCOUNT = "trainer@my-project.iam.gserviceaccount.com"
WHERE = [*PLACE, "--pipeline-root", "gs://my-bucket/runs", "--service-account", ACCOUNT]
DATA = [
    *("--train-images", "gs://my-data/train", "--train-annotations", "gs://my-data/train.json"),
    *("--val-images", "gs://my-data/val", "--val-annotations", "gs://my-data/val.json"),
]
# The full check of a config imports TensorFlow; one test has it on.
WHAT = ["--target", "vertex-gpu", "--no-config-check", *DATA]

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def nothing_outside_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """No credentials of this machine, and no waiting of seconds between attempts."""
    monkeypatch.setattr(vertex_client, "FIRST_WAIT_SECONDS", 0.01)
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session", autouse=True)
def gcs() -> Iterator[str]:
    """A storage emulator that holds the data of `DATA`: gs:// of fsspec and of Google's clients go there."""
    from gcp_storage_emulator.server import create_server

    server = create_server("127.0.0.1", 0, in_memory=True)
    server.start()
    # gcsfs closes idle connections, which the emulator would tell on standard error in the middle of our output.
    server._api._httpd.handle_error = lambda *_: None
    address = f"http://127.0.0.1:{server._api._httpd.server_port}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORAGE_EMULATOR_HOST", address)
        # Otherwise gcsfs asks a gRPC service for the kind of every bucket, which no emulator has: 60 s a bucket.
        patch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
        # Nor may anything look for a metadata server, which is outside loopback.
        patch.setenv("NO_GCE_CHECK", "true")
        import fsspec

        bucket = fsspec.filesystem("gs", skip_instance_cache=True)
        for name in ("my-data", "my-bucket"):
            bucket.mkdir(name)
        for split in ("train", "val"):
            bucket.pipe_file(f"my-data/{split}.json", b"{}")
            bucket.pipe_file(f"my-data/{split}/1.jpg", b"")
        yield address
        fsspec.filesystem("gs").clear_instance_cache()
    server.stop()


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
