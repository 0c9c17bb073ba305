"""Fixtures of tests that use real clients against servers on loopback; a plugin of the root conftest.

Imports of clients and servers are in the functions: they take seconds, and most tests need none.
"""

import functools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.gcs_emulator import GcsEmulator
    from tests.loopback.kubeflow_server import KubeflowServer
    from tests.loopback.vertex_server import VertexServer


@pytest.fixture(scope="session")
def compiled_pipelines() -> dict[str, Any]:
    """Compiled pipelines by target."""
    return {}


@pytest.fixture(scope="module")
def one_compilation_per_target(compiled_pipelines: dict[str, Any]) -> Iterator[None]:
    """Keeps what `make_pipeline` returned, which is read only, and lets kfp's client read YAML with libyaml.

    Each compilation has its own thread: kfp walks the whole stack at each setting of a task, and pytest's is deep.
    """
    import yaml

    from pipeline.graph import pipelines

    make = pipelines.make_pipeline

    def kept(target: Any, pipeline: str = "training") -> Any:
        key = f"{pipeline} {target!r}"
        if key not in compiled_pipelines:
            with ThreadPoolExecutor(1) as thread:
                compiled_pipelines[key] = thread.submit(make, target, pipeline).result()
        return compiled_pipelines[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipelines, "make_pipeline", kept)
        patch.setattr(yaml, "SafeLoader", getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        yield


@pytest.fixture
def no_long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries wait milliseconds instead of seconds."""
    from trainer.shared import google_cloud

    monkeypatch.setattr(google_cloud, "FIRST_WAIT_SECONDS", 0.001)


@pytest.fixture(scope="session")
def storage(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[GcsEmulator]":
    """A storage emulator with the data that `tests.loopback.invocations.DATA` names."""
    from tests.gcs_emulator import gcs_emulator

    with gcs_emulator(tmp_path_factory.mktemp("gcs")) as emulator:
        with emulator.in_this_process() as bucket:
            for name in ("my-data", "my-bucket"):
                bucket.mkdir(name)
            for split in ("train", "val"):
                bucket.pipe_file(f"my-data/{split}.json", b"{}")
                bucket.pipe_file(f"my-data/{split}/1.jpg", b"")
            bucket.pipe_file("my-data/weights/extremenet/ckpt-1.index", b"")
        yield emulator


@pytest.fixture(scope="module")
def gcs(storage: "GcsEmulator") -> "Iterator[GcsEmulator]":
    """Sends gs:// of fsspec and of Google's clients to the emulator.

    They use the credentials of an account that only the emulator knows.
    """
    with storage.in_this_process():
        yield storage


@pytest.fixture
def loopback_cloud(no_long_waits: None, one_compilation_per_target: None, gcs: "GcsEmulator") -> None:
    """What tests of submissions need besides a server. A module takes it with `usefixtures`."""


@pytest.fixture
def example_profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder whose profiles.yaml is the documented example."""
    example = Path(__file__).parents[2] / "docs" / "profiles.example.yaml"
    (tmp_path / "profiles.yaml").write_text(example.read_text())
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def compact_requests() -> Iterator[None]:
    """Google's clients indent their JSON, for which Python has no fast encoder: a tenth of the time of these tests."""
    from google.protobuf import json_format

    with pytest.MonkeyPatch.context() as patch:
        compact = functools.partial(json_format.MessageToJson, indent=None)
        patch.setattr(json_format, "MessageToJson", compact)
        yield


@pytest.fixture
def vertex(compact_requests: None, monkeypatch: pytest.MonkeyPatch) -> "Iterator[VertexServer]":
    """Vertex AI of project my-project in us-central1. A request that the service would refuse fails the test."""
    from tests.loopback.vertex_server import VertexServer
    from trainer.shared import google_cloud

    server = VertexServer()
    monkeypatch.setenv(google_cloud.ENDPOINT_VARIABLE, server.url)
    monkeypatch.setenv("CLOUDSDK_API_ENDPOINT_OVERRIDES_LOGGING", server.url)
    yield server
    server.stop()
    assert server.violations == []


@pytest.fixture
def kubeflow() -> "Iterator[KubeflowServer]":
    """A Kubeflow Pipelines API. A request that the service would refuse fails the test."""
    from tests.loopback.kubeflow_server import KubeflowServer

    server = KubeflowServer()
    yield server
    server.stop()
    assert server.violations == []


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Calls `centernet`'s main: exit code, standard output, standard error."""
    from pipeline.commands.cli import main

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        code = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return call
