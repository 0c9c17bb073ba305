"""Runs on an open-source Kubeflow Pipelines endpoint, through kfp's own client."""

import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import yaml

from beam_preprocess.errors import InputError
from pipeline.run_view import RunView, TaskView
from pipeline.submission import Submission
from trainer import vertex_client
from trainer.vertex_client import CloudError

T = TypeVar("T")

_STATES = {"CANCELED": "CANCELLED", "CANCELING": "CANCELLING", "RUNTIME_STATE_UNSPECIFIED": "UNSPECIFIED"}


@dataclass(frozen=True, kw_only=True, slots=True)
class KubeflowRunsAs:
    """Where a run keeps its files ("": the installation's place), and as which Kubernetes account it acts."""

    pipeline_root: str = ""
    service_account: str = ""
    network: str = ""
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.labels:
            raise InputError(f"--labels {self.labels[0]}: an endpoint's runs have no labels; leave them out")
        if self.network:
            raise InputError(f"--network {self.network}: an endpoint's steps run in its own cluster; leave it out")

    def context(self) -> dict[str, str]:
        """What of it is part of a submission's identity."""
        return {"root": self.pipeline_root, "as": self.service_account}


class Endpoint:
    """A connection to one installation; calls are repeated with back-off as Vertex AI's are."""

    def __init__(self, url: str, namespace: str):
        import kfp

        if not url.startswith(("http://", "https://")):
            raise InputError(f"--endpoint {url}: is no address; give one such as http://localhost:8080")
        self.url = url.rstrip("/")
        self.namespace = namespace or None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            self.client = self.call("connect", lambda: kfp.Client(host=self.url))

    def call(self, action: str, request: Callable[[], T], after_doubt: Callable[[], T | None] | None = None) -> T:
        """Makes one call; see `trainer.vertex_client.call`.

        Raises:
          InputError: the service rejects it as wrong.
          CloudError: every other failure.
        """
        from kfp_server_api.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        for attempt in range(1, vertex_client.ATTEMPTS + 1):
            try:
                return request()
            except (ApiException, HTTPError) as error:
                status = int(getattr(error, "status", 0) or 0)
                if status not in (0, 429, 500, 502, 503, 504) or attempt == vertex_client.ATTEMPTS:
                    raise self._explain(action, error, status, attempt) from error
                time.sleep(vertex_client.FIRST_WAIT_SECONDS * 2 ** (attempt - 1))
                if after_doubt is not None and status != 429:
                    done = self.call(f"look whether it was carried out ({action})", after_doubt)
                    if done is not None:
                        return done
        raise AssertionError("the last attempt returns or raises")

    def experiment(self, name: str) -> str:
        """Id of the experiment of that name, which is made when absent."""
        with _quiet():
            return str(
                self.call(
                    f"find the experiment {name}",
                    lambda: self.client.create_experiment(name, namespace=self.namespace),
                ).experiment_id
            )

    def _explain(self, action: str, error: Exception, status: int, attempts: int) -> InputError | CloudError:
        said = " ".join(str(getattr(error, "body", "") or error).split())[:300]
        failed = f"could not {action} at {self.url}"
        if status == 400:
            return InputError(f"{failed}: it is rejected: {said}")
        if status in (401, 403):
            return CloudError(
                f"{failed}: not allowed ({said}); sign in, or ask for a role in the namespace", status=status
            )
        if status:
            return CloudError(f"{failed} after {attempts} attempts: {status} {said}", status=status)
        return CloudError(f"{failed} after {attempts} attempts: no answer ({said}); is the address right?")


class KubeflowRuns:
    """The runs of one installation."""

    def __init__(self, url: str, namespace: str):
        self._endpoint = Endpoint(url, namespace)

    def submit(self, submission: Submission, runs_as: KubeflowRunsAs, now: datetime) -> RunView:
        """Creates the run of this invocation, or finds it by its name.

        The service gives ids itself and takes a name twice. So after an attempt without answer we look for the name
        before trying again; a run that appears only after that look would be there twice.
        """
        name = submission.job_id(now, **runs_as.context())
        submission = submission.with_run_id(name)
        experiment = self._endpoint.experiment(submission.pipeline)
        with package(submission) as path, _quiet():
            created = self._endpoint.call(
                f"create the run {name}",
                lambda: self._endpoint.client.run_pipeline(
                    experiment_id=experiment,
                    job_name=name,
                    pipeline_package_path=path,
                    params=submission.parameters,
                    pipeline_root=runs_as.pipeline_root or None,
                    service_account=runs_as.service_account or None,
                ),
                after_doubt=lambda: self._named(name, experiment),
            )
        return self._view(created)

    def get(self, run_id: str) -> RunView:
        """One run."""
        return self._view(self._endpoint.call(f"read the run {run_id}", lambda: self._endpoint.client.get_run(run_id)))

    def list(self, *, limit: int) -> "list[RunView]":
        """The newest runs first."""
        found = self._endpoint.call(
            "list runs",
            lambda: self._endpoint.client.list_runs(
                page_size=limit, sort_by="created_at desc", namespace=self._endpoint.namespace
            ),
        )
        return [self._view(run) for run in found.runs or ()]

    def cancel(self, run_id: str) -> None:
        """Asks for the end of a run."""
        self._endpoint.call(f"cancel {run_id}", lambda: self._endpoint.client.terminate_run(run_id))

    def logs(self, run_id: str, *, task: str, limit: int) -> Iterator[str]:
        """Errors of the tasks, and the run's page; the API gives no log lines."""
        view = self.get(run_id)
        for found in view.tasks:
            if task in ("", found.name):
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
            labels={"name": run.display_name},
            tasks=tuple(
                TaskView(
                    task=task.display_name,
                    name=task.display_name,
                    state=_STATES.get(task.state, task.state),
                    seconds=(task.end_time - task.start_time).total_seconds()
                    if task.start_time and task.end_time
                    else None,
                    error=task.error.message if task.error else "",
                )
                for task in details or ()
            ),
        )


class package:  # noqa: N801 - reads as `with package(submission) as path`
    """The spec as a file, the only form that kfp's client takes."""

    def __init__(self, submission: Submission):
        self._folder = tempfile.TemporaryDirectory()
        self._path = Path(self._folder.name) / "pipeline.yaml"
        self._path.write_text(yaml.safe_dump(submission.spec, sort_keys=False))

    def __enter__(self) -> str:
        return str(self._path)

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()


class _quiet:  # noqa: N801
    """kfp's client logs a line for each experiment and run, with links of another service's form."""

    def __enter__(self) -> None:
        import logging

        self._before = logging.root.manager.disable
        logging.disable(logging.INFO)

    def __exit__(self, *_: object) -> None:
        import logging

        logging.disable(self._before)
