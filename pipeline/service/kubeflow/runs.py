"""Runs on an open-source Kubeflow Pipelines endpoint, through kfp's own client."""

import copy
import io
import json
import logging
import re
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from beam_preprocess.base.errors import InputError
from pipeline.service.request_checks import bucket
from pipeline.service.run_view import RunView, TaskView
from pipeline.service.submission import Submission
from trainer.shared import google_cloud
from trainer.shared.google_cloud import CloudError

T = TypeVar("T")

PAGE = 200
"""The most runs that the service gives at once."""
KUBERNETES_GPU = "nvidia.com/gpu"

_STATES = {"CANCELED": "CANCELLED", "CANCELING": "CANCELLING", "RUNTIME_STATE_UNSPECIFIED": "UNSPECIFIED"}


@dataclass(frozen=True, kw_only=True, slots=True)
class KubeflowRunsAs:
    """Where a run keeps its files, and as which Kubernetes account it acts."""

    pipeline_root: str
    service_account: str = ""
    network: str = ""
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.pipeline_root:
            raise InputError(
                "--pipeline-root: not given; the steps write to Cloud Storage only, and an installation's own root is "
                "often another store (minio://…); give gs://BUCKET/FOLDER"
            )
        bucket("--pipeline-root", self.pipeline_root)
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
        if not re.fullmatch(r"https?://(\[[0-9a-fA-F:]+\]|[\w.-]+)(:\d+)?(/\S*)?", url):
            raise InputError(f"--endpoint {url}: is no address; give one such as http://localhost:8080")
        self.url = url.rstrip("/")
        self.namespace = namespace or None
        self.client = self.call("connect", lambda: _client(self.url, namespace), permission="get healthz")

    def call(
        self,
        action: str,
        request: Callable[[], T],
        *,
        permission: str,
        after_doubt: Callable[[], T | None] | None = None,
    ) -> T:
        """Makes one call; see `trainer.shared.google_cloud.call`.

        Args:
          action: as there, like `request` and `after_doubt`.
          request: see there.
          permission: verb and resource of Kubernetes' access rules, such as "create runs".
          after_doubt: see there.

        Raises:
          InputError: the service rejects it as wrong.
          CloudError: every other failure.
        """
        from kfp_server_api.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        return google_cloud.with_back_off(
            action,
            request,
            errors=(ApiException, HTTPError),
            explain=lambda what, error, attempts: self._explain(what, error, attempts, permission),
            after_doubt=after_doubt,
        )

    def experiment(self, name: str) -> str:
        """Id of the experiment of that name, which is made when absent."""
        find = _quiet()(partial(self.client.create_experiment, name, namespace=self.namespace))
        return str(self.call(f"find the experiment {name}", find, permission="create experiments").experiment_id)

    def _explain(self, action: str, error: Exception, attempts: int, permission: str) -> InputError | CloudError:
        status = int(getattr(error, "status", 0) or 0)
        said = " ".join(str(getattr(error, "body", "") or error).split())[:300]
        tries = f" after {attempts} attempts" if attempts > 1 else ""
        failed = f"could not {action} at {self.url}{tries}"
        if status == 400:
            return InputError(f"{failed}: it is rejected: {said}")
        if status == 401:
            return CloudError(
                f"{failed}: not signed in ({said}); the endpoint wants credentials, which kfp's client reads from its "
                "KF_PIPELINES_… variables; or go through kubectl port-forward",
                status=status,
            )
        if status == 403:
            return CloudError(
                f"{failed}: permission to {permission}.pipelines.kubeflow.org is missing in the namespace ({said}); "
                "ask its owner for the role kubeflow-edit",
                status=status,
            )
        if status == 404:
            return CloudError(
                f"{failed}: not found ({said}); is this the address of the API, and is the name right?", status=status
            )
        if status:
            return CloudError(f"{failed}: {status} {said}", status=status)
        return CloudError(f"{failed}: no answer ({said}); is the address right?")


def _client(url: str, namespace: str) -> Any:
    """kfp's client, which gives up on a call without an answer, and whose errors reach us at once."""
    import kfp
    from urllib3.exceptions import HTTPError

    class Client(kfp.Client):
        def get_kfp_healthz(self, sleep_duration: int = 5) -> Any:
            """Asked while the client is made. The original logs a traceback an attempt and ends with another error."""
            return self._healthz_api.healthz_service_get_healthz(_request_timeout=_timeout())

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        client = Client(host=url, **({"namespace": namespace} if namespace else {}))
    rest = client._run_api.api_client.rest_client  # shared by all of the client's APIs
    plain = rest.request

    def request(*arguments: Any, **more: Any) -> Any:
        answer = plain(*arguments, **{**more, "_request_timeout": more.get("_request_timeout") or _timeout()})
        try:
            json.loads(answer.data or "null")
        except ValueError as error:
            # The client would take a proxy's page for a run without id, in silence.
            raise HTTPError(f"the answer is no JSON: {' '.join(str(answer.data).split())[:100]}") from error
        return answer

    rest.request = request
    return client


def _timeout() -> tuple[float, float]:
    """To connect, and to answer."""
    return google_cloud.CALL_SECONDS, google_cloud.CALL_SECONDS


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
        with package(submission.spec, runs_as.pipeline_root) as path:
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
                _quiet()(create),
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

    def list(self, *, limit: int) -> "list[RunView]":
        """The newest runs first."""
        views: list[RunView] = []
        token = ""
        while True:
            asked = partial(
                self._endpoint.client.list_runs,
                page_token=token,
                page_size=min(limit - len(views), PAGE),
                sort_by="created_at desc",
                namespace=self._endpoint.namespace,
            )
            page: Any = self._endpoint.call("list runs", asked, permission="list runs")
            views += [self._view(run) for run in page.runs or ()]
            token = page.next_page_token or ""
            if not token or len(views) >= limit:
                return views

    def cancel(self, run_id: str) -> None:
        """Asks for the end of a run."""
        self._endpoint.call(
            f"cancel {run_id}", lambda: self._endpoint.client.terminate_run(run_id), permission="terminate runs"
        )

    def logs(self, run_id: str, *, task: str, limit: int) -> Iterator[str]:
        """Errors of the tasks, and the run's page; the API gives no log lines."""
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
def package(spec: dict[str, Any], pipeline_root: str) -> Iterator[str]:
    """The spec as a file, the only form that kfp's client takes.

    Vertex AI asks for a GPU by its model, a Kubernetes node offers it as a resource of its maker's device plugin. And
    Vertex AI fills in the pipeline root where the graph names it, the open-source backend doesn't.
    """
    spec = copy.deepcopy(spec)
    for executor in spec["deploymentSpec"]["executors"].values():
        accelerator = executor.get("container", {}).get("resources", {}).get("accelerator", {})
        for key in ("type", "resourceType"):
            if accelerator.get(key, "").startswith("NVIDIA_"):
                accelerator[key] = KUBERNETES_GPU
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pipeline.yaml"
        text = json.dumps(spec)  # JSON is YAML, and quicker
        path.write_text(text.replace("{{$.pipeline_root}}", json.dumps(pipeline_root)[1:-1]))
        yield str(path)


@contextmanager
def _quiet() -> Iterator[None]:
    """kfp's client logs and prints a line for each experiment and run, with links of another service's form.

    A context manager and, as all that `contextmanager` makes, a decorator of functions.
    """
    before = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)
