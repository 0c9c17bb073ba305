"""Runs in a row on an endpoint, under its launcher's rules: submitted with the command, executed with made outputs.

The steps' own work is left out. Where a step's outputs are, what is handed on, and what the registry says is real: the
components' folders and options, `find champion`, and Google's client against a Vertex AI on loopback.
"""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from kfp import dsl

from components.no_training import no_training
from components.remember import remember
from components.resolve_champion import resolve_champion
from components.should_run import should_run
from components.support.run_options import RunOptions, write_options
from components.support.stage import folder_of, stage
from components.training_due import training_due
from components.unchanged import unchanged
from pipeline.graph.targets import TARGETS
from tests.loopback.invocations import Run, endpoint_flags
from tests.loopback.kubeflow_launcher import Launcher, Step
from tests.loopback.kubeflow_launcher import Run as Launched
from tests.loopback.kubeflow_server import KubeflowServer
from tests.loopback.kubernetes_nodes import Pod, quantity, unschedulable
from trainer.promotion.due import Watched, write_watched
from trainer.registry.base import CHAMPION
from trainer.registry.uri import open_registry

if TYPE_CHECKING:
    from tests.gcs_emulator import GcsEmulator
    from tests.loopback.vertex_server import VertexServer

pytestmark = [pytest.mark.usefixtures("loopback_cloud"), pytest.mark.xdist_group("compiled")]

BULK = b"\0" * 2**20
"""Of every records' shard, checkpoint, model and list of predictions: what must not be copied."""
SMALL = 10_000
Json = dict[str, Any]
READY = {
    "preprocess": ("records", "preprocess-train", "manifest.json"),
    "train": ("checkpoint", "train", "train.json"),
    "export-model": ("model", "export", "saved_model.pb"),
    "evaluate": ("evaluation", "evaluate", "evaluation.json"),
}


class Steps:
    """Plays the containers."""

    def __init__(self, bucket: Any) -> None:
        self._bucket = bucket
        self.train_digest = "data-1"
        self.seen: dict[str, Step] = {}
        self.override: dict[str, Callable[[Step], Json]] = {}

    def __call__(self, step: Step) -> Json:
        self.seen[step.task] = step
        name = step.component.rstrip("-23")
        own = self.override.get(name) or getattr(self, f"_{name.replace('-', '_')}", self._folder)
        return own(step)

    def write(self, uri: str, content: bytes = b"{}") -> None:
        self._bucket.pipe_file(uri.removeprefix("gs://"), content)

    def _data_check(self, step: Step) -> Json:
        report = step.output("report")
        write_options(RunOptions(), report, step.parameters["run_id"])
        self.write(f"{report}/data.json")
        texts = {f"{name}_config": f"{name}: {step.parameters['config'][-40:]}" for name in ("preprocess", "train")}
        texts |= {"export_config": "e", "gate_config": "g", "train_digest": self.train_digest, "val_digest": "v"}
        return {"parameterValues": {**texts, "val_objects": 3}}

    def _folder(self, step: Step) -> Json:
        """A step that writes a large folder, which it hands on by its ready file."""
        name, folder, ready = READY[step.component.rstrip("-23")]
        artifact = SimpleNamespace(uri=step.output(name), metadata={})
        with stage(folder, artifact, ready=ready) as output:  # finds the run's options, as in the component
            self.write(f"{output}/bulk-0", BULK)
            self.write(f"{output}/{ready}")
        assert folder_of(artifact) == output
        values = {"folder": output, "digest": "d"} if name == "model" else {"Output": output}
        values = {} if name == "evaluation" else values
        return {"parameterValues": values, "artifacts": {name: {"artifacts": [{"uri": artifact.uri}]}}}

    def _compare_splits(self, _step: Step) -> Json:
        return {}

    def _should_run(self, step: Step) -> Json:
        return {"parameterValues": {"Output": should_run(**step.parameters)}}

    def _resolve_champion(self, step: Step) -> Json:
        found = resolve_champion(**step.parameters)
        return {"parameterValues": dict(zip(("version", "model", "status", "reason"), found, strict=True))}

    def _gate(self, step: Step) -> Json:
        decision = step.output("decision")
        self.write(f"{decision}/decision.json")
        page = {"page": {"artifacts": [{"uri": f"{decision}/decision.md"}]}}
        return {"parameterValues": {"Output": "promote"}, "artifacts": page}

    def _promote(self, step: Step) -> Json:
        model = step.executor_input["inputs"]["artifacts"]["model"]["artifacts"][0]["uri"]
        registry = open_registry(step.parameters["registry"])
        version = registry.publish(model.rpartition("/")[0], {}, key=step.parameters["run_id"])
        registry.swap_alias(CHAMPION, version, expected=registry.alias(CHAMPION))
        return {"parameterValues": {"Output": f"promoted: {version}"}}

    def _report(self, step: Step) -> Json:
        html = step.output("html")
        uris = {"html": f"{html}/report.html", "summary": f"{html}/summary.json"}
        artifacts = {name: {"artifacts": [{"uri": uri}]} for name, uri in uris.items()}
        return {"parameterValues": {"Output": uris["html"]}, "artifacts": artifacts}

    def _remember(self, step: Step) -> Json:
        return {"parameterValues": {"Output": remember(**step.parameters)}}

    def _unchanged(self, step: Step) -> Json:
        return {"parameterValues": {"Output": unchanged(**step.parameters)}}

    def _watch(self, step: Step) -> Json:
        watched = SimpleNamespace(uri=step.output("watched"), metadata={})
        write_options(RunOptions(), watched.uri, step.parameters["run_id"])
        verdict = "drifted" if step.parameters["version"] else "no champion"
        with stage("watch", watched, ready="watched.json") as output:
            made = Watched(verdict=verdict, said="made", page=f"{output}/watch.html")
            write_watched(made, f"{output}/watched.json")
            self.write(made.page)
        artifacts = {"watched": {"artifacts": [{"uri": watched.uri}]}, "page": {"artifacts": [{"uri": made.page}]}}
        return {"parameterValues": {"Output": verdict}, "artifacts": artifacts}

    def _training_due(self, step: Step) -> Json:
        due = dsl.Artifact(uri=step.output("due"))
        word = training_due(watched=given(step, "watched"), due=due, **step.parameters)
        return {"parameterValues": {"Output": word}, "artifacts": {"due": {"artifacts": [{"uri": due.uri}]}}}

    def _no_training(self, step: Step) -> Json:
        return {"parameterValues": {"Output": no_training(due=given(step, "due"), **step.parameters)}}


def given(step: Step, name: str) -> dsl.Artifact:
    """An input artifact of a step."""
    return dsl.Artifact(uri=step.executor_input["inputs"]["artifacts"][name]["artifacts"][0]["uri"])


@pytest.fixture
def steps(gcs: "GcsEmulator", kubeflow: KubeflowServer, monkeypatch: pytest.MonkeyPatch) -> Steps:
    import fsspec

    monkeypatch.delenv("STAGE_WORK_DIR", raising=False)
    bucket = fsspec.filesystem("gs")
    made = Steps(bucket)
    kubeflow.launcher = Launcher(files=bucket, start=made)
    return made


def launched(kubeflow: KubeflowServer, run: Run, *flags: str) -> Launched:
    """Submits a run, which the server executes at once."""
    code, _, err = run("submit", *endpoint_flags(kubeflow.url), *flags)
    assert code == 0, err
    return kubeflow.launched[-1]


def test_the_second_run_meets_the_champion_of_the_first(
    steps: Steps, kubeflow: KubeflowServer, vertex: "VertexServer", run: Run
) -> None:
    first = launched(kubeflow, run)
    assert (first.errors, first.state) == ({}, "SUCCEEDED")
    assert first.states["promote"] == "SUCCEEDED"
    assert first.states["hold"] == first.states["nothing new"] == "SKIPPED"
    assert steps.seen["evaluate champion"].parameters["status"] == "none"

    second = launched(kubeflow, run, "--seed", "1")
    assert (second.errors, second.state) == ({}, "SUCCEEDED")
    champion = steps.seen["evaluate champion"].parameters
    assert champion["status"] == "ready"
    assert champion["model"].startswith(f"{first.root}/export-model/"), "another run's folder"
    assert run("status", list(kubeflow.runs)[-1], "--endpoint", kubeflow.url)[0] == 0

    for launch in (first, second):
        assert {name: size for name, size in launch.copied.items() if size > SMALL} == {}, "no step copies bulk"
        assert launch.copied["train"] == launch.copied["preprocess train"] == 0, "training takes texts alone"
        assert 0 < launch.copied["report"] < SMALL


def test_what_is_reused(steps: Steps, kubeflow: KubeflowServer, vertex: "VertexServer", run: Run) -> None:
    """Artifacts have the same name in every run here: a key with one of them would reuse another data set's model."""
    cached = {"preprocess train", "train", "export", "evaluate candidate"}
    launched(kubeflow, run)
    again = launched(kubeflow, run)
    assert {name for name, state in again.states.items() if state == "CACHED"} == cached
    assert (again.errors, again.state) == ({}, "SUCCEEDED"), "inputs may be another run's"
    steps.train_digest = "data-2"
    other = launched(kubeflow, run)
    assert "CACHED" not in other.states.values()
    assert launched(kubeflow, run, "--only-if-changed").states["nothing new"] == "SUCCEEDED"


def test_watches_train_when_a_training_is_due(
    steps: Steps, kubeflow: KubeflowServer, vertex: "VertexServer", run: Run
) -> None:
    """The first watch finds no champion and no completed run, the second the same data, the third new labels."""
    flags = ["--pipeline", "watch", "--images", "gs://my-data/val", "--set", "watch.on_drift=retrain"]
    trains = []
    for digest in ("data-1", "data-1", "data-2", "data-2"):
        steps.train_digest = digest
        made = launched(kubeflow, run, *flags)
        assert (made.errors, made.state) == ({}, "SUCCEEDED")
        ran = {name for name, state in made.states.items() if state == "SUCCEEDED"}
        assert ran >= {"find current champion", "watch", "check the data", "training due"}
        assert ("no training" in ran) != ("train" in ran)
        trains.append("train" in ran)
        assert {name: size for name, size in made.copied.items() if size > SMALL} == {}, "no step copies bulk"
        assert run("status", list(kubeflow.runs)[-1], "--endpoint", kubeflow.url)[0] == 0
    assert trains == [True, False, True, False]
    assert steps.seen["find champion"].parameters["title"] == ""
    assert steps.seen["evaluate champion"].parameters["status"] == "ready", "the second is judged against the first"


def test_the_launcher_refuses_and_counts(
    steps: Steps, kubeflow: KubeflowServer, vertex: "VertexServer", run: Run
) -> None:
    """What the graph did before: an output in another folder, and artifacts that are whole folders."""

    def elsewhere(_step: Step) -> Json:
        uri = "gs://my-bucket/elsewhere/report.html"
        return {"parameterValues": {"Output": uri}, "artifacts": {"html": {"artifacts": [{"uri": uri}]}}}

    def whole(step: Step) -> Json:
        made = steps._folder(step)
        del made["artifacts"]  # where the driver put it: the folder
        return made

    steps.override = {"report": elsewhere, "preprocess": whole}
    launch = launched(kubeflow, run)
    assert launch.state == "FAILED"
    assert "does not have expected bucket prefix" in launch.errors["report"]
    assert launch.copied["report"] > len(BULK)
    assert kubeflow.runs[list(kubeflow.runs)[-1]]["state"] == "FAILED"


EVERYTHING = """
all: {secrets: [{name: key, folder: /secrets, key: k.json, env: GOOGLE_APPLICATION_CREDENTIALS}]}
gpu: {node_selector: {cloud.google.com/gke-accelerator: nvidia-tesla-a100}}
train: {gpus: 1, cpu: '10', memory: 70G, cache_claim: cache, shared_memory: 8Gi}
"""


@pytest.mark.parametrize(
    ("pods", "pending", "reason"),
    [
        (EVERYTHING, "", ""),
        ("train: {cpu: '96'}", "train", "Insufficient cpu"),
        ("train: {cache_claim: gone}", "train", 'persistentvolumeclaim "gone" not found'),
        ("all: {secrets: [{name: gone, key: k, env: K}]}", "check the data", 'secret "gone" not found'),
    ],
)
def test_pods_that_start_and_pods_that_wait_for_ever(
    pods: str,
    pending: str,
    reason: str,
    steps: Steps,
    kubeflow: KubeflowServer,
    vertex: "VertexServer",
    run: Run,
    tmp_path: Path,
) -> None:
    assert kubeflow.launcher
    kubeflow.launcher.claims, kubeflow.launcher.secrets = frozenset({"cache"}), frozenset({"key"})
    file = tmp_path / "pods.yaml"
    file.write_text(pods)
    launch = launched(kubeflow, run, "--pods", str(file))
    assert launch.state == ("RUNNING" if pending else "SUCCEEDED"), launch.errors
    assert list(launch.errors) == ([pending] if pending else [])
    assert reason in "".join(launch.errors.values())


TOLERATES = ({"key": "nvidia.com/gpu", "operator": "Exists"},)


@pytest.mark.parametrize(
    ("pod", "reason"),
    [
        (Pod(cpu=88, memory=600e9, gpus=8, tolerations=TOLERATES), ""),
        (Pod(cpu=96, memory=600e9, gpus=8, tolerations=TOLERATES), "Insufficient cpu"),
        (Pod(cpu=88, memory=720e9, gpus=8, tolerations=TOLERATES), "Insufficient memory"),
        (Pod(cpu=88, memory=600e9, gpus=16, tolerations=TOLERATES), "Insufficient nvidia.com/gpu"),
        (Pod(cpu=88, memory=600e9, gpus=8), "untolerated taint"),
        (Pod(cpu=1, node_selector={"pool": "none"}), "didn't match Pod's node affinity/selector"),
    ],
)
def test_the_scheduler(pod: Pod, reason: str) -> None:
    found = unschedulable(pod)
    assert (found == "") == (reason == "")
    assert reason in found


def test_a_whole_machine_is_never_free() -> None:
    """The rows for Vertex AI ask for one; those for an endpoint fit every step on a node."""
    waiting = {}
    for name in ("vertex-gpu", "kubeflow", "kubeflow-gpu"):
        pods = {
            step: Pod(cpu=float(row.cpu), memory=quantity(row.memory), gpus=row.accelerators, tolerations=TOLERATES)
            for step, row in TARGETS[name].resources.items()
        }
        waiting[name] = {step for step, pod in pods.items() if unschedulable(pod)}
    assert waiting["kubeflow"] == waiting["kubeflow-gpu"] == set()
    assert waiting["vertex-gpu"] == {"train"}
