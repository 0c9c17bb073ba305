"""The walk through a compiled graph that every backend does: order, conditions, where a task's inputs come from."""

import re
from abc import ABC, abstractmethod
from typing import Any

from tests.loopback.server import Json

VALUE = re.compile(r"inputs\.parameter_values\['(.+?)'\]")
OPERATORS = (("&&", " and "), ("||", " or "), ("!(", " not ("), ("== true", "== True"))
PLACEHOLDER = re.compile(r"\{\{\$\.(\w+)\}\}")


class TaskFailed(Exception):
    """The step, or what the backend does around it, ended with an error."""


class GraphRun(ABC):
    """One run of a compiled pipeline, one task after the other."""

    def __init__(self, spec: Json, placeholders: dict[str, str]) -> None:
        """
        Args:
          spec: compiled.
          placeholders: what the backend fills in, such as pipeline_job_uuid.
        """
        self._spec, self._placeholders = spec, placeholders

    def walk(self, values: Json) -> Json:
        """Runs the pipeline; returns its output parameters.

        Args:
          values: the pipeline's parameters; others take their default.

        Raises:
          TaskFailed: a task failed; none after it was started.
        """
        declared = self._spec["root"].get("inputDefinitions", {}).get("parameters", {})
        given = {name: facts["defaultValue"] for name, facts in declared.items() if "defaultValue" in facts} | values
        found: Json = self._graph(self._spec["root"]["dag"], {"parameters": given, "artifacts": {}})["parameters"]
        return found

    @abstractmethod
    def run_task(self, name: str, task: Json, component: Json, taken: Json) -> Json:
        """Runs a task that has a container; returns its outputs: values of `parameters`, and `artifacts`.

        Args:
          name: of the task in the spec.
          task: its part of the graph.
          component: what it runs.
          taken: its inputs, as the outputs.
        """

    @abstractmethod
    def task_skipped(self, name: str, task: Json) -> None:
        """A task with a container, in a branch that is not taken."""

    def _graph(self, dag: Json, scope: Json) -> Json:
        """Runs the tasks of a graph in their order; returns its outputs."""
        waiting, done = dict(dag["tasks"]), {}
        while waiting:
            name = next(n for n, task in waiting.items() if not set(task.get("dependentTasks", ())) & set(waiting))
            done[name] = self._task(name, waiting.pop(name), scope, done)
        outputs: Json = {"parameters": {}, "artifacts": {}}
        for name, source in dag.get("outputs", {}).get("parameters", {}).items():
            one = source.get("valueFromParameter")
            for choice in [one] if one else source["valueFromOneof"]["parameterSelectors"]:
                found = done[choice["producerSubtask"]]["parameters"]
                if choice["outputParameterKey"] in found:
                    outputs["parameters"][name] = found[choice["outputParameterKey"]]
        return outputs

    def _task(self, name: str, task: Json, scope: Json, done: dict[str, Json]) -> Json:
        taken = {
            kind: {key: self._resolved(source, scope[kind], done, kind) for key, source in given.items()}
            for kind, given in ((kind, task.get("inputs", {}).get(kind, {})) for kind in ("parameters", "artifacts"))
        }
        if not holds(task.get("triggerPolicy", {}).get("condition", "true == true"), taken["parameters"]):
            self._skip(name, task)
            return {"parameters": {}, "artifacts": {}}
        component = self._spec["components"][task["componentRef"]["name"]]
        if "dag" in component:
            return self._graph(component["dag"], taken)
        declared = component.get("inputDefinitions", {}).get("parameters", {})
        defaults = {key: facts["defaultValue"] for key, facts in declared.items() if "defaultValue" in facts}
        taken["parameters"] = defaults | taken["parameters"]
        return self.run_task(name, task, component, taken)

    def _skip(self, name: str, task: Json) -> None:
        component = self._spec["components"][task["componentRef"]["name"]]
        if "dag" not in component:
            self.task_skipped(name, task)
        for inner_name, inner in component.get("dag", {}).get("tasks", {}).items():
            self._skip(inner_name, inner)

    def _resolved(self, source: Json, scope: Json, done: dict[str, Json], kind: str) -> Any:
        if "runtimeValue" in source:
            constant = source["runtimeValue"]["constant"]
            found = PLACEHOLDER.fullmatch(constant) if isinstance(constant, str) else None
            return self._placeholders[found[1]] if found else constant
        if name := source.get("componentInputParameter") or source.get("componentInputArtifact"):
            return scope[name]
        produced = source.get("taskOutputParameter") or source["taskOutputArtifact"]
        return done[produced["producerTask"]][kind][produced.get("outputParameterKey") or produced["outputArtifactKey"]]


def holds(condition: str, values: Json) -> bool:
    """Whether a task's condition holds; the compiler writes only comparisons, && and !."""
    text = VALUE.sub(lambda found: repr(values[found[1]]), condition)
    for theirs, ours in OPERATORS:
        text = text.replace(theirs, ours)
    return bool(eval(text.replace("true ==", "True =="), {"__builtins__": {}}))
