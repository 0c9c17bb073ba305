"""The same bytes from workers in an environment of their own: what a container is to Dataflow.

A second virtual environment gets the versions of the lock that `beam_preprocess` needs, and a copy of the package. It
runs Beam's worker pool; Beam's job service and the command run here.
"""

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from beam_preprocess.__main__ import main

ROOT = Path(__file__).parents[3]
NEEDED = [
    "apache-beam[gcp]",
    "fsspec",
    "gcsfs",
    "google-crc32c",
    "ijson",
    "msgspec",
    "numpy",
    "opencv-python-headless",
    "pillow",
    "pyyaml",
    "simplejpeg",
]
_POOL = """
import time
from apache_beam.runners.worker.worker_pool_main import BeamFnExternalWorkerPoolServicer
address, server = BeamFnExternalWorkerPoolServicer.start(use_process=True, port=0)
print(address, flush=True)
time.sleep(600)
"""
_NOTE = """
import os, sys
with open(os.environ["STARTED"], "a") as file:
    file.write(f"{sys.prefix} {' '.join(sys.orig_argv)}\\n")
"""
"""Each Python of the second environment says where it runs."""


def uv() -> str:
    found = shutil.which("uv") or str(ROOT / ".uv" / "bin" / "uv")
    if not Path(found).exists():
        pytest.skip("no uv to make the second environment with: run `make setup`")
    return found


@pytest.fixture(scope="module")
def other_environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("worker") / "venv"
    subprocess.run([uv(), "venv", "--quiet", "--python", sys.executable, str(folder)], check=True)
    install = [uv(), "pip", "install", "--quiet", "--python", str(folder / "bin" / "python")]
    install += ["--constraint", str(ROOT / "requirements.lock"), *NEEDED]
    if subprocess.run([*install, "--offline"], capture_output=True, check=False).returncode:
        done = subprocess.run(install, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"the second environment can't be installed: {done.stderr.strip().splitlines()[-1]}")
    (packages,) = (folder / "lib").glob("python3*/site-packages")
    shutil.copytree(ROOT / "beam_preprocess", packages / "beam_preprocess")
    (packages / "sitecustomize.py").write_text(_NOTE)
    return folder


@contextlib.contextmanager
def process(command: list[str], **options: Any) -> Iterator[subprocess.Popen[str]]:
    running = subprocess.Popen(command, text=True, **options)
    try:
        yield running
    finally:
        running.terminate()
        running.wait(20)


@pytest.fixture
def endpoints(other_environment: Path, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """Addresses of the job service and of the worker pool."""
    executables = other_environment / "bin"
    environment = {
        "PATH": f"{executables}{os.pathsep}{os.environ['PATH']}",  # the pool starts its workers as "python"
        "HOME": str(tmp_path),
        "STARTED": str(tmp_path / "started.txt"),
    }
    port = tmp_path / "port"
    module = "apache_beam.runners.portability.local_job_service_main"
    service = [sys.executable, "-m", module, "--port_file", str(port), "--staging_dir", str(tmp_path)]
    quiet = subprocess.DEVNULL
    with (
        process(service, stdout=quiet, stderr=quiet) as job_service,
        process(
            [str(executables / "python"), "-c", _POOL],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=quiet,
        ) as pool,
    ):
        assert pool.stdout
        address = pool.stdout.readline().strip()
        deadline = time.monotonic() + 60
        while not (port.exists() and port.read_text()) and job_service.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        yield f"localhost:{port.read_text()}", address


def contents(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.mark.slow
def test_workers_of_another_environment_write_the_same_bytes(
    data_set: Any, tmp_path: Path, endpoints: tuple[str, str], other_environment: Path
) -> None:
    (data_set.images / "photo_002.jpg").unlink()
    data = ["--images", str(data_set.images), "--annotations", str(data_set.annotations), "--split", "train"]
    data += ["--image-size", "64", "--views", "3", "--max-reject-fraction", "0.5"]
    assert main([*data, "--output", str(tmp_path / "here")]) == 0
    job_service, pool = endpoints
    flags = ["--runner=PortableRunner", f"--job_endpoint={job_service}", "--sdk_location=container"]
    flags += ["--environment_type=EXTERNAL", f"--environment_config={pool}"]
    assert main([*data, "--output", str(tmp_path / "there"), *flags]) == 0
    assert contents(tmp_path / "there") == contents(tmp_path / "here")
    started = (tmp_path / "started.txt").read_text().splitlines()
    workers = [line for line in started if "SdkHarness(" in line]
    assert workers
    assert all(line.startswith(f"{other_environment} ") for line in workers)

    # An environment of before a change, such as an image that wasn't built again.
    (module,) = other_environment.glob("lib/python3*/site-packages/beam_preprocess/job/views.py")
    with module.open("a") as file:
        file.write("# older\n")
    with pytest.raises(RuntimeError, match="this worker's code of beam_preprocess"):
        main([*data, "--output", str(tmp_path / "refused"), *flags])
    assert list((tmp_path / "refused").iterdir()) == []
