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
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.loopback.kubernetes_nodes import NODES, Node, pod_of, unschedulable
from tests.loopback.server import Json

CLAUSE = re.compile(r"(!\()?inputs\.parameter_values\['([^']+)'\] == (?:(true)|'(\w+)')\)?")


@dataclass(frozen=True, kw_only=True)
class Step:
    """One container that is about to start."""

    task: str
    component: str
    container: Json
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

    def run(self, spec: Json, platform: Json, values: Json, *, root: str, run_id: str) -> "Run":
        """Runs a pipeline until it ends, or until a pod waits for ever."""
        return Run(self, spec, platform, values, root=root, run_id=run_id)


def _holds(condition: str, parameters: Json) -> bool:
    """Whether a condition of the forms that kfp's compiler writes holds."""
    for clause in condition.split(" && "):
        found = CLAUSE.fullmatch(clause)
        assert found, condition
        if (parameters[found[2]] == (True if found[3] else found[4])) == bool(found[1]):
            return False
    return True


class TaskFailed(Exception):
    """The launcher, or the step, ended with an error."""


class PodPending(Exception):
    """The pod waits for ever."""


class Run:
    """One run, and what became of it."""

    def __init__(self, launcher: Launcher, spec: Json, platform: Json, values: Json, *, root: str, run_id: str) -> None:
        self._launcher, self._spec, self._run_id = launcher, spec, run_id
        self._platform = platform.get("platforms", {}).get("kubernetes", {}).get("deploymentSpec", {})
        self.root = f"{root.rstrip('/')}/{spec['pipelineInfo']['name']}/{run_id}"
        self.states: dict[str, str] = {}
        self.errors: dict[str, str] = {}
        self.copied: dict[str, int] = {}
        """Bytes that the launcher copied into each task's pod."""
        declared = spec["root"].get("inputDefinitions", {}).get("parameters", {})
        given = {name: facts["defaultValue"] for name, facts in declared.items() if "defaultValue" in facts} | values
        self.state = "SUCCEEDED"
        try:
            self._graph(spec["root"]["dag"], {"parameters": given, "artifacts": {}})
        except PodPending:
            self.state = "RUNNING"
        except TaskFailed:
            self.state = "FAILED"

    def details(self) -> list[Json]:
        """The tasks as the API returns them."""
        return [
            {
                "display_name": name,
                "state": state,
                **({"error": {"message": self.errors[name]}} if name in self.errors else {}),
            }
            for name, state in self.states.items()
        ]

    def _graph(self, dag: Json, scope: Json) -> Json:
        """Runs the tasks of a graph in their order; returns its outputs."""
        waiting, done = dict(dag["tasks"]), {}
        while waiting:
            name = next(n for n, task in waiting.items() if not set(task.get("dependentTasks", ())) & set(waiting))
            done[name] = self._task(name, waiting.pop(name), scope, done)
        outputs: Json = {"parameters": {}, "artifacts": {}}
        for name, source in dag.get("outputs", {}).get("parameters", {}).items():
            one = source.get("valueFromParameter")
            choices = [one] if one else source["valueFromOneof"]["parameterSelectors"]
            for choice in choices:
                found = done[choice["producerSubtask"]]["parameters"]
                if choice["outputParameterKey"] in found:
                    outputs["parameters"][name] = found[choice["outputParameterKey"]]
        return outputs

    def _task(self, name: str, task: Json, scope: Json, done: dict[str, Json]) -> Json:
        taken = {
            kind: {key: self._resolved(source, scope[kind], done, kind) for key, source in given.items()}
            for kind, given in ((kind, task.get("inputs", {}).get(kind, {})) for kind in ("parameters", "artifacts"))
        }
        condition = task.get("triggerPolicy", {}).get("condition")
        if condition and not _holds(condition, taken["parameters"]):
            self._skip(task)
            return {"parameters": {}, "artifacts": {}}
        component = self._spec["components"][task["componentRef"]["name"]]
        if "dag" in component:
            return self._graph(component["dag"], taken)
        shown = task["taskInfo"]["name"]
        try:
            outputs = self._container(name, task, component, taken)
        except (TaskFailed, PodPending) as error:
            self.states[shown] = "FAILED" if isinstance(error, TaskFailed) else "PENDING"
            self.errors[shown] = str(error)
            raise
        self.states.setdefault(shown, "SUCCEEDED")
        return outputs

    def _skip(self, task: Json) -> None:
        component = self._spec["components"][task["componentRef"]["name"]]
        for inner in component.get("dag", {}).get("tasks", {}).values():
            self._skip(inner)
        if "dag" not in component:
            self.states[task["taskInfo"]["name"]] = "SKIPPED"

    def _resolved(self, source: Json, scope: Json, done: dict[str, Json], kind: str) -> Any:
        if "runtimeValue" in source:
            constant = source["runtimeValue"]["constant"]
            return self._run_id if constant == "{{$.pipeline_job_uuid}}" else constant
        if name := source.get("componentInputParameter") or source.get("componentInputArtifact"):
            return scope[name]
        produced = source.get("taskOutputParameter") or source["taskOutputArtifact"]
        return done[produced["producerTask"]][kind][produced.get("outputParameterKey") or produced["outputArtifactKey"]]

    def _container(self, name: str, task: Json, component: Json, taken: Json) -> Json:
        label = component["executorLabel"]
        container = self._spec["deploymentSpec"]["executors"][label]["container"]
        self._schedule(container, self._platform.get("executors", {}).get(label, {}))
        declared = component.get("inputDefinitions", {}).get("parameters", {})
        defaults = {key: facts["defaultValue"] for key, facts in declared.items() if "defaultValue" in facts}
        parameters = {**defaults, **taken["parameters"]}
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
            container=container,
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
