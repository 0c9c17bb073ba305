"""Schedules on Vertex AI."""

import json
from collections.abc import Callable
from typing import Any, TypeVar

from pipeline.service.cron import Cron
from pipeline.service.schedules import Schedules, ScheduleView
from pipeline.service.submission import Submission, content_of
from pipeline.service.vertex.runs import CONTENT_LABEL, RunsAs, pipeline_job
from trainer.shared import google_cloud
from trainer.shared.google_cloud import Place, call

T = TypeVar("T")


class VertexSchedules(Schedules):
    """The schedules of one project and region."""

    def __init__(self, place: Place):
        from google.cloud.aiplatform_v1.services.schedule_service import ScheduleServiceClient

        self.place = place
        self.where = place.region
        self._client = google_cloud.make_client(ScheduleServiceClient, place)

    def list(self, name: str = "") -> list[ScheduleView]:
        def request() -> list[Any]:
            asked = {
                "parent": self.place.parent,
                **({"filter": f"display_name={json.dumps(name, ensure_ascii=False)}"} if name else {}),
            }
            return list(self._client.list_schedules(request=asked, retry=None, timeout=google_cloud.CALL_SECONDS))

        found = self._call("list schedules", request, "aiplatform.schedules.list")
        return [
            _view(schedule)
            for schedule in found
            # In a filter "*" matches any text; we want the exact name.
            if "create_pipeline_job_request" in schedule and name in ("", schedule.display_name)
        ]

    def dialect(self, cron: Cron) -> str:
        return cron.for_vertex()

    def update(self, name: str, *, cron: Cron | None = None, max_concurrent_runs: int | None = None) -> ScheduleView:
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
                schedule=change, update_mask=FieldMask(paths=paths), retry=None, timeout=google_cloud.CALL_SECONDS
            ),
            "aiplatform.schedules.update",
        )
        return self._read(view.schedule_id)

    def _create(
        self, name: str, cron: Cron, submission: Submission, runs_as: RunsAs, max_concurrent_runs: int, *, active: bool
    ) -> ScheduleView:
        from google.cloud.aiplatform_v1.types import CreatePipelineJobRequest, Schedule

        job = pipeline_job(submission, runs_as, name, content_of(submission, runs_as))
        schedule = Schedule(
            display_name=name,
            cron=cron.for_vertex(),
            max_concurrent_run_count=max_concurrent_runs,
            create_pipeline_job_request=CreatePipelineJobRequest(parent=self.place.parent, pipeline_job=job),
        )
        known = {view.schedule_id for view in self.list(name)}

        def found() -> Any:
            """The schedule that an attempt without an answer created. We can't choose the ids of schedules."""
            new = [view for view in self.list(name) if view.schedule_id not in known]
            return self._get(new[0].schedule_id) if new else None

        created = _view(
            call(
                f"create the schedule {name}",
                lambda: self._client.create_schedule(
                    parent=self.place.parent, schedule=schedule, retry=None, timeout=google_cloud.CALL_SECONDS
                ),
                permission="aiplatform.schedules.create",
                place=self.place,
                after_doubt=found,
            )
        )
        if active:
            return created
        try:
            self._switch(created, on=False)  # the service creates only active schedules
        except BaseException:
            self._delete(created)
            raise
        return self._read(created.schedule_id)

    def _read(self, schedule_id: str) -> ScheduleView:
        return _view(self._get(schedule_id))

    def _get(self, schedule_id: str) -> Any:
        name = f"{self.place.parent}/schedules/{schedule_id}"
        return self._call(
            f"read the schedule {schedule_id}",
            lambda: self._client.get_schedule(name=name, retry=None, timeout=google_cloud.CALL_SECONDS),
            "aiplatform.schedules.get",
        )

    def _switch(self, view: ScheduleView, *, on: bool) -> None:
        switch = self._client.resume_schedule if on else self._client.pause_schedule
        wanted = "ACTIVE" if on else "PAUSED"
        call(
            f"{'resume' if on else 'pause'} the schedule {view.name}",
            lambda: switch(name=self._name(view), retry=None, timeout=google_cloud.CALL_SECONDS),
            permission="aiplatform.schedules.update",
            place=self.place,
            # The service refuses to pause a paused schedule: an attempt that seemed lost may have succeeded.
            after_doubt=lambda: self._read(view.schedule_id).state == wanted or None,
        )

    def _delete(self, view: ScheduleView) -> None:
        from google.api_core.exceptions import NotFound

        action = f"delete the schedule {view.name} ({view.schedule_id})"

        def gone() -> bool | None:
            return view.schedule_id not in {other.schedule_id for other in self.list(view.name)} or None

        def request() -> None:
            try:
                started = self._client.delete_schedule(
                    name=self._name(view), retry=None, timeout=google_cloud.CALL_SECONDS
                )
                google_cloud.finish(started, action, seconds=google_cloud.CALL_SECONDS, look=gone)
            except NotFound:
                return  # an attempt that seemed lost deleted it

        self._call(action, request, "aiplatform.schedules.delete")

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
        pipeline=inner["pipeline"],
        details=details,
    )
