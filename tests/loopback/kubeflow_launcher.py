"""What Kubeflow Pipelines' driver and launcher do around each step of a run, without its containers.

Read in the backend's source (launcher_v2.go, driver, cacheutils/cache.go), not seen on a cluster:
- an output artifact whose URI is not below the run's own root fails the step (`uploadOutputArtifacts`);
- before the step starts, every input artifact is copied into the pod (`downloadArtifacts`): all objects whose names
  begin with its URI. Here their bytes are counted;
- the limits of cpu and memory are requests where there are none, and a pod that no node can take stays Pending;
- a missing volume claim or secret keeps a pod from starting;
- a cached task is keyed by its parameters and by the names of its input artifacts. A name need not change with the
  content, so here it never does.
"""

import json
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.loopback.graph_run import GraphRun, TaskFailed
from tests.loopback.kubernetes_nodes import NODES, Node, pod_of, unschedulable
from tests.loopback.server import Json


@dataclass(frozen=True, kw_only=True)
class Step:
    """One container that is about to start."""

    task: str
    component: str
    spec: Json
    """Of the whole run."""
    executor_input: Json
    """As the launcher fills it in; `outputs` holds where the step's artifacts belong."""

    @property
    def parameters(self) -> Json:
        found: Json = self.executor_input["inputs"]["parameterValues"]
        return found

    def output(self, name: str) -> str:
        """URI that the driver chose for an output artifact."""
        uri: str = self.executor_input["outputs"]["artifacts"][name]["artifacts"][0]["uri"]
        return uri


@dataclass(kw_only=True)
class Launcher:
    """Runs compiled pipelines, one task after the other."""

    files: Any
    """gcsfs."""
    start: Callable[[Step], Json]
    """Plays a step's container; returns the content of executor_output.json, or raises."""
    nodes: tuple[Node, ...] = NODES
    claims: frozenset[str] = frozenset()
    secrets: frozenset[str] = frozenset()
    cache: dict[str, Json] = field(default_factory=dict)

    in_background: bool = False
    """Whether a run goes on while the API answers."""

    def run(self, spec: Json, platform: Json, values: Json, *, root: str, run_id: str) -> "Run":
        """Runs a pipeline until it ends, or until a pod waits for ever."""
        made = Run(self, spec, platform, root=root, run_id=run_id)
        if self.in_background:
            threading.Thread(target=made.go, args=(values,), daemon=True).start()
        else:
            made.go(values)
        return made


class PodPending(Exception):
    """The pod waits for ever."""


class Run(GraphRun):
    """One run, and what became of it."""

    def __init__(self, launcher: Launcher, spec: Json, platform: Json, *, root: str, run_id: str) -> None:
        super().__init__(spec, {"pipeline_job_uuid": run_id})
        self._launcher = launcher
        self._platform = platform.get("platforms", {}).get("kubernetes", {}).get("deploymentSpec", {})
        self.root = f"{root.rstrip('/')}/{spec['pipelineInfo']['name']}/{run_id}"
        self.states: dict[str, str] = {}
        self.errors: dict[str, str] = {}
        self.copied: dict[str, int] = {}
        """Bytes that the launcher copied into each task's pod."""
        self.state = "RUNNING"

    def go(self, values: Json) -> None:
        """Runs to the end; with a pod that waits for ever, the run stays where it is."""
        try:
            self.walk(values)
        except PodPending:
            return
        except TaskFailed:
            self.state = "FAILED"
        else:
            self.state = "SUCCEEDED"

    def details(self) -> list[Json]:
        """The tasks as the API returns them."""
        return [
            {
                "display_name": name,
                "state": state,
                **({"error": {"message": self.errors[name]}} if name in self.errors else {}),
            }
            for name, state in list(self.states.items())
        ]

    def run_task(self, name: str, task: Json, component: Json, taken: Json) -> Json:
        shown = task["taskInfo"]["name"]
        self.states[shown] = "RUNNING"
        try:
            outputs = self._container(name, task, component, taken)
        except (TaskFailed, PodPending) as error:
            self.states[shown] = "FAILED" if isinstance(error, TaskFailed) else "PENDING"
            self.errors[shown] = str(error)
            raise
        if self.states.get(shown) != "CACHED":
            self.states[shown] = "SUCCEEDED"
        return outputs

    def task_skipped(self, name: str, task: Json) -> None:
        self.states[task["taskInfo"]["name"]] = "SKIPPED"

    def _container(self, name: str, task: Json, component: Json, taken: Json) -> Json:
        label = component["executorLabel"]
        container = self._spec["deploymentSpec"]["executors"][label]["container"]
        self._schedule(container, self._platform.get("executors", {}).get(label, {}))
        parameters = taken["parameters"]
        key = json.dumps([container, parameters, sorted(taken["artifacts"])], sort_keys=True)
        cached = task.get("cachingOptions", {}).get("enableCache", False)
        if cached and key in self._launcher.cache:
            self.states[task["taskInfo"]["name"]] = "CACHED"
            return self._launcher.cache[key]
        shown = task["taskInfo"]["name"]
        self.copied[shown] = sum(self._copied(artifact["uri"]) for artifact in taken["artifacts"].values())
        outputs = component.get("outputDefinitions", {})
        place = f"{self.root}/{name}/{uuid.uuid4()}"
        step = Step(
            task=shown,
            component=task["componentRef"]["name"].removeprefix("comp-"),
            spec=self._spec,
            executor_input={
                "inputs": {
                    "parameterValues": parameters,
                    "artifacts": {key: {"artifacts": [found]} for key, found in taken["artifacts"].items()},
                },
                "outputs": {
                    "parameters": {
                        key: {"outputFile": f"/tmp/kfp/outputs/{key}"} for key in outputs.get("parameters", {})
                    },
                    "artifacts": {
                        key: {"artifacts": [{"uri": f"{place}/{key}", "type": facts["artifactType"], "metadata": {}}]}
                        for key, facts in outputs.get("artifacts", {}).items()
                    },
                    "outputFile": "/tmp/kfp_outputs/output_metadata.json",
                },
            },
        )
        try:
            written = self._launcher.start(step)
        except Exception as error:
            raise TaskFailed(f"exit status 1: {type(error).__name__}: {error}") from error
        result = self._collected(step, written, outputs)
        if cached:
            self._launcher.cache[key] = result
        return result

    def _collected(self, step: Step, written: Json, outputs: Json) -> Json:
        parameters = written.get("parameterValues", {})
        missing = set(outputs.get("parameters", {})) - set(parameters)
        if missing:
            raise TaskFailed(f"failed to read output parameter name={sorted(missing)[0]!r}")
        artifacts = {}
        for name, given in step.executor_input["outputs"]["artifacts"].items():
            changed = written.get("artifacts", {}).get(name, {}).get("artifacts", [{}])[0]
            artifact = {**given["artifacts"][0], **{key: value for key, value in changed.items() if value}}
            if not artifact["uri"].startswith(f"{self.root}/"):
                raise TaskFailed(
                    f"failed to upload output artifact {name!r}: URI {artifact['uri']} does not have expected bucket "
                    f"prefix {self.root}/"
                )
            artifacts[name] = artifact
        return {"parameters": parameters, "artifacts": artifacts}

    def _copied(self, uri: str) -> int:
        """Bytes of all objects whose names begin with the URI, as the launcher lists them."""
        bucket, _, prefix = uri.removeprefix("gs://").partition("/")
        self._launcher.files.invalidate_cache()
        found = self._launcher.files.find(f"{bucket}/{prefix.rpartition('/')[0]}", detail=True)
        return sum(int(facts["size"]) for name, facts in found.items() if name.startswith(f"{bucket}/{prefix}"))

    def _schedule(self, container: Json, platform: Json) -> None:
        wanted = {
            "persistentvolumeclaim": (platform.get("pvcMount", ()), "pvcNameParameter", self._launcher.claims),
            "secret": (
                [*platform.get("secretAsEnv", ()), *platform.get("secretAsVolume", ())],
                "secretNameParameter",
                self._launcher.secrets,
            ),
        }
        for kind, (entries, key, known) in wanted.items():
            for entry in entries:
                name = entry[key]["runtimeValue"]["constant"]
                if name not in known:
                    raise PodPending(f'{kind} "{name}" not found')
        if reason := unschedulable(pod_of(container, platform), self._launcher.nodes):
            raise PodPending(reason)
