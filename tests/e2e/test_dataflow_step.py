"""The preprocess step of the compiled pipeline on Dataflow: its container's command, against a bucket and a Dataflow
service on loopback. What arrives is the whole job description; the service then lets the job fail."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from google.cloud.dataflow_v1beta3 import Job

from components.support.run_options import RunOptions, write_options
from pipeline.graph.targets import TARGETS
from pipeline.local.demo_data import DemoData, generate
from tests.e2e.containers import container
from tests.gcs_emulator import GcsEmulator, gcs_emulator
from tests.pipeline.graph.golden import compiled

pytestmark = pytest.mark.xdist_group("compiled")  # one worker compiles each target, once

SERVICE_ACCOUNT = "worker@my-project.iam.gserviceaccount.com"
RUN = "gs://my-bucket/runs/1"
ROOT = f"{RUN}/preprocess"

Request = tuple[str, str]
"""Path and JSON."""


class Dataflow(BaseHTTPRequestHandler):
    """Keeps the jobs that are created; every one of them has failed when it is asked for."""

    jobs: list[Request]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.jobs.append((self.path, body))
        self._answer({**json.loads(body), "id": "job-1", "currentState": "JOB_STATE_PENDING"})

    def do_GET(self) -> None:
        if "/messages" in self.path:
            text = {"id": "1", "messageImportance": "JOB_MESSAGE_ERROR", "messageText": "no capacity left"}
            self._answer({"jobMessages": [{**text, "time": "2026-11-24T03:00:00Z"}]})
        else:
            self._answer({"id": "job-1", "currentState": "JOB_STATE_FAILED", "projectId": "my-project"})

    def _answer(self, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing on the terminal."""


@pytest.fixture
def dataflow() -> Iterator[tuple[str, list[Request]]]:
    jobs: list[Request] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Server", (Dataflow,), {"jobs": jobs}))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://localhost:{server.server_port}", jobs
    server.shutdown()
    server.server_close()
    thread.join(5)


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[GcsEmulator]:
    """With a small data set in it."""
    coco = generate(tmp_path / "coco", DemoData(train_images=2, val_images=2, height=(64, 64), width=(64, 64)))
    folder = tmp_path / "key"
    folder.mkdir()
    with gcs_emulator(folder) as emulator, emulator.in_this_process() as files:
        for name in ("my-bucket", "my-data"):
            files.mkdir(name)
        for path in coco.rglob("*.j*"):
            files.pipe_file(f"my-data/{path.relative_to(coco)}", path.read_bytes())
        yield emulator


def test_the_job_that_arrives(tmp_path: Path, bucket: GcsEmulator, dataflow: tuple[str, list[Request]]) -> None:
    url, jobs = dataflow
    spec = compiled("vertex-gpu")
    defaults = spec["root"]["inputDefinitions"]["parameters"]
    own = {
        "project": "my-project",
        "region": "us-central1",
        "machine_type": "n2-standard-16",
        "service_account": SERVICE_ACCOUNT,
        "subnetwork": "regions/us-central1/subnetworks/private",
        "flexrs": True,
    }
    options = RunOptions(
        preprocess_on="dataflow",
        dataflow=json.dumps({**json.loads(defaults["dataflow"]["defaultValue"]), **own}),
        beam_args=f"--dataflow_endpoint={url}",
    )
    with bucket.in_this_process():
        write_options(options, f"{RUN}/data-check/report")
    made = container(
        spec,
        "preprocess",
        tmp_path,
        {
            "images": "gs://my-data/train2017",
            "annotations": "gs://my-data/annotations/instances_train2017.json",
            "data_digest": "",
            "config": "preprocess: {image_size: [64, 64], train_views: 1}",
            "seed": 0,
        },
        root=ROOT,
        **bucket.environment,
    )
    process = made.run()
    assert process.returncode != 0
    assert made.output() is None
    ((path, sent),) = jobs
    assert path.startswith("/v1b3/projects/my-project/locations/us-central1/jobs")
    job = Job.to_dict(Job.from_json(sent), use_integers_for_enums=False)  # an unknown field fails
    assert job["name"].startswith("centernet-preprocess-train-")
    assert job["labels"]["pipeline"] == "centernet-preprocess"
    environment = job["environment"]
    (pool,) = environment["worker_pools"]
    image = TARGETS["vertex-gpu"].image.replace("python-gpu", "python-beam")
    assert [harness["container_image"] for harness in pool["sdk_harness_container_images"]] == [image]
    assert pool["machine_type"] == "n2-standard-16"
    assert pool["autoscaling_settings"]["max_num_workers"] == 50
    assert pool["subnetwork"] == "regions/us-central1/subnetworks/private"
    assert pool["ip_configuration"] == "WORKER_IP_PRIVATE"
    assert environment["service_account_email"] == SERVICE_ACCOUNT
    assert environment["flex_resource_scheduling_goal"] == "FLEXRS_COST_OPTIMIZED"
    assert f"{ROOT}/records-beam/temp".removeprefix("gs://") in environment["temp_storage_prefix"]
    assert "no capacity left" in process.stderr + process.stdout, "the step fails, with the job's own words"
