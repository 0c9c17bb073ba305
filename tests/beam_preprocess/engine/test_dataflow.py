"""What Dataflow would get, from the real client library: the complete job description, written offline; and a whole run
of the command against a service on loopback, which executes the staged pipeline."""

import contextlib
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.runners.dataflow import dataflow_runner

from beam_preprocess.__main__ import main
from beam_preprocess.engine.options import beam_options
from beam_preprocess.format.config import PreprocessConfig
from beam_preprocess.job.code_version import code_version
from beam_preprocess.job.shards import ShardJob
from beam_preprocess.job.transforms import WriteRecords
from tests.beam_preprocess.dataflow_service import JOB_ID, DataflowService
from tests.gcs_emulator import gcs_emulator

IMAGE = "us-docker.pkg.dev/my-project/images/centernet:1"


@pytest.fixture(scope="module")
def job_description(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The job of a template run: nothing is contacted."""
    tmp_path = tmp_path_factory.mktemp("template")
    (tmp_path / "temp").mkdir()
    (tmp_path / "staging").mkdir()  # the client retries for minutes when it can't stage
    flags = [
        "--runner=DataflowRunner",
        "--project=my-project",
        "--region=us-central1",
        "--job_name=centernet-preprocess",
        f"--temp_location={tmp_path}/temp",
        f"--staging_location={tmp_path}/staging",
        f"--template_location={tmp_path}/template.json",
        "--dataflow_endpoint=http://localhost:1",
        "--no_auth",
        f"--sdk_container_image={IMAGE}",
        "--sdk_location=container",
        "--machine_type=n2-standard-8",
        "--max_num_workers=100",
        "--disk_size_gb=50",
        "--service_account_email=worker@my-project.iam.gserviceaccount.com",
        "--subnetwork=regions/us-central1/subnetworks/private",
        "--no_use_public_ips",
        "--flexrs_goal=COST_OPTIMIZED",
        "--labels=team=vision",
    ]
    job = ShardJob(
        images="gs://bucket/images",
        output="gs://bucket/out",
        split="train",
        config=PreprocessConfig(),
        views=8,
        seed=0,
        num_shards=2,
        code=code_version(),
    )
    plans = [(0, "gs://bucket/out/.plan-0/plan-00000.jsonl"), (1, "gs://bucket/out/.plan-0/plan-00001.jsonl")]
    pipeline = beam.Pipeline(options=beam_options(flags, num_workers=1))
    _ = pipeline | beam.Create(plans) | WriteRecords(job)
    pipeline.run()
    return dict(json.loads((tmp_path / "template.json").read_text()))


def test_the_job_has_the_options_that_were_given(job_description: dict[str, Any]) -> None:
    environment = job_description["environment"]
    (pool,) = environment["workerPools"]
    assert pool["machineType"] == "n2-standard-8"
    assert pool["diskSizeGb"] == 50
    assert pool["autoscalingSettings"]["maxNumWorkers"] == 100
    assert pool["ipConfiguration"] == "WORKER_IP_PRIVATE"
    assert pool["subnetwork"] == "regions/us-central1/subnetworks/private"
    images = [i["containerImage"] for i in pool["sdkHarnessContainerImages"]]
    assert images == [IMAGE]
    assert pool["workerHarnessContainerImage"] == IMAGE
    assert environment["flexResourceSchedulingGoal"] == "FLEXRS_COST_OPTIMIZED"
    assert environment["serviceAccountEmail"] == "worker@my-project.iam.gserviceaccount.com"
    assert job_description["labels"]["team"] == "vision"
    assert job_description["type"] == "JOB_TYPE_BATCH"


def test_the_graph_holds_paths_and_no_images(job_description: dict[str, Any]) -> None:
    """Dataflow limits a job's size; annotations travel as plan files."""
    assert len(json.dumps(job_description)) < 200_000


DATA = ["--images", "gs://my-data/images", "--annotations", "gs://my-data/train.json", "--split", "train"]
SHAPE = ["--image-size", "64", "--views", "2", "--num-shards", "2", "--max-reject-fraction", "0.5"]
JOB = [
    "--runner=DataflowRunner",
    "--project=my-project",
    "--region=us-central1",
    "--job_name=centernet-preprocess",
    "--temp_location=gs://my-records/temp",
    f"--sdk_container_image={IMAGE}",
    "--machine_type=n2-standard-8",
    "--max_num_workers=100",
    "--service_account_email=worker@my-project.iam.gserviceaccount.com",
    "--subnetwork=regions/us-central1/subnetworks/private",
    "--no_use_public_ips",
    "--flexrs_goal=COST_OPTIMIZED",
]


@pytest.fixture
def bucket(make_data: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """gs:// with five images, one of which the annotations name in vain; the client waits for no seconds."""
    data = make_data(5)
    (data.images / data.content["images"][2]["file_name"]).unlink()
    quick = SimpleNamespace(time=time.time, sleep=lambda seconds: time.sleep(seconds / 100))
    monkeypatch.setattr(dataflow_runner, "time", quick)
    with gcs_emulator(tmp_path) as gcs, gcs.in_this_process() as fs:
        for name in ("my-data", "my-records"):
            fs.mkdir(name)
        for path in data.images.iterdir():
            fs.pipe_file(f"my-data/images/{path.name}", path.read_bytes())
        fs.pipe_file("my-data/train.json", data.annotations.read_bytes())
        yield SimpleNamespace(fs=fs, data=data)


@contextlib.contextmanager
def service(fs: Any, *states: str) -> Iterator[DataflowService]:
    running = DataflowService(fs, list(states))
    try:
        yield running
    finally:
        running.stop()
    assert running.unknown == []


def test_the_staged_pipeline_gives_the_bytes_of_a_local_run(bucket: Any, tmp_path: Path, capsys: Any) -> None:
    output = ["--output", "gs://my-records/train"]
    with service(bucket.fs, "JOB_STATE_PENDING", "JOB_STATE_RUNNING", "JOB_STATE_DONE") as dataflow:
        assert main([*DATA, *SHAPE, *output, *JOB, f"--dataflow_endpoint={dataflow.url}"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("progress: ")]
    link = f"https://console.cloud.google.com/dataflow/jobs/us-central1/{JOB_ID}?project=my-project"
    assert lines[0] == f"job: {link}"
    assert lines[1] == "counters: crowds 1, cut_off 0, images 4, objects 3, rejects/missing_image 1"
    assert lines[2].startswith("result: train 4 images x 2 views, 3 objects, 1 rejects")

    (job,) = dataflow.jobs
    environment = job["environment"]
    (pool,) = environment["workerPools"]
    assert (pool["machineType"], pool["autoscalingSettings"]["maxNumWorkers"]) == ("n2-standard-8", 100)
    assert pool["workerHarnessContainerImage"] == IMAGE
    assert dataflow.images == {IMAGE}
    assert pool["ipConfiguration"] == "WORKER_IP_PRIVATE"
    assert pool["subnetwork"] == "regions/us-central1/subnetworks/private"
    assert environment["flexResourceSchedulingGoal"] == "FLEXRS_COST_OPTIMIZED"
    assert environment["serviceAccountEmail"] == "worker@my-project.iam.gserviceaccount.com"
    assert (job["type"], job["name"]) == ("JOB_TYPE_BATCH", "centernet-preprocess")
    assert pool.get("packages", []) == []  # nothing is staged but the pipeline: the image has the package

    local = tmp_path / "local"
    folders = ["--images", str(bucket.data.images), "--annotations", str(bucket.data.annotations), "--split", "train"]
    assert main([*folders, *SHAPE, "--output", str(local)]) == 0
    found = {path.rsplit("/", 1)[-1]: bucket.fs.cat_file(path) for path in bucket.fs.find("my-records/train")}
    assert set(found) == {path.name for path in local.iterdir()}
    for path in local.glob("*.tfrecord"):
        assert found[path.name] == path.read_bytes()


def test_a_failed_job_leaves_nothing_ready(bucket: Any, capsys: Any) -> None:
    with (
        service(bucket.fs, "JOB_STATE_FAILED") as dataflow,
        pytest.raises(dataflow_runner.DataflowRuntimeException, match="Dataflow pipeline failed"),
    ):
        main([*DATA, *SHAPE, "--output", "gs://my-records/train", *JOB, f"--dataflow_endpoint={dataflow.url}"])
    assert JOB_ID in capsys.readouterr().out
    assert bucket.fs.find("my-records/train") == []


def test_an_interrupted_command_cancels_its_job(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(dataflow_runner.DataflowPipelineResult, "wait_until_finish", interrupted)
    with service(bucket.fs, "JOB_STATE_PENDING") as dataflow:
        output = ["--output", "gs://my-records/train"]
        assert main([*DATA, *SHAPE, *output, *JOB, f"--dataflow_endpoint={dataflow.url}"]) == 1
    assert dataflow.requested == ["JOB_STATE_CANCELLED"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--runner=DataflowRunner", "--project=p"],
            "also give --region .*, --temp_location .*, --sdk_container_image",
        ),
        ([*JOB, "--images", "photos"], "--images photos: Dataflow's machines cannot reach a local path"),
        ([*JOB, "--output", "records"], "--output records: Dataflow's machines cannot reach a local path"),
    ],
)
def test_what_would_fail_on_dataflow_is_refused_at_once(arguments: list[str], message: str, capsys: Any) -> None:
    assert main([*DATA, "--output", "gs://my-records/train", *arguments]) == 2
    assert re.search(message, capsys.readouterr().err)
