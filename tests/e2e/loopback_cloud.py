"""A project on loopback for whole runs: a bucket that TensorFlow reads too, Vertex AI, and a machine to type on."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.tiny_run import REPOSITORY, make_data
from tests.gcs_emulator import GcsEmulator, gcs_emulator
from tests.loopback.tls_proxy import TlsProxy, tensorflow_bucket
from tests.loopback.vertex_server import VertexServer
from trainer.shared.google_cloud import ENDPOINT_VARIABLE

EXIT_CODES = {"promoted": 0, "held": 3}
"""Of `submit --wait`, by the outcome of a run."""
RUNS = "my-bucket"
DATA = "gs://my-data"


@dataclass(frozen=True)
class Cloud:
    """The project; the tiny data are in `DATA`, its configuration is tiny.yaml in `folder`."""

    bucket: GcsEmulator
    proxy: TlsProxy
    vertex: VertexServer
    environment: dict[str, str]
    """What leads a process there."""
    folder: Path

    def centernet(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, **self.environment, "PYTHONPATH": str(REPOSITORY)}
        command = [sys.executable, "-m", "pipeline", *arguments]
        return subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)

    def below(self, root: str) -> dict[str, bytes]:
        """The objects of a run, by their names below its root."""
        names = [name for name in self.bucket.storage.objects[RUNS] if name.startswith(root)]
        return {name.removeprefix(root): self.bucket.storage.get_file(RUNS, name) for name in names}

    def summary(self, root: str) -> dict[str, Any]:
        """The report's summary of the one run below a root."""
        (found,) = [content for name, content in self.below(root).items() if name.endswith("/summary.json")]
        return dict(json.loads(found))

    def champion(self) -> tuple[str, int]:
        """The champion's version, and how many versions there are."""
        (versions,) = self.vertex.models.values()
        (found,) = [version["versionId"] for version in versions if "champion" in version["versionAliases"]]
        return found, len(versions)

    def assert_tensorflow_used_the_bucket(self, root: str) -> None:
        """Its own reader took the records of a run, and its own writer left the checkpoints."""
        objects = self.below(root)
        for end in ("/train.json", "/saved_model.pb", "/evaluation.json", "/report.html"):
            assert any(name.endswith(end) for name in objects), end
        shard = next(name for name in objects if name.endswith(".tfrecord"))
        read = f"GET storage.googleapis.com/{RUNS}/{(root + shard).replace('/', '%2F')}"
        assert read in self.proxy.requests
        folder = root.replace("/", "%2F")
        assert any(f"name={folder}" in line and "ckpt-150" in line for line in self.proxy.requests)
        assert self.proxy.refused_to_tensorflow == []


@contextlib.contextmanager
def loopback_cloud(folder: Path) -> Iterator[Cloud]:
    """Runs the project while the body does.

    Args:
      folder: to type in.
    """
    make_data(folder)
    coco = folder / "coco"
    server = VertexServer()
    with gcs_emulator(folder) as plain, tensorflow_bucket(plain, folder) as (bucket, proxy):
        with bucket.in_this_process() as files:
            for name in (RUNS, DATA.removeprefix("gs://")):
                files.mkdir(name)
        bucket.put("my-data", {str(p.relative_to(coco)): p.read_bytes() for p in coco.rglob("*") if p.is_file()})
        yield Cloud(bucket, proxy, server, {**bucket.environment, ENDPOINT_VARIABLE: server.url}, folder)
    server.stop()
    assert server.violations == []
