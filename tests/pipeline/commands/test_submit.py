"""`centernet submit` against a Vertex AI on loopback, through Google's own client: what arrives, and what happens if
nothing does."""

import json
import re
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from tests.cases.made_cases import make
from tests.gcs_emulator import GcsEmulator
from tests.loopback.invocations import ACCOUNT, CONFIG, DATA, PLACE, WHAT, WHERE, Run, output, spec_of, task
from tests.loopback.server import Fault
from tests.loopback.vertex_server import PARENT, VertexServer

pytestmark = pytest.mark.usefixtures("loopback_cloud")

SUBMIT = ["submit", *WHERE, *WHAT]
PICTURE = Path(__file__).parents[3] / "docs" / "images" / "demo-detections.jpg"


def tasks_of(spec: dict[str, Any]) -> dict[str, Any]:
    """All tasks of a spec, those of conditions included."""
    graphs = [spec["root"]["dag"], *(c["dag"] for c in spec["components"].values() if "dag" in c)]
    return {name: value for graph in graphs for name, value in graph["tasks"].items()}


def test_what_arrives(vertex: VertexServer, run: Run) -> None:
    network = "projects/123/global/networks/mine"
    code, out, err = run(*SUBMIT, "--network", network, "--labels", "team=vision", "--seed", "3")
    assert (code, err) == (0, "")
    (request,) = vertex.sent("POST")
    assert request.path == f"/v1/{PARENT}/pipelineJobs"
    job_id = request.query["pipelineJobId"]
    assert re.fullmatch(r"centernet-training-[0-9a-f]{8}-\d{8}-\d{6}", job_id)
    body = request.body
    assert body["pipelineSpec"] == spec_of("vertex-gpu")
    assert body["serviceAccount"] == ACCOUNT
    assert body["network"] == network
    assert body["labels"].pop("content").startswith(job_id.split("-")[2])
    assert body["labels"] == {"pipeline": "centernet-training", "target": "vertex-gpu", "team": "vision"}
    runtime = body["runtimeConfig"]
    assert runtime["gcsOutputDirectory"] == "gs://my-bucket/runs"
    assert runtime["failurePolicy"] == 2  # PIPELINE_FAILURE_POLICY_FAIL_FAST
    values = runtime["parameterValues"]
    assert "preprocess:" in values.pop("config"), "the configuration's contents are sent, not its name"
    assert values == {
        "train_images": "gs://my-data/train",
        "train_annotations": "gs://my-data/train.json",
        "val_images": "gs://my-data/val",
        "val_annotations": "gs://my-data/val.json",
        "registry": "vertex://my-project/us-central1/centernet",
        "run_id": job_id,
        "seed": 3.0,
    }
    link = (
        f"https://console.cloud.google.com/vertex-ai/locations/us-central1/pipelines/runs/{job_id}?project=my-project"
    )
    assert link in out
    assert "machine-hours of" in out


def test_tracking_is_one_more_task(vertex: VertexServer, run: Run) -> None:
    """Off unless it is asked for."""
    board = f"{PARENT}/tensorboards/77"
    assert run(*SUBMIT)[0] == 0
    assert run(*SUBMIT, "--tensorboard", board, "--experiment", "detector")[0] == 0
    plain, tracked = (tasks_of(request.body["pipelineSpec"]) for request in vertex.sent("POST"))
    assert set(tracked) - set(plain) == {"track"}
    inputs = tracked["track"]["inputs"]
    values = {name: value["runtimeValue"]["constant"] for name, value in inputs["parameters"].items()}
    assert json.loads(values["tracking"]) == {"tensorboard": board, "experiment": "detector"}
    assert values["job"] == "{{$.pipeline_job_resource_name}}"
    assert inputs["artifacts"]["summary"]["taskOutputArtifact"]["producerTask"] == "report"


def test_caching(vertex: VertexServer, run: Run) -> None:
    assert run(*SUBMIT)[0] == 0
    assert run(*SUBMIT, "--no-cache")[0] == 0
    first, second = (request.body["pipelineSpec"] for request in vertex.sent("POST"))
    cached = {name for name, value in tasks_of(first).items() if value.get("cachingOptions", {}).get("enableCache")}
    assert {"train", "preprocess"} <= cached
    assert not cached & {"data-check", "resolve-champion", "gate", "promote", "hold", "report"}
    assert not [name for name, value in tasks_of(second).items() if value.get("cachingOptions", {}).get("enableCache")]


def test_image_is_every_steps(vertex: VertexServer, run: Run) -> None:
    image = "us-central1-docker.pkg.dev/my-project/centernet/python-gpu@sha256:" + "0" * 64
    assert run(*SUBMIT, "--image", image)[0] == 0
    executors = vertex.sent("POST")[0].body["pipelineSpec"]["deploymentSpec"]["executors"]
    assert {executor["container"]["image"] for executor in executors.values()} == {image}


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--param", "sed=1"], ["--param sed", "no such parameter", "seed"]),
        (["--param", "seed=one"], ["--param seed=one", "whole number"]),
        (["--param", "seed"], ["--param seed", "name=value"]),
        (["--param", "work_dir=gs://a/b", "--param", "work_dir=gs://a/c"], ["work_dir", "twice"]),
        (["--param", "train_images=gs://a/b"], ["train_images", "by a flag"]),
        (["--target", "vertex-abacus"], ["vertex-abacus", "vertex-gpu"]),
        (["--target", "local"], ["--target local", "centernet run"]),
        (["--config", "nowhere.yaml"], ["nowhere.yaml"]),
        (["--config", str(PICTURE)], [str(PICTURE), "give a YAML file"]),
        (["--pipeline-root", "runs"], ["--pipeline-root", "gs://"]),
        (["--pipeline-root", "gs://My Bucket/runs"], ["--pipeline-root gs://My Bucket/runs"]),
        (["--pipeline-root", ""], ["--pipeline-root", "gs://"]),
        (["--train-images", "/data/train"], ["--train-images /data/train", "gs://"]),
        (["--train-images", "file:///data/train"], ["--train-images file:///data/train", "path on this machine"]),
        (["--train-images", "s3://my-data/train"], ["--train-images s3://my-data/train", "gs://BUCKET/FOLDER"]),
        (["--train-images", "gs:///train"], ["--train-images gs:///train", "gs://BUCKET/FOLDER"]),
        (["--train-images", "gs://my-data/tarin"], ["--train-images gs://my-data/tarin", "no such folder"]),
        (["--val-annotations", "gs://my-data/no.json"], ["--val-annotations", "no such file"]),
        (["--val-annotations", ""], ["--val-annotations: not given", "all four"]),
        (["--coco-dir", "gs://my-data"], ["--coco-dir", "give one"]),
        (["--service-account", "me@example.com"], ["--service-account", "gserviceaccount"]),
        (["--service-account", "trainer.gserviceaccount.com"], ["--service-account", "not a service account"]),
        (["--network", "default"], ["--network", "projects/"]),
        (["--network", "projects/1/networks/default"], ["--network", "projects/PROJECT_NUMBER/global/networks/NAME"]),
        (["--labels", "Team=vision"], ["--labels Team=vision", "a-z"]),
        (["--labels", "target=mine"], ["--labels target=mine", "another key"]),
        (["--project", ""], ["--project", "not given"]),
        (["--project", "", "--region", ""], ["--project and --region", "--endpoint"]),
        (["--region", "Mars"], ["--region 'Mars'", "europe-west4"]),
        (["--prices", "nowhere.yaml"], ["--prices nowhere.yaml"]),
        (["--spot"], ["--capacity", "custom job", "vertex-gpu-job"]),
        (["--capacity", "spot"], ["--capacity", "custom job", "vertex-gpu-job"]),
        (["--capacity", "cheap"], ["--capacity cheap", "flex-start"]),
        (["--capacity", "reservation"], ["--capacity reservation", "reservations/NAME"]),
        (["--max-wait", "3"], ["--max-wait 3", "--capacity flex-start"]),
        (["--boot-disk-gb", "300"], ["--boot-disk-gb", "custom job"]),
        (["--boot-disk-gb", "50", "--target", "vertex-gpu-job"], ["rule boot-disk", "100 to 64000 GB"]),
        (["--machine-type", "a3-highgpu-1g", "--target", "vertex-gpu-h100"], ["rule capacity", "spot, flex-start"]),
        (["--machine-type", "abacus", "--target", "vertex-gpu-job"], ["--machine-type abacus", "a2-highgpu-8g"]),
        (["--capacity", "flex-start", "--target", "vertex-tpu-v5e"], ["rule capacity", "on-demand, spot"]),
        (["--network-attachment", "mine"], ["rule network-attachment", "regions/us-central1/networkAttachments"]),
        (["--encryption-key", "mine"], ["rule encryption-key", "locations/us-central1/keyRings"]),
        (["--replicas", "4"], ["--replicas 4", "one machine", "vertex-multinode-gpu"]),
        (["--reduction-servers", "2", "--target", "vertex-tpu-v3"], ["--reduction-servers 2", "vertex-multinode-gpu"]),
        (["--config", "demo", "--target", "vertex-multinode-gpu", "--replicas", "4"], ["32 devices"]),
        (["--registry", "registry"], ["--registry registry", "vertex://"]),
        (["--registry", "gs://my-bucket/registry"], ["--registry gs://my-bucket/registry", "vertex://"]),
        (["--registry", "vertex://my-project"], ["--registry vertex://my-project", "MODEL_ID"]),
        (["--param", "registry=gs://my-bucket/registry"], ["--registry gs://my-bucket/registry", "vertex://"]),
        (["--seed", "-1"], ["--seed -1", "from 0"]),
        (["--param", f"seed={2**31}"], [f"--seed {2**31}", "from 0"]),
        (["--image", "my image"], ["--image 'my image'"]),
        (["--param", "runtime={"], ["--param runtime={", "YAML"]),
        (["--param", "runtime=float32"], ["--param runtime=float32", "YAML"]),
        (["--param", "beam_args=--runner=DataflowRunner"], ["beam_args", "preprocess_on=dataflow"]),
        (["--param", "work_dir=/tmp/x"], ["--work-dir /tmp/x", "gs://"]),
        (["--notify", "me"], ["--notify me", "owner@example.org"]),
        (["--tensorboard", "77"], ["--tensorboard 77", "projects/PROJECT/locations/REGION/tensorboards/ID"]),
        (["--tensorboard", "projects/p/locations/europe-west4/tensorboards/7"], ["not in --region us-central1"]),
        (["--experiment", "My Experiment"], ["--experiment My Experiment", "a-z"]),
        (["--config", ""], ["--config", "custom-gpu"]),
        (["--param", "config=gate: {}"], ["--param config", "--config"]),
        (["--config", "custom-small"], ["global_batch_size: 4", "8 devices of vertex-gpu"]),
        (["--config", "custom-gpu-hourglass", "--target", "vertex-multinode-gpu"], ["batch_size: 8", "16 devices"]),
        (["--config", "custom-small", "--target", "vertex-tpu-v5e"], ["global_batch_size: 4", "8 devices"]),
        (["--config", "custom-small", "--target", "vertex-tpu-v3"], ["global_batch_size: 4", "8 devices"]),
        (["--param", "preprocess_on=moon"], ["preprocess_on", "dataflow"]),
        (["--param", "preprocess_on=dataflow", "--param", "dataflow={"], ["dataflow", "JSON"]),
    ],
)
def test_bad_input_sends_nothing(flags: list[str], says: list[str], vertex: VertexServer, run: Run) -> None:
    code, _, err = run(*SUBMIT, *flags)
    assert code == 2
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    for part in says:
        assert part in err
    assert vertex.requests == []


@pytest.mark.slow  # imports TensorFlow; tests/pipeline/commands/test_run.py has the same check of `run`
def test_a_config_that_only_model_garden_knows_to_be_wrong(tmp_path: Path, vertex: VertexServer, run: Run) -> None:
    config = tmp_path / "mine.yaml"
    config.write_text("task: {model: {backbon: {}}}")
    code, _, err = run("submit", *WHERE, "--target", "vertex-gpu", *DATA, "--config", config)
    assert code == 2
    assert "backbon" in err
    assert vertex.requests == []


def test_a_cpu_has_a_default_config(vertex: VertexServer, run: Run) -> None:
    code, out, _ = run(*SUBMIT, "--target", "vertex-cpu", "--config", "")
    assert code == 0
    assert "custom-cpu.yaml with" in out


def test_strict_reaches_the_data_check(vertex: VertexServer, run: Run) -> None:
    assert run(*SUBMIT, "--strict")[0] == 0
    assert vertex.sent("POST")[0].body["runtimeConfig"]["parameterValues"]["strict"] is True


def test_a_split_is_written_before_the_run(tmp_path: Path, vertex: VertexServer, gcs: GcsEmulator, run: Run) -> None:
    made = make(tmp_path).write()
    with gcs.in_this_process() as bucket:
        bucket.put(made.data()["train_images"], "my-data/one", recursive=True)
        bucket.put(made.data()["train_annotations"], "my-data/one.json")
        only_training = {"--train-images": "gs://my-data/one", "--train-annotations": "gs://my-data/one.json"}
        flags = [*("submit", *WHERE, *WHAT[:-8]), *chain(*only_training.items()), "--val-fraction", "0.3"]
        code, out, _ = run(*flags, "--dry-run")
        assert code == 0
        assert "a real run reads gs://my-data/one and writes both annotation files" in out
        assert not bucket.exists("my-bucket/runs/splits")
        code, out, err = run(*flags)
        assert (code, err) == (0, "")
        assert "split by image content (--val-fraction 0.3)" in out
        values = vertex.sent("POST")[0].body["runtimeConfig"]["parameterValues"]
        assert values["train_images"] == values["val_images"] == "gs://my-data/one"
        sides = [json.loads(bucket.cat_file(values[f"{split}_annotations"]))["images"] for split in ("train", "val")]
    assert all(sides)
    assert sum(map(len, sides)) == len(made.train.files)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--val-fraction", "0.3"], "--val-images; give one"),
        (["--val-fraction", "1.5"], "--val-fraction 1.5"),
        (["--val-fraction", "0.3", "--pipeline-root", ""], "--pipeline-root"),
    ],
)
def test_a_wrong_split_sends_nothing(flags: list[str], says: str, vertex: VertexServer, run: Run) -> None:
    code, _, err = run(*SUBMIT, *flags)
    assert code == 2
    assert says in err
    assert vertex.requests == []


def test_dry_run_contacts_nothing(vertex: VertexServer, run: Run) -> None:
    code, out, _ = run(*SUBMIT, "--dry-run", "--train-images", "gs://no-such-bucket/x")
    assert code == 0
    assert "dry run" in out
    assert vertex.requests == []


STATES = "PIPELINE_STATE_"
DONE = [task("data-check", "SUCCEEDED"), task("train", "SKIPPED")]
PROMOTED = [*DONE, task("promote", "SUCCEEDED", **output("promoted: v0002 (was v0001)")), task("hold", "NOT_TRIGGERED")]
HELD = [*DONE, task("promote", "NOT_TRIGGERED"), task("hold", "SUCCEEDED", **output("held: min_ap 0.4100 < 0.5000"))]
FAILED = [task("train", "FAILED", error={"code": 3, "message": "out of memory"})]


@pytest.mark.parametrize(
    ("state", "tasks", "code", "says"),
    [
        ("SUCCEEDED", PROMOTED, 0, "promoted: v0002 (was v0001)"),
        ("SUCCEEDED", HELD, 3, "held: min_ap 0.4100 < 0.5000"),
        ("SUCCEEDED", [task("data-check", "SUCCEEDED"), task("unchanged", "SUCCEEDED")], 0, "nothing new"),
        ("SUCCEEDED", DONE, 1, "neither promoted nor held"),  # no gate, so no decision: not a success
        ("SUCCEEDED", [*DONE, task("promote", "SKIPPED")], 1, "neither promoted nor held"),  # an old decision
        ("FAILED", FAILED, 1, "failed in train: out of memory"),
        ("FAILED", [*DONE, task("gate", "FAILED", error={"message": "lost"})], 1, "failed in gate: lost"),
        ("CANCELLED", [], 1, "cancelled"),
    ],
)
def test_wait_ends_with_the_gates_decision(
    state: str, tasks: list[dict[str, Any]], code: int, says: str, vertex: VertexServer, run: Run
) -> None:
    vertex.timeline = [
        {"state": STATES + "RUNNING", "jobDetail": {"taskDetails": [task("data-check", "RUNNING")]}},
        {"state": STATES + state, "jobDetail": {"taskDetails": tasks}},
    ]
    # A service that can't be reached for a moment does not end the waiting.
    vertex.next_fault("GET", "pipelineJobs", Fault(status=503), times=7)
    got, out, err = run(*SUBMIT, "--wait", "--poll", "0.01")
    assert got == code
    assert says in (err if code == 1 else out)
    assert re.search(r"check the data +RUNNING", out), "task states are streamed"


NOT_DUE = "steady: as ever; no new labels since the last completed run"


@pytest.mark.parametrize(
    ("tasks", "code", "says"),
    [
        ([task("watch", "SUCCEEDED"), task("no-training", "SUCCEEDED", **output(NOT_DUE))], 0, NOT_DUE),
        ([task("watch", "SUCCEEDED"), *HELD], 3, "held: min_ap 0.4100 < 0.5000"),
        ([task("watch", "SUCCEEDED"), *PROMOTED], 0, "promoted: v0002"),
    ],
)
def test_a_watch(tasks: list[dict[str, Any]], code: int, says: str, vertex: VertexServer, run: Run) -> None:
    watch = ["--pipeline", "watch", "--images", "gs://my-data/val", "--since", "7d", "--wait", "--poll", "0.01"]
    vertex.timeline = [{"state": f"{STATES}SUCCEEDED", "jobDetail": {"taskDetails": tasks}}]
    got, out, _ = run(*SUBMIT, *watch)
    assert got == code
    assert says in out
    (request,) = vertex.sent("POST")
    assert request.query["pipelineJobId"].startswith("centernet-watch-")
    assert request.body["labels"]["pipeline"] == "centernet-watch"
    assert set(tasks_of(request.body["pipelineSpec"])) > {"watch", "training-due", "no-training", "train", "promote"}
    values = request.body["runtimeConfig"]["parameterValues"]
    assert (values["images"], values["since"]) == ("gs://my-data/val", "7d")
    assert run("list", *PLACE)[1] == "no runs\n"
    assert run("list", *PLACE, "--pipeline", "watch")[1].startswith("centernet-watch-")


def test_the_answer_is_lost_and_so_is_the_check(vertex: VertexServer, run: Run) -> None:
    """Created, connection cut, the check cut too: the second attempt finds its own job (409) and uses it."""
    vertex.next_fault("POST", "pipelineJobs", Fault(cut="after"))
    vertex.next_fault("GET", "pipelineJobs", Fault(status=404))
    code, _, _ = run(*SUBMIT)
    assert code == 0
    assert len(vertex.jobs) == 1
    assert len(vertex.sent("POST")) == 2


def test_another_region_is_another_place(vertex: VertexServer, run: Run) -> None:
    """The loopback service knows only one region, like a real address."""
    code, _, err = run(*SUBMIT, *PLACE, "--region", "europe-west4")
    assert code == 1
    assert "europe-west4" in err
    assert vertex.jobs == {}


def test_the_layout_in_a_bucket_is_found(vertex: VertexServer, run: Run, gcs: Any) -> None:
    """Roboflow's; a dry run, which contacts nobody, assumes COCO 2017."""
    with gcs.in_this_process() as bucket:
        for split in ("train", "valid"):
            bucket.pipe_file(f"my-data/roboflow/{split}/_annotations.coco.json", b"{}")
            bucket.pipe_file(f"my-data/roboflow/{split}/1.jpg", b"")
    flags = [*WHERE, "--target", "vertex-gpu", *CONFIG, "--coco-dir", "gs://my-data/roboflow"]
    _, out, _ = run("submit", *flags, "--dry-run")
    assert "gs://my-data/roboflow/annotations/instances_val2017.json" in out
    code, _, err = run("submit", *flags)
    assert code == 0, err
    values = vertex.sent("POST")[0].body["runtimeConfig"]["parameterValues"]
    assert values["val_images"] == "gs://my-data/roboflow/valid"
    assert values["train_annotations"] == "gs://my-data/roboflow/train/_annotations.coco.json"
