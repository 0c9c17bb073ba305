"""Loopback servers for the real clients."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.commands.cli import main
from pipeline.graph import compile as compile_module
from pipeline.graph import training_pipeline
from tests.gcs_emulator import GcsEmulator, gcs_emulator
from tests.loopback.invocations import Run
from tests.loopback.kubeflow_server import KubeflowServer
from tests.loopback.vertex_server import VertexServer
from trainer.shared import google_cloud


@pytest.fixture(scope="session")
def made() -> dict[str, Any]:
    """Compiled pipelines by target."""
    return {}


@pytest.fixture(scope="module", autouse=True)
def one_compilation_a_target(made: dict[str, Any]) -> Iterator[None]:
    """Keeps what `make_pipeline` returned, which is read only, and lets kfp's client read YAML by libyaml.

    Each compilation is in a thread of its own: kfp looks through the whole stack at each setting of a task, and
    pytest's is deep.
    """
    make = training_pipeline.make_pipeline

    def kept(target: Any) -> Any:
        if repr(target) not in made:
            with ThreadPoolExecutor(1) as thread:
                made[repr(target)] = thread.submit(make, target).result()
        return made[repr(target)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_pipeline, "make_pipeline", kept)
        patch.setattr(compile_module, "make_pipeline", kept)
        patch.setattr(yaml, "SafeLoader", getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        yield


@pytest.fixture(autouse=True)
def no_long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting of seconds between attempts."""
    monkeypatch.setattr(google_cloud, "FIRST_WAIT_SECONDS", 0.001)


@pytest.fixture(scope="session")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GcsEmulator]:
    """A storage emulator that holds the data of `DATA`."""
    with gcs_emulator(tmp_path_factory.mktemp("gcs")) as emulator:
        with emulator.in_this_process() as bucket:
            for name in ("my-data", "my-bucket"):
                bucket.mkdir(name)
            for split in ("train", "val"):
                bucket.pipe_file(f"my-data/{split}.json", b"{}")
                bucket.pipe_file(f"my-data/{split}/1.jpg", b"")
        yield emulator


@pytest.fixture(scope="module", autouse=True)
def gcs(storage: GcsEmulator) -> Iterator[GcsEmulator]:
    """gs:// of fsspec and of Google's clients goes to the emulator, with the credentials of an account that only it
    knows."""
    with storage.in_this_process():
        yield storage


@pytest.fixture
def vertex(monkeypatch: pytest.MonkeyPatch) -> Iterator[VertexServer]:
    """Vertex AI of project my-project in us-central1; a request that it would not take fails the test."""
    server = VertexServer()
    monkeypatch.setenv(google_cloud.ENDPOINT_VARIABLE, server.url)
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
