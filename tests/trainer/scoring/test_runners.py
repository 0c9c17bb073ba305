"""The same bytes from processes of their own: Beam's workers, a portable runner's, a killed run, and Dataflow's job."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from apache_beam.runners.dataflow import dataflow_runner

from pipeline.commands.watch import main as watch
from tests.beam_preprocess.dataflow_service import JOB_ID, DataflowService
from tests.gcs_emulator import gcs_emulator
from tests.trainer.scoring.made_images import contents, write_images
from trainer.profile.columns import measures_of
from trainer.profile.profile import Profile
from trainer.registry.digest import model_digest
from trainer.saved_model.inference import read_label_map
from trainer.score import main
from trainer.scoring.output import WORK
from trainer.scoring.results import read_rows
from trainer.scoring.run import score
from trainer.watch.result import read_watch
from trainer.watch.run import WRITTEN

pytestmark = pytest.mark.xdist_group("exported")  # one training and export for all of them

ROOT = Path(__file__).parents[3]
_POOL = """
import time
from apache_beam.runners.worker.worker_pool_main import BeamFnExternalWorkerPoolServicer
address, server = BeamFnExternalWorkerPoolServicer.start(use_process=True, port=0)
print(address, flush=True)
time.sleep(600)
"""
IMAGE = "us-docker.pkg.dev/my-project/images/centernet:1"
JOB = [
    "--on=dataflow",
    "--project=my-project",
    "--region=us-central1",
    "--job_name=centernet-score",
    "--temp_location=gs://my-results/temp",
    f"--sdk_container_image={IMAGE}",
    "--machine_type=n2-standard-8",
    "--max_num_workers=100",
    "--service_account_email=worker@my-project.iam.gserviceaccount.com",
    "--subnetwork=regions/us-central1/subnetworks/private",
    "--no_use_public_ips",
    "--flexrs_goal=COST_OPTIMIZED",
]


def command(exported: Path, images: Path, output: Path, *more: str) -> list[str]:
    words = ["--model", str(exported), "--images", str(images), "--output", str(output), "--threshold", "0", *more]
    return [sys.executable, "-m", "trainer.score", *words]


def finish(words: list[str]) -> str:
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Traceback" not in done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("images"), 75)


@pytest.fixture(scope="module")
def whole(exported: Path, images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """By the command's defaults."""
    folder = tmp_path_factory.mktemp("whole") / "out"
    finish(command(exported, images, folder))
    return folder


@pytest.fixture
def portable(tmp_path: Path) -> Iterator[list[str]]:
    """Flags of a portable runner: Beam's job service in one process, its pool of workers in another."""
    port = tmp_path / "port"
    module = "apache_beam.runners.portability.local_job_service_main"
    service = [sys.executable, "-m", module, "--port_file", str(port), "--staging_dir", str(tmp_path)]
    quiet = subprocess.DEVNULL
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # the pool starts its workers as "python"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}
    with (
        subprocess.Popen(service, stdout=quiet, stderr=quiet, env=environment) as job_service,
        subprocess.Popen(
            [sys.executable, "-c", _POOL], stdout=subprocess.PIPE, stderr=quiet, text=True, env=environment
        ) as pool,
    ):
        try:
            assert pool.stdout
            address = pool.stdout.readline().strip()
            deadline = time.monotonic() + 120
            while not (port.exists() and port.read_text()) and time.monotonic() < deadline:
                time.sleep(0.05)
            yield [
                "--runner=PortableRunner",
                f"--job_endpoint=localhost:{port.read_text()}",
                "--sdk_location=container",
                "--environment_type=EXTERNAL",
                f"--environment_config={address}",
            ]
        finally:
            job_service.terminate()
            pool.terminate()


@pytest.mark.slow
def test_processes_give_the_same_bytes(exported: Path, images: Path, whole: Path, tmp_path: Path) -> None:
    finish(command(exported, images, tmp_path / "out", "--num-workers", "2"))
    assert contents(tmp_path / "out") == contents(whole)


@pytest.mark.slow
def test_a_portable_runner_gives_the_same_bytes(
    exported: Path, images: Path, whole: Path, tmp_path: Path, portable: list[str]
) -> None:
    finish(command(exported, images, tmp_path / "out", *portable))
    assert contents(tmp_path / "out") == contents(whole)


@pytest.mark.slow
def test_a_killed_command_is_resumed(exported: Path, images: Path, whole: Path, tmp_path: Path) -> None:
    """At the moment when the first shard is finished."""
    out = tmp_path / "out"
    words = command(exported, images, out)
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not list(out.glob(f"{WORK}/result-*")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    if not (out / "manifest.json").exists():  # else it was faster than this test
        assert "resumed: " in finish(words)
    assert contents(out) == contents(whole)


@pytest.fixture
def bucket(exported: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """gs:// with the model and the images; the client waits for no seconds."""
    quick = SimpleNamespace(time=time.time, sleep=lambda seconds: time.sleep(seconds / 100))
    monkeypatch.setattr(dataflow_runner, "time", quick)
    with gcs_emulator(tmp_path) as gcs, gcs.in_this_process() as fs:
        for name in ("my-data", "my-results"):
            fs.mkdir(name)
        for folder, source in (("images", images), ("model", exported)):
            gcs.put("my-data", {f"{folder}/{name}": data for name, data in contents(source).items()})
        yield fs


@pytest.mark.slow
def test_dataflows_job_gives_the_bytes_of_a_local_run(
    bucket: Any, exported: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The staged pipeline is executed in this process: a local run in this process is what it is compared with."""
    dataflow = DataflowService(bucket, ["JOB_STATE_RUNNING", "JOB_STATE_DONE"], namespace="scoring")
    data = ["--images", "gs://my-data/images", "--model", "gs://my-data/model", "--output", "gs://my-results/out"]
    try:
        assert main([*data, "--threshold", "0", *JOB, f"--dataflow_endpoint={dataflow.url}"]) == 0
    finally:
        dataflow.stop()
    assert dataflow.unknown == []
    said = capsys.readouterr().out
    assert f"job: https://console.cloud.google.com/dataflow/jobs/us-central1/{JOB_ID}?project=my-project" in said
    assert "rejects/not_an_image 1" in next(line for line in said.splitlines() if line.startswith("counters: "))

    (job,) = dataflow.jobs
    environment = job["environment"]
    (pool,) = environment["workerPools"]
    assert (pool["machineType"], pool["autoscalingSettings"]["maxNumWorkers"]) == ("n2-standard-8", 100)
    assert pool["workerHarnessContainerImage"] == IMAGE
    assert dataflow.images == {IMAGE}
    assert pool["ipConfiguration"] == "WORKER_IP_PRIVATE"
    assert environment["flexResourceSchedulingGoal"] == "FLEXRS_COST_OPTIMIZED"
    assert environment["serviceAccountEmail"] == "worker@my-project.iam.gserviceaccount.com"
    assert pool.get("packages", []) == []  # nothing is staged but the pipeline: the image has the package

    score(model=str(exported), images=str(images), output=str(tmp_path / "local"), threshold=0)
    found = {path.rsplit("/", 1)[-1]: bucket.cat_file(path) for path in bucket.find("my-results/out")}
    local = contents(tmp_path / "local")
    assert found.keys() == local.keys()
    assert {name for name in local if found[name] != local[name]} == {"manifest.json"}  # it names the folders


@pytest.mark.slow
def test_watching_on_dataflow_is_the_same_job_with_statistics(
    bucket: Any, exported: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measures = measures_of(read_label_map(str(exported)))
    local = tmp_path / "local"
    score(
        model=str(exported), images=str(images), output=str(local), form="jsonl", threshold=WRITTEN, measures=measures
    )
    digest = model_digest(str(exported))
    profile = Profile(model_digest=digest, data_digest="", measures=measures, rows=read_rows(str(local)))
    bucket.pipe_file("my-data/model/profile.npz", profile.to_bytes())
    dataflow = DataflowService(bucket, ["JOB_STATE_RUNNING", "JOB_STATE_DONE"], namespace="scoring")
    data = ["--images", "gs://my-data/images", "--model", "gs://my-data/model", "--output", "gs://my-results/watched"]
    try:
        assert watch([*data, *JOB, f"--dataflow_endpoint={dataflow.url}"]) == 0
    finally:
        dataflow.stop()
    assert dataflow.unknown == []
    assert len(dataflow.jobs) == 1
    found = read_watch("gs://my-results/watched")
    assert (found.verdict, found.features, found.profile) == ("steady", True, "gs://my-data/model/profile.npz")
    assert b"<h1>Steady</h1>" in bucket.cat_file("my-results/watched/watch.html")
    scores = {path.rsplit("/", 1)[-1]: bucket.cat_file(path) for path in bucket.find("my-results/watched/scores")}
    expected = contents(local)
    assert scores.keys() == expected.keys()
    assert {name for name in expected if scores[name] != expected[name]} == {"manifest.json"}
    assert any(name.startswith("statistics-") for name in expected)
