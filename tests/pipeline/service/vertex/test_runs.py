"""The requests that arrive at Vertex AI for every target, from `submit` and from `schedule create`."""

import json
from typing import Any

import pytest

from pipeline.graph.custom_job import REDUCTION_SERVER
from pipeline.graph.targets import TARGETS
from tests.loopback.invocations import ACCOUNT, CONFIG, DATA, IMAGES, WHERE, Run, spec_of
from tests.loopback.vertex_server import VertexServer
from trainer.shared.versions import VERSION

pytestmark = pytest.mark.usefixtures("loopback_cloud")

NETWORK = "projects/123/global/networks/mine"
CLOUD_TARGETS = [name for name in TARGETS if name.startswith("vertex-")]
HOW = {
    "submit": ["submit"],
    "schedule": ["schedule", "create", "--name", "weekly", "--cron", "0 3 * * 1"],
}
# By target: the image of all steps, and the machines of training. Those of a plain task are in its resources.
A100S = {"machine_type": "a2-highgpu-8g", "accelerator_type": "NVIDIA_TESLA_A100", "accelerator_count": 8.0}
TRAINS: dict[str, tuple[str, Any]] = {
    "vertex-cpu": ("python-cpu", {"cpu": 32.0, "accelerator": {}}),
    "vertex-gpu": ("python-gpu", {"cpu": 96.0, "accelerator": {"type": "NVIDIA_TESLA_A100", "count": "8"}}),
    "vertex-gpu-job": ("python-gpu", [(1.0, A100S)]),
    "vertex-gpu-h100": (
        "python-gpu",
        [(1.0, {"machine_type": "a3-highgpu-8g", "accelerator_type": "NVIDIA_H100_80GB", "accelerator_count": 8.0})],
    ),
    "vertex-multinode-gpu": ("python-gpu", [(1.0, A100S), (1.0, A100S)]),
    "vertex-tpu-v3": (
        "python-tpu",
        [(1.0, {"machine_type": "cloud-tpu", "accelerator_type": "TPU_V3", "accelerator_count": 8.0})],
    ),
    "vertex-tpu-v5e": ("python-tpu", [(1.0, {"machine_type": "ct5lp-hightpu-8t", "tpu_topology": "2x4"})]),
}
Json = dict[str, Any]


def received(vertex: VertexServer, run: Run, how: str, *flags: str) -> Json:
    """The one PipelineJob that arrived, as canonical JSON of its message."""
    code, _, err = run(*HOW[how], *WHERE, *CONFIG, *DATA, *flags)
    assert (code, err) == (0, "")
    (request,) = vertex.sent("POST")
    job: Json = request.body if how == "submit" else request.body["createPipelineJobRequest"]["pipelineJob"]
    return job


def training(job: Json) -> tuple[Json, Json, Json]:
    """Task, component and container of training."""
    spec = job["pipelineSpec"]
    (task,) = [
        task
        for graph in (c["dag"] for c in spec["components"].values() if "dag" in c)
        for task in graph["tasks"].values()
        if task["taskInfo"]["name"] == "train"
    ]
    component = spec["components"][task["componentRef"]["name"]]
    return task, component, spec["deploymentSpec"]["executors"][component["executorLabel"]]["container"]


def value_of(job: Json, task: Json, name: str) -> Any:
    """The value of a task's input: its constant, its component's default, or the run's parameter."""
    given = task["inputs"]["parameters"].get(name)
    if given is None:
        component = job["pipelineSpec"]["components"][task["componentRef"]["name"]]
        return component["inputDefinitions"]["parameters"][name].get("defaultValue")
    if "runtimeValue" in given:
        return given["runtimeValue"]["constant"]
    parameter = given["componentInputParameter"].removeprefix("pipelinechannel--")
    declared = job["pipelineSpec"]["root"]["inputDefinitions"]["parameters"][parameter]
    return job["runtimeConfig"]["parameterValues"].get(parameter, declared.get("defaultValue"))


def test_the_table_holds_every_target() -> None:
    assert set(TRAINS) == set(CLOUD_TARGETS)


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("target", CLOUD_TARGETS)
def test_every_target(target: str, how: str, vertex: VertexServer, run: Run) -> None:
    flags = ["--network", NETWORK, "--labels", "team=vision", "--seed", "3", "--only-if-changed"]
    job = received(vertex, run, how, "--target", target, *flags)
    assert job["pipelineSpec"] == spec_of(target)
    assert job["serviceAccount"] == ACCOUNT
    assert job["network"] == NETWORK
    assert job["preflightValidations"] is True
    assert not {"pscInterfaceConfig", "encryptionSpec"} & set(job)
    assert job["labels"].pop("content")
    assert job["labels"] == {"pipeline": "centernet-training", "target": target, "team": "vision"}
    assert job["runtimeConfig"]["gcsOutputDirectory"] == "gs://my-bucket/runs"
    values = job["runtimeConfig"]["parameterValues"]
    assert (values["seed"], values["only_if_changed"]) == (3.0, True)
    assert values["registry"] == "vertex://my-project/us-central1/centernet"

    image, machines = TRAINS[target]
    task, _, container = training(job)
    assert task["cachingOptions"] == {"enableCache": True}
    if isinstance(machines, dict):
        assert container["image"] == f"{IMAGES}/{image}:{VERSION}"
        assert container["resources"]["cpuLimit"] == machines["cpu"]
        accelerator = container["resources"].get("accelerator", {})
        assert {key: accelerator[key] for key in machines["accelerator"]} == machines["accelerator"]
        return
    pools = value_of(job, task, "worker_pool_specs")
    assert [pool["container_spec"]["image_uri"] for pool in pools] == [f"{IMAGES}/{image}:{VERSION}"] * len(machines)
    assert [
        (pool["replica_count"], {key: pool["machine_spec"][key] for key in wanted})
        for pool, (_, wanted) in zip(pools, machines, strict=True)
    ] == machines
    assert value_of(job, task, "strategy") == "STANDARD"
    assert value_of(job, task, "service_account") == ACCOUNT, "the custom job has the run's account"
    assert value_of(job, task, "network") == NETWORK
    assert value_of(job, task, "timeout") == f"{48 * 3600}s"


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("target", ["vertex-multinode-gpu", "vertex-tpu-v3", "vertex-tpu-v5e"])
def test_spot(target: str, how: str, vertex: VertexServer, run: Run) -> None:
    job = received(vertex, run, how, "--target", target, "--spot")
    task, component, _ = training(job)
    assert value_of(job, task, "strategy") == "SPOT"
    assert component["inputDefinitions"]["parameters"]["restart_job_on_worker_restart"]["defaultValue"] is True


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("target", ["vertex-gpu", "vertex-gpu-job"])
def test_a_private_network_and_a_key(target: str, how: str, vertex: VertexServer, run: Run) -> None:
    attachment = "projects/1/regions/us-central1/networkAttachments/mine"
    key = "projects/1/locations/us-central1/keyRings/ring/cryptoKeys/mine"
    job = received(vertex, run, how, "--target", target, "--network-attachment", attachment, "--encryption-key", key)
    assert job["pscInterfaceConfig"] == {"networkAttachment": attachment}
    assert job["encryptionSpec"] == {"kmsKeyName": key}
    if TARGETS[target].custom_job:
        task, _, _ = training(job)
        assert value_of(job, task, "psc_interface_config") == {"network_attachment": attachment}
        assert value_of(job, task, "encryption_spec_key_name") == key


@pytest.mark.parametrize("how", HOW)
def test_replicas_and_reduction_servers(how: str, vertex: VertexServer, run: Run) -> None:
    flags = ["--target", "vertex-multinode-gpu", "--replicas", "4", "--reduction-servers", "3"]
    job = received(vertex, run, how, *flags)
    pools = value_of(job, training(job)[0], "worker_pool_specs")
    assert [pool["replica_count"] for pool in pools] == [1.0, 3.0, 3.0]
    assert pools[2]["container_spec"] == {"image_uri": REDUCTION_SERVER}


@pytest.mark.parametrize("how", HOW)
def test_no_cache(how: str, vertex: VertexServer, run: Run) -> None:
    job = received(vertex, run, how, "--target", "vertex-multinode-gpu", "--no-cache")
    assert '"enableCache": true' not in json.dumps(job["pipelineSpec"])


def test_flags_that_are_not_given_are_not_sent(vertex: VertexServer, run: Run) -> None:
    """Without account and network Vertex AI uses the project's; an empty text would mean something else."""
    job = received(vertex, run, "submit", "--target", "vertex-multinode-gpu", "--service-account", "")
    assert not {"serviceAccount", "network"} & set(job)
    assert not {"service_account", "network"} & set(job["runtimeConfig"]["parameterValues"])


def test_image_replaces_the_image_of_every_step(vertex: VertexServer, run: Run) -> None:
    image = "europe-docker.pkg.dev/other/own/python-own@sha256:" + "0" * 64
    job = received(vertex, run, "submit", "--target", "vertex-multinode-gpu", "--image", image)
    task, _, _ = training(job)
    assert {pool["container_spec"]["image_uri"] for pool in value_of(job, task, "worker_pool_specs")} == {image}
    launcher = "gcr.io/ml-pipeline/google-cloud-pipeline-components"
    executors = job["pipelineSpec"]["deploymentSpec"]["executors"].values()
    others = {e["container"]["image"] for e in executors if not e["container"]["image"].startswith(launcher)}
    assert others == {image}


def test_dataflow_takes_over_place_account_and_network(vertex: VertexServer, run: Run) -> None:
    flags = ["--target", "vertex-gpu", "--network", NETWORK, "--param", "preprocess_on=dataflow"]
    job = received(vertex, run, "submit", *flags, "--param", 'dataflow={"max_workers": 20}')
    values = job["runtimeConfig"]["parameterValues"]
    assert values["preprocess_on"] == "dataflow"
    assert json.loads(values["dataflow"]) == {
        "project": "my-project",
        "region": "us-central1",
        "service_account": ACCOUNT,
        "network": NETWORK,
        "sdk_container_image": f"{IMAGES}/python-beam:{VERSION}",
        "max_workers": 20,
    }


def test_mail_and_alert_come_whatever_happens(vertex: VertexServer, run: Run) -> None:
    extra = ("--notify", "owner@example.org", "--webhook-secret", "slack")
    job = received(vertex, run, "submit", "--target", "vertex-gpu", *extra)
    tasks = {task["taskInfo"]["name"]: task for task in job["pipelineSpec"]["root"]["dag"]["tasks"].values()}
    for name, parameter, value in (
        ("mail the outcome", "recipients", ["owner@example.org"]),
        ("alert", "secret", "projects/my-project/secrets/slack/versions/latest"),
    ):
        assert tasks[name]["triggerPolicy"]["strategy"] == "ALL_UPSTREAM_TASKS_COMPLETED"
        assert tasks[name]["inputs"]["parameters"][parameter]["runtimeValue"]["constant"] == value
