"""Recurring runs of a Kubeflow Pipelines endpoint, as schedules by display name.

The API can only switch a recurring run on or off and delete it. So every change creates a new one while the old one is
off.
"""

import re
from functools import partial
from typing import Any

from pipeline.service.cron import Cron
from pipeline.service.kubeflow.endpoint import Endpoint
from pipeline.service.kubeflow.runs import KubeflowRunsAs, package
from pipeline.service.schedules import Schedules, ScheduleView
from pipeline.service.submission import Submission, content_of


class KubeflowSchedules(Schedules):
    """The recurring runs of one installation."""

    def __init__(self, url: str, namespace: str):
        self._endpoint = Endpoint(url, namespace)
        self.where = self._endpoint.url

    def list(self, name: str = "") -> "list[ScheduleView]":
        views, token = [], ""
        while True:
            asked = partial(
                self._endpoint.client.list_recurring_runs,
                page_token=token,
                page_size=100,
                namespace=self._endpoint.namespace,
            )
            page: Any = self._endpoint.call("list recurring runs", asked, permission="list jobs")
            views += [_view(found) for found in page.recurring_runs or ()]
            token = page.next_page_token or ""
            if not token:
                return [view for view in views if name in ("", view.name)]

    def dialect(self, cron: Cron) -> str:
        return cron.for_kubeflow()

    def update(self, name: str, *, cron: Cron | None = None, max_concurrent_runs: int | None = None) -> ScheduleView:
        existing = self.existing(name)
        found = self._read(existing.schedule_id)
        spec = found.pipeline_spec.get("pipeline_spec", found.pipeline_spec)
        platform = found.pipeline_spec.get("platform_spec", {})
        return self._replace(
            existing,
            lambda active: self._post(
                name,
                spec,
                platform,
                experiment_id=found.experiment_id,
                description=found.description,
                cron_expression=existing.cron if cron is None else cron.for_kubeflow(),
                max_concurrency=max_concurrent_runs or existing.max_concurrent_runs,
                params=found.runtime_config.parameters,
                pipeline_root=found.runtime_config.pipeline_root,
                service_account=found.service_account,
                enabled=active,
            ),
        )

    def _create(
        self,
        name: str,
        cron: Cron,
        submission: Submission,
        runs_as: KubeflowRunsAs,
        max_concurrent_runs: int,
        *,
        active: bool,
    ) -> ScheduleView:
        content = content_of(submission, runs_as)
        return self._post(
            name,
            submission.spec,
            submission.platform,
            experiment_id=self._endpoint.experiment(submission.pipeline),
            description=f"{submission.pipeline} for {submission.target.name}; content={content}",
            cron_expression=cron.for_kubeflow(),
            max_concurrency=max_concurrent_runs,
            params=submission.parameters,
            pipeline_root=runs_as.pipeline_root,
            service_account=runs_as.service_account or None,
            enabled=active,
        )

    def _post(self, name: str, spec: dict[str, Any], platform: dict[str, Any], **settings: Any) -> ScheduleView:
        known = {view.schedule_id for view in self.list(name)}

        def made() -> Any:
            new = [view for view in self.list(name) if view.schedule_id not in known]
            return self._read(new[0].schedule_id) if new else None

        with package(spec, platform, settings["pipeline_root"] or "") as path:
            request = partial(
                self._endpoint.client.create_recurring_run,
                job_name=name,
                pipeline_package_path=path,
                no_catchup=True,
                **settings,
            )
            created = self._endpoint.call(
                f"create the recurring run {name}", request, permission="create jobs", after_doubt=made
            )
            return _view(created)

    def _read(self, schedule_id: str) -> Any:
        return self._endpoint.call(
            f"read the recurring run {schedule_id}",
            lambda: self._endpoint.client.get_recurring_run(schedule_id),
            permission="get jobs",
        )

    def _switch(self, view: ScheduleView, *, on: bool) -> None:
        client = self._endpoint.client
        switch = client.enable_recurring_run if on else client.disable_recurring_run
        self._endpoint.call(
            f"switch {view.name} {'on' if on else 'off'}",
            lambda: switch(view.schedule_id),
            permission=f"{'enable' if on else 'disable'} jobs",
        )

    def _delete(self, view: ScheduleView) -> None:
        from kfp_server_api.exceptions import ApiException

        def request() -> None:
            try:
                self._endpoint.client.delete_recurring_run(view.schedule_id)
            except ApiException as error:
                if error.status != 404:  # 404: an attempt that seemed lost deleted it
                    raise

        self._endpoint.call(
            f"delete the recurring run {view.name} ({view.schedule_id})", request, permission="delete jobs"
        )


def _view(found: Any) -> ScheduleView:
    content = re.search(r"content=(\w+)", found.description or "")
    pipeline = re.match(r"(\S+) for ", found.description or "")
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
        started_runs=None,
        content=content[1] if content else "",
        pipeline=pipeline[1] if content and pipeline else "",
        details=details,
    )
