"""Schedules on Vertex AI, one a display name.

Vertex AI can change when a schedule fires, but not what it runs. So a changed pipeline is a new schedule; the old one
is paused before the new one is made and deleted after it, so that no moment has two of them at work, and none is lost
when making the new one fails.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from beam_preprocess.errors import InputError
from pipeline.cron import Cron
from pipeline.submission import Submission
from pipeline.vertex_runs import CONTENT_LABEL, RunsAs, pipeline_job
from trainer import vertex_client
from trainer.vertex_client import Place, call

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class ScheduleView:
    """One schedule as a person sees it."""

    schedule_id: str
    name: str
    state: str
    cron: str
    next_run: str
    max_concurrent_runs: int
    started_runs: int
    content: str
    """Start of the digest of what it runs."""
    details: dict[str, Any]
    """All of it, for `show`."""


class VertexSchedules:
    """The schedules of one project and region."""

    def __init__(self, place: Place):
        from google.cloud.aiplatform_v1.services.schedule_service import ScheduleServiceClient

        self.place = place
        self._client = vertex_client.make_client(ScheduleServiceClient, place)

    def ensure(
        self, name: str, cron: Cron, submission: Submission, runs_as: RunsAs, *, max_concurrent_runs: int
    ) -> tuple[str, ScheduleView]:
        """Makes the schedule of this name run exactly this.

        Returns:
          What was done ("created", "unchanged", "updated", "replaced"), and the schedule.

        Raises:
          InputError: several schedules have the name, or the service rejects it.
          CloudError: a call failed.
        """
        job = pipeline_job(submission, runs_as, name)
        self._finish_replacement(name, job.labels[CONTENT_LABEL])
        existing = self.find(name)
        if existing is None:
            return "created", self._create(name, cron, job, max_concurrent_runs)
        if existing.content == job.labels[CONTENT_LABEL]:
            if existing.cron == cron.for_vertex() and existing.max_concurrent_runs == max_concurrent_runs:
                return "unchanged", existing
            return "updated", self.update(name, cron=cron, max_concurrent_runs=max_concurrent_runs)
        was_active = existing.state == "ACTIVE"
        if was_active:
            self._pause(existing)
        try:
            created = self._create(name, cron, job, max_concurrent_runs)
            if not was_active:
                self._pause(created)  # someone paused it: a new pipeline is no reason to start again
        except Exception:
            if was_active:
                self._resume(existing)
            raise
        self._delete(existing)
        return "replaced", self._read(created.schedule_id)

    def list(self, name: str = "") -> list[ScheduleView]:
        """All schedules of pipelines, or those of one display name."""

        def request() -> list[Any]:
            asked = {"parent": self.place.parent, **({"filter": f'display_name="{name}"'} if name else {})}
            return list(self._client.list_schedules(request=asked, retry=None, timeout=vertex_client.CALL_SECONDS))

        found = self._call("list schedules", request, "aiplatform.schedules.list")
        return [_view(schedule) for schedule in found if "create_pipeline_job_request" in schedule]

    def find(self, name: str) -> ScheduleView | None:
        """The schedule of a display name, or None.

        Raises:
          InputError: several have it.
        """
        found = self.list(name)
        if len(found) > 1:
            ids = ", ".join(view.schedule_id for view in found)
            raise InputError(
                f"--name {name}: {len(found)} schedules have it ({ids}); delete all but one in the console"
            )
        return found[0] if found else None

    def existing(self, name: str) -> ScheduleView:
        """The schedule of a display name.

        Raises:
          InputError: there is none, or several.
        """
        view = self.find(name)
        if view is None:
            known = ", ".join(sorted(view.name for view in self.list())) or "none"
            raise InputError(f"--name {name}: no such schedule in {self.place.region}; there are: {known}")
        return view

    def update(self, name: str, *, cron: Cron | None = None, max_concurrent_runs: int | None = None) -> ScheduleView:
        """Changes when it fires; what it runs stays."""
        from google.cloud.aiplatform_v1.types import Schedule
        from google.protobuf.field_mask_pb2 import FieldMask

        view = self.existing(name)
        change = Schedule(name=self._name(view))
        paths = []
        if cron is not None:
            change.cron = cron.for_vertex()
            paths.append("cron")
        if max_concurrent_runs is not None:
            change.max_concurrent_run_count = max_concurrent_runs
            paths.append("max_concurrent_run_count")
        self._call(
            f"update the schedule {name}",
            lambda: self._client.update_schedule(
                schedule=change, update_mask=FieldMask(paths=paths), retry=None, timeout=vertex_client.CALL_SECONDS
            ),
            "aiplatform.schedules.update",
        )
        return self._read(view.schedule_id)

    def pause(self, name: str) -> ScheduleView:
        """No new runs; those at work go on."""
        view = self.existing(name)
        if view.state == "ACTIVE":
            self._pause(view)
        return self._read(view.schedule_id)

    def resume(self, name: str) -> ScheduleView:
        """New runs again; what was missed meanwhile is not made up for."""
        view = self.existing(name)
        if view.state == "PAUSED":
            self._resume(view)
        return self._read(view.schedule_id)

    def delete(self, name: str) -> ScheduleView:
        """Ends it; runs that it started go on."""
        view = self.existing(name)
        self._delete(view)
        return view

    def _finish_replacement(self, name: str, content: str) -> None:
        """Deletes what a replacement left that was interrupted after the new schedule was made."""
        found = self.list(name)
        if len(found) > 1 and sum(view.content == content for view in found) == 1:
            for view in found:
                if view.content != content:
                    self._delete(view)

    def _create(self, name: str, cron: Cron, job: Any, max_concurrent_runs: int) -> ScheduleView:
        from google.cloud.aiplatform_v1.types import CreatePipelineJobRequest, Schedule

        schedule = Schedule(
            display_name=name,
            cron=cron.for_vertex(),
            max_concurrent_run_count=max_concurrent_runs,
            create_pipeline_job_request=CreatePipelineJobRequest(parent=self.place.parent, pipeline_job=job),
        )
        known = {view.schedule_id for view in self.list(name)}

        def found() -> Any:
            """The schedule that an attempt without an answer made after all: schedules have no id of our choice."""
            new = [view for view in self.list(name) if view.schedule_id not in known]
            return self._get(new[0].schedule_id) if new else None

        created = call(
            f"create the schedule {name}",
            lambda: self._client.create_schedule(
                parent=self.place.parent, schedule=schedule, retry=None, timeout=vertex_client.CALL_SECONDS
            ),
            permission="aiplatform.schedules.create",
            place=self.place,
            after_doubt=found,
        )
        return _view(created)

    def _read(self, schedule_id: str) -> ScheduleView:
        return _view(self._get(schedule_id))

    def _get(self, schedule_id: str) -> Any:
        name = f"{self.place.parent}/schedules/{schedule_id}"
        return self._call(
            f"read the schedule {schedule_id}",
            lambda: self._client.get_schedule(name=name, retry=None, timeout=vertex_client.CALL_SECONDS),
            "aiplatform.schedules.get",
        )

    def _pause(self, view: ScheduleView) -> None:
        self._call(
            f"pause the schedule {view.name}",
            lambda: self._client.pause_schedule(name=self._name(view), retry=None, timeout=vertex_client.CALL_SECONDS),
            "aiplatform.schedules.update",
        )

    def _resume(self, view: ScheduleView) -> None:
        self._call(
            f"resume the schedule {view.name}",
            lambda: self._client.resume_schedule(name=self._name(view), retry=None, timeout=vertex_client.CALL_SECONDS),
            "aiplatform.schedules.update",
        )

    def _delete(self, view: ScheduleView) -> None:
        from google.api_core.exceptions import NotFound

        def request() -> None:
            try:
                self._client.delete_schedule(
                    name=self._name(view), retry=None, timeout=vertex_client.CALL_SECONDS
                ).result(timeout=vertex_client.CALL_SECONDS)
            except NotFound:
                return  # an attempt that seemed lost deleted it

        self._call(f"delete the schedule {view.name} ({view.schedule_id})", request, "aiplatform.schedules.delete")

    def _name(self, view: ScheduleView) -> str:
        return f"{self.place.parent}/schedules/{view.schedule_id}"

    def _call(self, action: str, request: Callable[[], T], permission: str) -> T:
        return call(action, request, permission=permission, place=self.place)


def _view(schedule: Any) -> ScheduleView:
    details = type(schedule).to_dict(schedule, use_integers_for_enums=False)
    inner = details["create_pipeline_job_request"]["pipeline_job"]
    spec = inner.pop("pipeline_spec", None) or {}
    inner["pipeline"] = spec.get("pipelineInfo", {}).get("name", "")
    return ScheduleView(
        schedule_id=schedule.name.rpartition("/")[2],
        name=schedule.display_name,
        state=schedule.state.name,
        cron=schedule.cron,
        next_run=schedule.next_run_time.isoformat(timespec="minutes") if schedule.next_run_time else "",
        max_concurrent_runs=schedule.max_concurrent_run_count,
        started_runs=schedule.started_run_count,
        content=inner.get("labels", {}).get(CONTENT_LABEL, ""),
        details=details,
    )
