"""A run of a compiled spec on this machine, container by container: inputs come from where the graph says."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from components.support import run_options
from tests.e2e.containers import Container, Spec, artifact, container

CHANNEL = "pipelinechannel--"
BRANCHES = re.compile(r"condition-branches-\d+$")


class ContainerRun:
    """Keeps what the finished tasks put out; conditions are the test's to follow."""

    def __init__(self, spec: Spec, folder: Path, values: dict[str, Any], **placeholders: str):
        """
        Args:
          spec: compiled.
          folder: of the run.
          values: the pipeline's parameters; others take their default.
          placeholders: what the service fills in, such as pipeline_job_uuid.
        """
        self.spec, self.folder, self.placeholders = spec, folder, placeholders
        declared = spec["root"]["inputDefinitions"]["parameters"]
        self.values = {name: facts["defaultValue"] for name, facts in declared.items() if "defaultValue" in facts}
        self.values |= values
        self.outcome = ""
        """What the branch that was taken returned."""
        self._outputs: dict[str, dict[str, Any]] = {}
        dags = [spec["root"]["dag"], *(c["dag"] for c in spec["components"].values() if "dag" in c)]
        self._tasks = {name: task for dag in dags for name, task in dag["tasks"].items()}

    def container(self, task: str, changes: dict[str, Any] | None = None, **more: Any) -> Container:
        """The task's container, ready to start; `changes` replace parameters, the rest is `containers.container`'s."""
        folder = self.folder / task
        if "pool" in more:  # each replica has a machine of its own
            folder = self.folder / f"{task}-{more['pool']}"
        folder.mkdir(parents=True, exist_ok=True)
        inputs = self._tasks[task].get("inputs", {})
        parameters = {name: self._parameter(source) for name, source in inputs.get("parameters", {}).items()}
        artifacts = {name: self._artifact(source) for name, source in inputs.get("artifacts", {}).items()}
        name = self._tasks[task]["componentRef"]["name"].removeprefix("comp-")
        declared = self.spec["components"][f"comp-{name}"].get("inputDefinitions", {}).get("parameters", {})
        if "worker_pool_specs" in declared:  # what the launcher takes for itself
            parameters = {key: value for key, value in parameters.items() if not declared[key].get("isOptional")}
        for key, value in parameters.items():  # the spec has all numbers as protobuf's, which are floats
            if declared[key]["parameterType"] == "NUMBER_INTEGER":
                parameters[key] = int(value)
        return container(self.spec, name, folder, {**parameters, **(changes or {})}, artifacts, **more)

    def run(self, task: str, **more: Any) -> subprocess.CompletedProcess[str]:
        """Runs the task to its end, which must be a good one."""
        made = self.container(task, **more)
        process = made.run()
        assert process.returncode == 0, process.stdout[-2000:] + process.stderr[-4000:]
        self.keep(task, made)
        return process

    def keep(self, task: str, made: Container) -> None:
        """Takes the outputs of a container that ended well."""
        output = made.output()
        assert output is not None
        self._outputs[task] = output

    def put_values(self, task: str, **values: Any) -> None:
        """Sets output parameters of a task that is not run."""
        self._outputs.setdefault(task, {"artifacts": {}, "parameterValues": {}})["parameterValues"] |= values

    def put(self, task: str, name: str, uri: Path, **metadata: Any) -> None:
        """Gives a task an output artifact that the test made."""
        artifacts = self._outputs.setdefault(task, {"artifacts": {}, "parameterValues": {}})["artifacts"]
        artifacts[name] = {"artifacts": [artifact(uri, **metadata)]}

    def go_on_from(self, other: "ContainerRun") -> None:
        """Takes over what the tasks of another run put out, and its options."""
        self._outputs = dict(other._outputs)
        if other.folder != self.folder:
            shutil.copy(other.folder / run_options.NAME, self.folder)

    def result(self, task: str, name: str = "Output") -> Any:
        """An output parameter of the task, by default the unnamed one."""
        return self._outputs[task]["parameterValues"][name]

    def uri(self, task: str, name: str) -> str:
        """Of an output artifact."""
        found: str = self._outputs[task]["artifacts"][name]["artifacts"][0]["uri"]
        return found

    def _parameter(self, source: dict[str, Any]) -> Any:
        if "runtimeValue" in source:
            constant = source["runtimeValue"]["constant"]
            filled = re.fullmatch(r"\{\{\$\.(\w+)\}\}", constant) if isinstance(constant, str) else None
            return self.placeholders[filled[1]] if filled else constant
        if "taskOutputParameter" in source:
            produced = source["taskOutputParameter"]
            if BRANCHES.match(produced["producerTask"]):
                return self.outcome
            return self._outputs[produced["producerTask"]]["parameterValues"][produced["outputParameterKey"]]
        name = source["componentInputParameter"].removeprefix(CHANNEL)
        if name in self.values:
            return self.values[name]
        task, _, key = name.rpartition("-")
        return self._outputs[task]["parameterValues"][key]

    def _artifact(self, source: dict[str, Any]) -> dict[str, Any]:
        if "taskOutputArtifact" in source:
            produced = source["taskOutputArtifact"]
            task, key = produced["producerTask"], produced["outputArtifactKey"]
        else:
            task, _, key = source["componentInputArtifact"].removeprefix(CHANNEL).rpartition("-")
        found: dict[str, Any] = self._outputs[task]["artifacts"][key]["artifacts"][0]
        return found
