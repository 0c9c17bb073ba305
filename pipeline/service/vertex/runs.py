"""Pipeline runs on Vertex AI: create one (never two), list, show and cancel them, read their logs."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from beam_preprocess.base.errors import InputError
from pipeline.service.request_checks import root
from pipeline.service.run_view import RunView, TaskView
from pipeline.service.submission import Submission, content_of
from trainer.shared import google_cloud
from trainer.shared.google_cloud import CloudError, Place, call

CONTENT_LABEL = "content"
"""Label with the start of the submission's digest."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunsAs:
    """Where a run writes its files, and the service account its steps run as."""

    pipeline_root: str
    service_account: str = ""
    network: str = ""
    network_attachment: str = ""
    encryption_key: str = ""

    def __post_init__(self) -> None:
        root(self.pipeline_root)
        if self.service_account and not re.fullmatch(r"[^@\s]+@[^@\s]+\.gserviceaccount\.com", self.service_account):
            raise InputError(
                f"--service-account {self.service_account}: not a service account; give NAME@PROJECT.iam."
                "gserviceaccount.com"
            )
        if self.network and not re.fullmatch(r"projects/[^/\s]+/global/networks/[^/\s]+", self.network):
            raise InputError(
                f"--network {self.network}: give its full name, projects/PROJECT_NUMBER/global/networks/NAME"
            )

    def context(self) -> dict[str, str]:
        """The part that belongs to a submission's identity."""
        more = {name: getattr(self, name) for name in ("network_attachment", "encryption_key") if getattr(self, name)}
        return {"root": self.pipeline_root, "as": self.service_account, "network": self.network, **more}


def pipeline_job(submission: Submission, runs_as: RunsAs, display_name: str, content: str) -> Any:
    """The `aiplatform_v1.PipelineJob` that is sent, for a run now or by a schedule.

    Args:
      submission: what runs.
      runs_as: pipeline root, service account and network.
      display_name: display name of the run.
      content: label that identifies what the job runs.
    """
    from google.cloud.aiplatform_v1.types import PipelineJob
    from google.protobuf import json_format

    job: dict[str, Any] = {
        "displayName": display_name,
        "pipelineSpec": submission.spec,
        "labels": {**submission.labels, CONTENT_LABEL: content},
        "runtimeConfig": {
            "gcsOutputDirectory": runs_as.pipeline_root,
            "parameterValues": submission.parameters,
            # After a failure no further task is started. Those that were started before still run to their end, and
            # cost: a failed run is not over at once.
            "failurePolicy": "PIPELINE_FAILURE_POLICY_FAIL_FAST",
        },
        # The service checks the components before it creates the job.
        "preflightValidations": True,
    }
    if runs_as.service_account:
        job["serviceAccount"] = runs_as.service_account
    if runs_as.network:
        job["network"] = runs_as.network
    if runs_as.network_attachment:
        job["pscInterfaceConfig"] = {"networkAttachment": runs_as.network_attachment}
    if runs_as.encryption_key:
        job["encryptionSpec"] = {"kmsKeyName": runs_as.encryption_key}
    return PipelineJob(json_format.ParseDict(job, PipelineJob.pb(PipelineJob())))


class VertexRuns:
    """The runs of one project and region."""

    def __init__(self, place: Place):
        from google.cloud.aiplatform_v1.services.pipeline_service import PipelineServiceClient

        self.place = place
        self._client = google_cloud.make_client(PipelineServiceClient, place)

    def submit(self, submission: Submission, runs_as: RunsAs, now: datetime) -> RunView:
        """Creates the run of this invocation, or finds it. A retry after a cut connection can't start a second one.

        Raises:
          InputError: the service rejects it.
          CloudError: it could not be created.
        """
        job_id = submission.job_id(now, **runs_as.context())
        content = content_of(submission, runs_as)
        job = pipeline_job(submission.with_run_id(job_id), runs_as, job_id, content)

        def create() -> Any:
            return self._client.create_pipeline_job(
                parent=self.place.parent,
                pipeline_job=job,
                pipeline_job_id=job_id,
                retry=None,
                timeout=google_cloud.CALL_SECONDS,
            )

        try:
            created = call(
                f"create the pipeline job {job_id}",
                create,
                permission="aiplatform.pipelineJobs.create",
                place=self.place,
                after_doubt=lambda: self._find(job_id),
            )
        except CloudError as error:
            if error.status != 409:
                raise
            # An attempt that seemed lost, or the same invocation sent twice: the id contains the content's hash.
            created = self._get(job_id)
            if created.labels.get(CONTENT_LABEL) != content:
                raise
        return self._view(created)

    def get(self, run_id: str) -> RunView:
        """One run.

        Raises:
          CloudError: there is no such run, or it can't be read.
        """
        return self._view(self._get(run_id))

    def list(self, *, limit: int, pipeline: str) -> list[RunView]:
        """The newest runs of a pipeline first. The service filters and sorts, and returns only what is shown."""

        def request() -> Any:
            asked = {
                "parent": self.place.parent,
                "filter": f'pipeline_name="{pipeline}"',
                "page_size": min(limit, 100),
                "order_by": "create_time desc",
                # A job's spec and task details are hundreds of kilobytes.
                "read_mask": "name,state,createTime,labels",
            }
            pages = self._client.list_pipeline_jobs(request=asked, retry=None, timeout=google_cloud.CALL_SECONDS)
            found = []
            for job in pages:
                found.append(job)
                if len(found) == limit:
                    break
            return found

        jobs = call("list pipeline jobs", request, permission="aiplatform.pipelineJobs.list", place=self.place)
        return [self._view(job) for job in jobs]

    def cancel(self, run_id: str) -> None:
        """Requests the cancellation of a run; its tasks take up to minutes to stop."""
        call(
            f"cancel {run_id}",
            lambda: self._client.cancel_pipeline_job(
                name=self._name(run_id), retry=None, timeout=google_cloud.CALL_SECONDS
            ),
            permission="aiplatform.pipelineJobs.cancel",
            place=self.place,
            # The service refuses to cancel a finished run: an attempt that seemed lost may have succeeded.
            after_doubt=lambda: self.get(run_id).state in ("CANCELLING", "CANCELLED") or None,
        )

    def logs(self, run_id: str, *, task: str, limit: int) -> Iterator[str]:
        """Printable lines; see `read_logs`."""
        from pipeline.service.vertex.logs import read_logs

        return read_logs(self.place, self.get(run_id), task=task, limit=limit)

    def link(self, run_id: str) -> str:
        """The run's page in the console."""
        return (
            f"https://console.cloud.google.com/vertex-ai/locations/{self.place.region}/pipelines/runs/{run_id}"
            f"?project={self.place.project}"
        )

    def _name(self, run_id: str) -> str:
        return f"{self.place.parent}/pipelineJobs/{run_id}"

    def _get(self, run_id: str) -> Any:
        return call(
            f"read the pipeline job {run_id}",
            lambda: self._client.get_pipeline_job(
                name=self._name(run_id), retry=None, timeout=google_cloud.CALL_SECONDS
            ),
            permission="aiplatform.pipelineJobs.get",
            place=self.place,
        )

    def _find(self, run_id: str) -> Any:
        """The job, or None if there is none."""
        from google.api_core.exceptions import NotFound

        try:
            return self._client.get_pipeline_job(name=self._name(run_id), retry=None, timeout=google_cloud.CALL_SECONDS)
        except NotFound:
            return None

    def _view(self, job: Any) -> RunView:
        run_id = job.name.rpartition("/")[2]
        names = dict(_display_names(type(job).to_dict(job).get("pipeline_spec") or {}))
        return RunView(
            run_id=run_id,
            state=job.state.name.removeprefix("PIPELINE_STATE_"),
            created=_time(job.create_time),
            link=self.link(run_id),
            error=job.error.message,
            labels=dict(job.labels),
            tasks=tuple(
                _task_view(task, names)
                for task in sorted(job.job_detail.task_details, key=lambda task: (_time(task.start_time), task.task_id))
                if task.task_name in names
            ),
        )


def _task_view(task: Any, names: dict[str, str]) -> TaskView:
    started, ended = task.start_time, task.end_time
    detail = task.executor_detail
    jobs = (
        detail.container_detail.main_job,
        *detail.container_detail.failed_main_jobs,
        detail.custom_job_detail.job,
        *detail.custom_job_detail.failed_jobs,
    )
    outputs = task.execution.metadata if task.execution else {}
    return TaskView(
        task=task.task_name,
        name=names[task.task_name],
        state=task.state.name,
        seconds=(ended - started).total_seconds() if started and ended else None,
        error=task.error.message,
        output=str(outputs.get("output:Output", "")),
        jobs=tuple(job for job in jobs if job) + _launched(str(outputs.get("output:gcp_resources", ""))),
    )


def _launched(resources: str) -> tuple[str, ...]:
    """Resource names of the custom jobs in the output `gcp_resources` of Google's launcher.

    Those jobs do the work; the launcher's own log contains nothing about it.
    """
    if not resources:
        return ()
    found = json.loads(resources).get("resources", ())
    return tuple(one["resourceUri"].partition("/v1/")[2] for one in found if one.get("resourceType") == "CustomJob")


def _display_names(spec: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Display name by task, without the groups of conditions."""
    components = spec.get("components", {})
    for graph in (spec.get("root", {}).get("dag", {}), *(c["dag"] for c in components.values() if "dag" in c)):
        for key, task in graph.get("tasks", {}).items():
            if "executorLabel" in components[task["componentRef"]["name"]]:
                yield key, task["taskInfo"]["name"]


def _time(moment: datetime | None) -> str:
    return moment.isoformat(timespec="seconds") if moment else ""
