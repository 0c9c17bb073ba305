"""Executes what a service on loopback received: each task of the graph in a process of its own.

A container's command is the spec's, its executor input is filled in as the service does, and its outputs are below the
run's root in the bucket. What only a service has (machines, /gcs as a mount, results from its cache on Vertex AI) is
not there.
"""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.e2e.containers import Spec, container
from tests.loopback.graph_run import GraphRun, TaskFailed
from tests.loopback.kubeflow_launcher import Step
from tests.loopback.server import Json
from tests.loopback.vertex_server import VertexServer

PROJECT_NUMBER = "123"


class Processes:
    """Starts containers, and keeps what they printed."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        """
        Args:
          folder: of the containers' own files, one folder each.
          environment: what the machine adds to a container's.
        """
        self._folder, self._environment = folder, environment
        self._printed: dict[str, str] = {}

    def run(self, spec: Spec, name: str, component: str, parameters: Json, artifacts: Json, root: str) -> Json:
        """Runs a container to its end; returns the content of executor_output.json.

        Raises:
          TaskFailed: it ended with an error, or left no output.
        """
        folder = self._folder / name
        folder.mkdir(parents=True)
        declared = spec["components"][f"comp-{component}"].get("inputDefinitions", {}).get("parameters", {})
        parameters = {  # JSON has protobuf's numbers, which are floats
            key: int(value) if declared[key]["parameterType"] == "NUMBER_INTEGER" else value
            for key, value in parameters.items()
        }
        made = container(spec, component, folder, parameters, artifacts, root=root, **self._environment)
        process = made.run()
        self._printed[name] = process.stdout + process.stderr
        output = made.output()
        if process.returncode or output is None:
            raise TaskFailed(f"exit code {process.returncode}")
        return output

    def printed(self, name: str = "") -> str:
        """The end of what the containers printed whose names begin so."""
        return "".join(f"--- {key}\n{text[-3000:]}\n" for key, text in self._printed.items() if key.startswith(name))


class KubeflowSteps:
    """Starts the containers of a launcher's steps."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._processes = Processes(folder, environment)
        self._count = 0
        self.printed = self._processes.printed

    def __call__(self, step: Step) -> Json:
        self._count += 1
        given = {name: found["artifacts"][0] for name, found in step.executor_input["inputs"]["artifacts"].items()}
        made = step.executor_input["outputs"]["artifacts"]
        root = step.output(next(iter(made))).rpartition("/")[0] if made else ""
        name = f"{self._count:02d}-{step.component}"
        return self._processes.run(step.spec, name, step.component, step.parameters, given, root)


class VertexExecution:
    """Runs each job of a server as soon as it arrives, in a thread."""

    def __init__(self, server: VertexServer, folder: Path, environment: dict[str, str]) -> None:
        self.server = server
        self.processes = Processes(folder, environment)
        self.printed = self.processes.printed
        server.execute = lambda name: threading.Thread(target=_JobRun(self, name).run, daemon=True).start()

    def root_of(self, job: Json) -> str:
        """Where the outputs of a job's tasks are."""
        return f"{job['runtimeConfig']['gcsOutputDirectory']}/{PROJECT_NUMBER}/{job['name'].rpartition('/')[2]}"

    def display_names(self, spec: Spec) -> Iterator[tuple[str, str]]:
        """Display name by task."""
        for graph in (spec["root"]["dag"], *(c["dag"] for c in spec["components"].values() if "dag" in c)):
            for name, task in graph["tasks"].items():
                yield name, task["taskInfo"]["name"]


class _JobRun(GraphRun):
    """One job."""

    def __init__(self, execution: VertexExecution, name: str) -> None:
        self._execution, self._name = execution, name
        self._job = execution.server.jobs[name]
        self._root = execution.root_of(self._job)
        self._tasks: list[Json] = []
        filled = {
            "pipeline_job_uuid": str(10**12 + len(execution.server.jobs)),
            "pipeline_root": self._job["runtimeConfig"]["gcsOutputDirectory"],
        }
        super().__init__(self._job["pipelineSpec"], filled)

    def run(self) -> None:
        """Runs the job to its end."""
        self._tell("RUNNING")
        try:
            self.walk(self._job["runtimeConfig"].get("parameterValues", {}))
        except TaskFailed as error:
            self._tell("FAILED", error={"code": 9, "message": str(error)})
        except BaseException as error:  # else the test would wait for ever
            self._tell("FAILED", error={"code": 13, "message": f"the test's own service: {error!r}"})
            raise
        else:
            self._tell("SUCCEEDED")

    def run_task(self, name: str, task: Json, component: Json, taken: Json) -> Json:
        told = self._task_of(name, "RUNNING", startTime=_now())
        self._tell("RUNNING")
        where = f"{self._name.rpartition('/')[2]}/{name}"
        root = f"{self._root}/{name}_{told['taskId']}"
        short = task["componentRef"]["name"].removeprefix("comp-")
        try:
            output = self._execution.processes.run(
                self._spec, where, short, taken["parameters"], taken["artifacts"], root
            )
            values = output.get("parameterValues", {})
            if missing := set(component.get("outputDefinitions", {}).get("parameters", {})) - set(values):
                raise TaskFailed(f"no output parameter {sorted(missing)}")
        except TaskFailed as error:
            told.update(state="FAILED", endTime=_now(), error={"code": 9, "message": str(error)})
            raise TaskFailed(f"The DAG failed because some tasks failed. The failed tasks are: [{name}].") from error
        metadata = {f"output:{key}": str(value) for key, value in values.items()}
        told.update(state="SUCCEEDED", endTime=_now(), execution={"metadata": metadata})
        artifacts = {key: found["artifacts"][0] for key, found in output.get("artifacts", {}).items()}
        return {"parameters": values, "artifacts": artifacts}

    def task_skipped(self, name: str, task: Json) -> None:
        self._task_of(name, "NOT_TRIGGERED")

    def _task_of(self, name: str, state: str, **more: Any) -> Json:
        self._tasks.append({"taskId": str(len(self._tasks) + 1), "taskName": name, "state": state, **more})
        return self._tasks[-1]

    def _tell(self, state: str, **more: Any) -> None:
        """What a further read of the job finds."""
        details = {"taskDetails": [dict(task) for task in self._tasks]}
        with self._execution.server.lock:
            self._execution.server.jobs[self._name].update(state=f"PIPELINE_STATE_{state}", jobDetail=details, **more)


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")
