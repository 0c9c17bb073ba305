"""A file of pods: what it may say, and what Kubernetes is told."""

from pathlib import Path
from typing import Any

import pytest
from kfp import dsl

from beam_preprocess.base.errors import InputError
from pipeline.graph import kfp_spec
from pipeline.graph.pods import CACHED, Pod, Secret, Toleration, pod_of, read_pods
from pipeline.graph.targets import TARGETS
from pipeline.graph.tasks import Tasks
from tests.pipeline.graph.golden import in_a_thread

STEPS = TARGETS["kubeflow-gpu"].resources
FILE = """
all:
  tolerations: [{key: pool, operator: Equal, value: ml, effect: NoSchedule}]
  secrets:
    - {name: google, folder: /secrets/google, key: key.json, env: GOOGLE_APPLICATION_CREDENTIALS}
    - {name: hook, key: url, env: WEBHOOK}
gpu: {node_selector: {cloud.google.com/gke-accelerator: nvidia-l4}}
train: {cpu: '20', memory: 80G, gpus: 2, shared_memory: 8Gi, cache_claim: cache}
"""


def train(text: str) -> str:
    return text


def gate(text: str) -> str:
    return text


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "pods.yaml"
    path.write_text(FILE)
    return path


def test_what_kubernetes_is_told(file: Path) -> None:
    target = TARGETS["kubeflow-gpu"].with_pods(read_pods(str(file), STEPS))

    def compiled() -> Any:
        @dsl.pipeline(name="probe")
        def probe() -> None:
            task = Tasks(target)
            task(train, "the training", cached=True, text="a")
            task(gate, "the gate", cached=False, text="b")

        return probe

    pipeline = in_a_thread(compiled)
    told = kfp_spec.platform(pipeline)["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    trains, gates = told["exec-train"], told["exec-gate"]
    assert trains["nodeSelector"] == {"labels": {"cloud.google.com/gke-accelerator": "nvidia-l4"}}
    assert "nodeSelector" not in gates
    assert [taint["key"] for taint in trains["tolerations"]] == ["pool", "nvidia.com/gpu"]
    assert gates["tolerations"] == [{"key": "pool", "operator": "Equal", "value": "ml", "effect": "NoSchedule"}]
    (shared,) = trains["emptyDirMounts"]
    assert (shared["mountPath"], shared["medium"], shared["sizeLimit"]) == ("/dev/shm", "Memory", "8Gi")
    assert trains["pvcMount"][0]["mountPath"] == "/cache"
    assert gates["secretAsVolume"][0]["mountPath"] == "/secrets/google"
    assert gates["secretAsEnv"][0]["keyToEnv"] == [{"secretKey": "url", "envVar": "WEBHOOK"}]
    container = kfp_spec.as_dict(pipeline)["deploymentSpec"]["executors"]["exec-train"]["container"]
    variables = {entry["name"]: entry["value"] for entry in container["env"]}
    assert variables.items() >= CACHED.items()
    assert variables["GOOGLE_APPLICATION_CREDENTIALS"] == "/secrets/google/key.json"
    assert variables["STAGE_CORES"] == "20"
    asked = container["resources"]
    assert (asked["resourceCpuLimit"], asked["resourceMemoryLimit"]) == ("20", "80G")
    assert (asked["accelerator"]["resourceType"], asked["accelerator"]["resourceCount"]) == ("nvidia.com/gpu", "2")
    assert '"num_gpus": 2' in target.runtime, "training is told of as many GPUs as its pod has"


def test_the_documentations_example(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "targets.md").read_text()
    path = tmp_path / "pods.yaml"
    path.write_text(page.split("## On a Kubeflow endpoint")[1].split("```yaml\n")[1].split("```")[0])
    target = TARGETS["kubeflow-gpu"].with_pods(read_pods(str(path), STEPS))
    assert (target.accelerator_count, target.resources["train"].memory) == (4, "280G")


def test_the_narrower_group_wins() -> None:
    pods = {
        "all": Pod(shared_memory="1Gi", node_selector={"pool": "ml", "zone": "a"}),
        "train": Pod(shared_memory="8Gi", node_selector={"zone": "b"}),
        "gpu": Pod(shared_memory="4Gi"),
    }
    found = pod_of(pods, "train", accelerated=True)
    assert found == Pod(shared_memory="8Gi", node_selector={"pool": "ml", "zone": "b"})
    assert pod_of(pods, "evaluate", accelerated=True).shared_memory == "4Gi"
    assert pod_of(pods, "evaluate", accelerated=False).shared_memory == "1Gi"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[]", "not a mapping of steps"),
        ("trian: {cpu: '2'}", "trian: unknown; known are all, gpu,"),
        ("train: {cpus: '2'}", "unknown key 'cpus'"),
        ("train: {cpu: 2}", "train: cpu"),
        ("train: {cpu: 500m}", "a whole number of CPUs"),
        ("train: {memory: 64GB}", "memory, such as 48G"),
        ("train: {gpus: -1}", "gpus: -1"),
        ("evaluate: {gpus: 2}", "gpus are those of train"),
        ("all: {cpu: '2'}", "cpu and memory are a single step's"),
        ("all: {cache_claim: My_Claim}", "a name of Kubernetes"),
        ("all: {shared_memory: 8G}", "a size, such as 16Gi"),
        ("all: {tolerations: [{operator: Equal, key: pool}]}", "Equal goes with a key and a value"),
        ("all: {tolerations: [{effect: Never}]}", "NoSchedule"),
        ("all: {secrets: [{name: key}]}", "give key and env, or folder"),
        ("all: {secrets: [{name: key, folder: secrets}]}", "an absolute path"),
    ],
)
def test_a_wrong_file(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "pods.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"pods") as error:
        read_pods(str(path), STEPS)
    assert says in str(error.value)


def test_gpus_for_a_target_without() -> None:
    with pytest.raises(InputError, match="trains without GPUs"):
        TARGETS["kubeflow"].with_pods({"train": Pod(gpus=1)})


def test_values_that_go_together() -> None:
    assert Toleration(key="pool").operator == "Exists"
    assert Secret(name="key", folder="/secrets").env == ""
