"""Checks that data exists: on this machine, and in buckets of a storage service on loopback."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from beam_preprocess.base.errors import InputError
from beam_preprocess.format.config import PreprocessConfig
from pipeline.local.demo_data import DemoData, generate
from pipeline.preflight.data import check_buckets, check_data
from tests.loopback.invocations import WHAT, WHERE, Run
from tests.loopback.server import LoopbackServer, Rejected, Request
from tests.loopback.vertex_server import VertexServer

CONFIG = PreprocessConfig()

pytestmark = pytest.mark.usefixtures("loopback_cloud")


@pytest.fixture
def local(tmp_path: Path) -> dict[str, str]:
    """The parameters of a small data set on this machine."""
    parameters = DemoData(train_images=2, val_images=2, height=(64, 64), width=(64, 64), side=(20.0, 40.0))
    folder = generate(tmp_path / "coco", parameters)
    return {
        f"{split}_{kind}": str(folder / name)
        for split in ("train", "val")
        for kind, name in (
            ("images", f"{split}2017"),
            ("annotations", f"annotations/instances_{split}2017.json"),
        )
    }


def test_data_on_this_machine(local: dict[str, str], tmp_path: Path) -> None:
    checked = check_data({**local, "config": "gate: {}"}, CONFIG)
    assert set(checked.parsed) == {"train", "val"}
    with pytest.raises(InputError, match=r"--val-images .*nowhere: no such folder"):
        check_data({**local, "val_images": str(tmp_path / "nowhere")}, CONFIG)
    with pytest.raises(InputError, match=r"--train-images: none of the 2 images"):
        check_data({**local, "train_images": str(tmp_path)}, CONFIG)


def test_a_pipeline_root_that_does_not_exist(vertex: VertexServer, run: Run) -> None:
    code, _, err = run("submit", *WHERE, *WHAT, "--pipeline-root", "gs://no-such-bucket/runs")
    assert code == 2
    assert "--pipeline-root gs://no-such-bucket/runs: no such bucket" in err
    assert vertex.requests == []
    new = "gs://my-bucket/a/folder/that/runs/make"
    assert run("submit", *WHERE, *WHAT, "--pipeline-root", new)[0] == 0


class ObjectsOnly(LoopbackServer):
    """A storage service whose caller may read objects, but not buckets. The bucket is empty."""

    def answer(self, request: Request) -> Any:
        if request.path.endswith("/o"):
            return {"kind": "storage#objects", "items": []}
        raise Rejected(403, "storage.buckets.get denied")


def test_an_empty_bucket_that_may_only_be_listed_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    server = ObjectsOnly()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
    fsspec.get_filesystem_class("gs").clear_instance_cache()
    assert check_buckets({}, "gs://empty/runs") == []
    fsspec.get_filesystem_class("gs").clear_instance_cache()
    server.stop()


class Denying(LoopbackServer):
    """A storage service that lets nobody read."""

    def answer(self, request: Request) -> Any:
        raise Rejected(403, "storage.objects.list denied")


@pytest.fixture
def denying(monkeypatch: pytest.MonkeyPatch) -> Iterator[Denying]:
    server = Denying()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
    file_system = fsspec.get_filesystem_class("gs")
    file_system.clear_instance_cache()
    yield server
    file_system.clear_instance_cache()
    server.stop()


def test_data_that_cannot_be_checked_is_noted_and_sent(denying: Denying, vertex: VertexServer, run: Run) -> None:
    """The user may lack permission to read the data, while the steps have it."""
    code, _, err = run("submit", *WHERE, *WHAT)
    assert code == 0
    assert "note: --train-images gs://my-data/train: could not be checked" in err
    assert "storage.objects.list denied" in err
    assert denying.requests
    assert len(vertex.jobs) == 1
