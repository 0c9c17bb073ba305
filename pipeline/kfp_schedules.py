"""Recurring runs of a Kubeflow Pipelines endpoint, as schedules of one display name.

The API can switch a recurring run on and off and delete it, nothing else: every change is a new one, made while the old
one is off.
"""

import re
from functools import partial
from typing import Any

from beam_preprocess.errors import InputError
from pipeline.cron import Cron
from pipeline.kfp_runs import Endpoint, KubeflowRunsAs, package
from pipeline.submission import Submission
from pipeline.vertex_schedules import ScheduleView


class KubeflowSchedules:
    """The recurring runs of one installation."""

    def __init__(self, url: str, namespace: str):
        self._endpoint = Endpoint(url, namespace)

    def ensure(
        self, name: str, cron: Cron, submission: Submission, runs_as: KubeflowRunsAs, *, max_concurrent_runs: int
    ) -> tuple[str, ScheduleView]:
        """Makes the recurring run of this name run exactly this; see `VertexSchedules.ensure`."""
        content = submission.digest(**runs_as.context())[:16]
        existing = self._find(name)
        wanted = (content, cron.for_kubeflow(), max_concurrent_runs)
        if existing is not None and (existing.content, existing.cron, existing.max_concurrent_runs) == wanted:
            return "unchanged", existing
        was_active = existing is not None and existing.state == "ACTIVE"
        if existing is not None and was_active:
            self.pause(name)
        try:
            created = self._create(
                name, cron, submission, runs_as, content, max_concurrent_runs, enabled=existing is None or was_active
            )
        except Exception:
            if existing is not None and was_active:
                self._switch(existing, on=True)
            raise
        if existing is not None:
            self._delete(existing)
        return ("created" if existing is None else "replaced"), created

    def list(self, name: str = "") -> "list[ScheduleView]":
        """All recurring runs, or those of one display name."""
        views, token = [], ""
        while True:
            asked = partial(
                self._endpoint.client.list_recurring_runs,
                page_token=token,
                page_size=100,
                namespace=self._endpoint.namespace,
            )
            page: Any = self._endpoint.call("list recurring runs", asked)
            views += [_view(found) for found in page.recurring_runs or ()]
            token = page.next_page_token or ""
            if not token:
                return [view for view in views if name in ("", view.name)]

    def existing(self, name: str) -> ScheduleView:
        """The one of that name.

        Raises:
          InputError: there is none, or several.
        """
        view = self._find(name)
        if view is None:
            known = ", ".join(sorted(found.name for found in self.list())) or "none"
            raise InputError(f"--name {name}: no such recurring run at {self._endpoint.url}; there are: {known}")
        return view

    def update(self, name: str, *, cron: Cron | None = None, max_concurrent_runs: int | None = None) -> ScheduleView:
        """
        Raises:
          InputError: always; the API has no such call.
        """
        raise InputError(
            f"schedule update {name}: a recurring run can't be changed; call schedule create --name {name} with the "
            "new --cron, which replaces it"
        )

    def pause(self, name: str) -> ScheduleView:
        """No new runs."""
        self._switch(self.existing(name), on=False)
        return self.existing(name)

    def resume(self, name: str) -> ScheduleView:
        """New runs again."""
        self._switch(self.existing(name), on=True)
        return self.existing(name)

    def delete(self, name: str) -> ScheduleView:
        """Ends it; runs that it started go on."""
        view = self.existing(name)
        self._delete(view)
        return view

    def _find(self, name: str) -> ScheduleView | None:
        found = self.list(name)
        if len(found) > 1:
            ids = ", ".join(view.schedule_id for view in found)
            raise InputError(f"--name {name}: {len(found)} recurring runs have it ({ids}); delete all but one")
        return found[0] if found else None

    def _create(
        self,
        name: str,
        cron: Cron,
        submission: Submission,
        runs_as: KubeflowRunsAs,
        content: str,
        max_concurrent_runs: int,
        *,
        enabled: bool,
    ) -> ScheduleView:
        experiment = self._endpoint.experiment(submission.pipeline)
        known = {view.schedule_id for view in self.list(name)}

        def made() -> Any:
            new = [view for view in self.list(name) if view.schedule_id not in known]
            return self._endpoint.client.get_recurring_run(new[0].schedule_id) if new else None

        with package(submission) as path:
            return _view(
                self._endpoint.call(
                    f"create the recurring run {name}",
                    lambda: self._endpoint.client.create_recurring_run(
                        experiment_id=experiment,
                        job_name=name,
                        description=f"{submission.pipeline} for {submission.target.name}; content={content}",
                        cron_expression=cron.for_kubeflow(),
                        max_concurrency=max_concurrent_runs,
                        no_catchup=True,
                        params=submission.parameters,
                        pipeline_package_path=path,
                        enabled=enabled,
                        pipeline_root=runs_as.pipeline_root or None,
                        service_account=runs_as.service_account or None,
                    ),
                    after_doubt=made,
                )
            )

    def _switch(self, view: ScheduleView, *, on: bool) -> None:
        client = self._endpoint.client
        switch = client.enable_recurring_run if on else client.disable_recurring_run
        self._endpoint.call(f"switch {view.name} {'on' if on else 'off'}", lambda: switch(view.schedule_id))

    def _delete(self, view: ScheduleView) -> None:
        self._endpoint.call(
            f"delete the recurring run {view.name}",
            lambda: self._endpoint.client.delete_recurring_run(view.schedule_id),
        )


def _view(found: Any) -> ScheduleView:
    content = re.search(r"content=(\w+)", found.description or "")
    trigger = found.trigger.cron_schedule.cron if found.trigger and found.trigger.cron_schedule else ""
    details = found.to_dict()
    details.pop("pipeline_spec", None)
    return ScheduleView(
        schedule_id=found.recurring_run_id,
        name=found.display_name,
        state="ACTIVE" if found.status == "ENABLED" else "PAUSED",
        cron=trigger,
        next_run="",
        max_concurrent_runs=int(found.max_concurrency or 1),
        started_runs=0,
        content=content[1] if content else "",
        details=details,
    )
