"""Runs on an open-source Kubeflow Pipelines endpoint, through kfp's own client."""

import copy
import json
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from beam_preprocess.base.errors import InputError
from pipeline.service.kubeflow.client import quiet
from pipeline.service.kubeflow.endpoint import Endpoint
from pipeline.service.request_checks import bucket
from pipeline.service.run_view import RunView, TaskView
from pipeline.service.submission import Submission

PAGE = 200
"""The maximum number of runs per page that the service allows."""

_STATES = {"CANCELED": "CANCELLED", "CANCELING": "CANCELLING", "RUNTIME_STATE_UNSPECIFIED": "UNSPECIFIED"}


@dataclass(frozen=True, kw_only=True, slots=True)
class KubeflowRunsAs:
    """Where a run writes its files, and the Kubernetes service account its steps run as."""

    pipeline_root: str
    service_account: str = ""
    network: str = ""
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.pipeline_root:
            raise InputError(
                "--pipeline-root: not given; the steps write only to Cloud Storage, and an installation's own root is "
                "often another store (minio://…); give gs://BUCKET/FOLDER"
            )
        bucket("--pipeline-root", self.pipeline_root)
        if self.labels:
            raise InputError(f"--labels {self.labels[0]}: runs of an endpoint have no labels; leave them out")
        if self.network:
            raise InputError(f"--network {self.network}: steps of an endpoint run in its own cluster; leave it out")

    def context(self) -> dict[str, str]:
        """The part that belongs to a submission's identity."""
        return {"root": self.pipeline_root, "as": self.service_account}


class KubeflowRuns:
    """The runs of one installation."""

    def __init__(self, url: str, namespace: str):
        self._endpoint = Endpoint(url, namespace)

    def submit(self, submission: Submission, runs_as: KubeflowRunsAs, now: datetime) -> RunView:
        """Creates the run of this invocation, or finds it by its name.

        The service chooses the ids and accepts a name twice. So after an attempt without an answer we look for the
        name before the next attempt. A run that becomes visible only after that look would exist twice.

        The name is also the key under which the run publishes its model. Two invocations with the same content in one
        second are two runs here, and with one key the second would take the first one's version for its own.
        """
        name = f"{submission.job_id(now, **runs_as.context())}-{secrets.token_hex(4)}"
        submission = submission.with_run_id(name)
        experiment = self._endpoint.experiment(submission.pipeline)
        with package(submission.spec, submission.platform, runs_as.pipeline_root) as path:
            create = partial(
                self._endpoint.client.run_pipeline,
                experiment_id=experiment,
                job_name=name,
                pipeline_package_path=path,
                params=submission.parameters,
                pipeline_root=runs_as.pipeline_root,
                service_account=runs_as.service_account or None,
            )
            created = self._endpoint.call(
                f"create the run {name}",
                quiet()(create),
                permission="create runs",
                after_doubt=lambda: self._named(name, experiment),
            )
        return self._view(created)

    def get(self, run_id: str) -> RunView:
        """One run."""
        return self._view(
            self._endpoint.call(
                f"read the run {run_id}", lambda: self._endpoint.client.get_run(run_id), permission="get runs"
            )
        )

    def list(self, *, limit: int, pipeline: str) -> "list[RunView]":
        """The newest runs of a pipeline's experiment first, as many as asked for."""
        experiment = self._endpoint.found_experiment(pipeline)
        if experiment is None:
            return []
        views: list[RunView] = []
        token = ""
        while True:
            asked = partial(
                self._endpoint.client.list_runs,
                page_token=token,
                page_size=min(limit - len(views), PAGE),
                sort_by="created_at desc",
                experiment_id=experiment,
            )
            page: Any = self._endpoint.call("list runs", asked, permission="list runs")
            views += [self._view(run) for run in page.runs or ()]
            token = page.next_page_token or ""
            if not token or len(views) >= limit:
                return views

    def cancel(self, run_id: str) -> None:
        """Requests the cancellation of a run."""
        self._endpoint.call(
            f"cancel {run_id}", lambda: self._endpoint.client.terminate_run(run_id), permission="terminate runs"
        )

    def logs(self, run_id: str, *, task: str, limit: int) -> Iterator[str]:
        """The tasks' errors and the run's page; the API returns no log lines."""
        view = self.get(run_id)
        for found in view.chosen(task):
            yield f"== {found.name}: {found.state}"
            if found.error:
                yield f"error: {found.error}"
        yield f"the log of each task is on the run's page: {view.link}"

    def _named(self, name: str, experiment: str) -> Any:
        found = self._endpoint.client.list_runs(experiment_id=experiment, page_size=50, sort_by="created_at desc")
        return next((run for run in found.runs or () if run.display_name == name), None)

    def _view(self, run: Any) -> RunView:
        details = run.run_details.task_details if run.run_details else None
        return RunView(
            run_id=run.run_id,
            state=_STATES.get(run.state or "PENDING", run.state or "PENDING"),
            created=run.created_at.isoformat(timespec="seconds") if run.created_at else "",
            link=f"{self._endpoint.url}/#/runs/details/{run.run_id}",
            error=run.error.message if run.error else "",
            name=run.display_name or "",
            tasks=tuple(
                TaskView(
                    task=task.display_name or "",
                    name=task.display_name or "",
                    state=_STATES.get(task.state, task.state or "UNSPECIFIED"),
                    seconds=(task.end_time - task.start_time).total_seconds()
                    if task.start_time and task.end_time
                    else None,
                    error=task.error.message if task.error else "",
                )
                for task in details or ()
            ),
        )


@contextmanager
def package(spec: dict[str, Any], platform: dict[str, Any], pipeline_root: str) -> Iterator[str]:
    """The spec as a file, the only form that kfp's client accepts; what only Kubernetes reads is a second document.

    Vertex AI fills in the pipeline root where the graph refers to it; the open-source backend doesn't.
    """
    spec = copy.deepcopy(spec)
    _without_final_status(spec)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pipeline.yaml"
        text = json.dumps(spec)  # JSON is YAML, and faster
        text = text.replace("{{$.pipeline_root}}", json.dumps(pipeline_root)[1:-1])
        path.write_text("\n---\n".join([text, *([json.dumps(platform)] if platform else [])]))
        yield str(path)


def _without_final_status(spec: dict[str, Any]) -> None:
    """Gives an empty mapping to tasks that take the status of the run: released backends refuse such a parameter
    (kubeflow/pipelines#11641)."""
    for task in spec["root"]["dag"]["tasks"].values():
        declared = spec["components"][task["componentRef"]["name"]].get("inputDefinitions", {}).get("parameters", {})
        for name, source in task.get("inputs", {}).get("parameters", {}).items():
            if "taskFinalStatus" in source:
                task["inputs"]["parameters"][name] = {"runtimeValue": {"constant": {}}}
                declared[name] = {"parameterType": "STRUCT"}
