"""What Dataflow would get: the complete job description, written offline by the real client library."""

import json
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest

from beam_preprocess.config import PreprocessConfig
from beam_preprocess.options import beam_options
from beam_preprocess.shards import ShardJob
from beam_preprocess.transforms import WriteRecords

IMAGE = "us-docker.pkg.dev/my-project/images/centernet:1"


@pytest.fixture
def job_description(tmp_path: Path) -> dict[str, Any]:
    """The job of a template run: nothing is contacted."""
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
