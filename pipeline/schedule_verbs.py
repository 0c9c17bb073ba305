"""`python -m pipeline schedule …`, for Vertex AI and for a Kubeflow Pipelines endpoint."""

import argparse
import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Protocol

from beam_preprocess.errors import InputError
from pipeline import cron
from pipeline.cloud_verbs import default_registry, look_at_data, place_of, print_plan, request_of
from pipeline.submission import prepare
from pipeline.vertex_runs import RunsAs
from pipeline.vertex_schedules import ScheduleView, VertexSchedules


class Schedules(Protocol):
    """What a pipeline service does with schedules; each has one display name."""

    def list(self, name: str = "") -> list[ScheduleView]: ...
    def existing(self, name: str) -> ScheduleView: ...
    def update(
        self, name: str, *, cron: cron.Cron | None = None, max_concurrent_runs: int | None = None
    ) -> ScheduleView: ...
    def pause(self, name: str) -> ScheduleView: ...
    def resume(self, name: str) -> ScheduleView: ...
    def delete(self, name: str) -> ScheduleView: ...


def run_schedule_verb(arguments: argparse.Namespace) -> int:
    """Runs one of the verbs.

    Raises:
      InputError: bad input.
      CloudError: a call failed.
    """
    verb = arguments.schedule_verb
    if verb == "create":
        return _create(arguments)
    schedules = _schedules(arguments)
    if verb == "list":
        views = schedules.list()
        for view in views:
            print(f"{view.name}  {view.state}  {view.cron}  next {view.next_run or '-'}  {view.started_runs} runs")
        if not views:
            print("no schedules")
        return 0
    if verb == "show":
        print(json.dumps(asdict(schedules.existing(arguments.name)), indent=1, default=str))
        return 0
    if verb == "update":
        return _update(schedules, arguments)
    if getattr(arguments, "dry_run", False):
        print(f"dry run: would {verb} {_line(schedules.existing(arguments.name))}")
        return 0
    view = getattr(schedules, verb)(arguments.name)
    print(f"{verb}d: {_line(view)}")
    return 0


def _create(arguments: argparse.Namespace) -> int:
    when = cron.parse(arguments.cron, arguments.time_zone)
    _check_concurrency(arguments.max_concurrent_runs)
    place = place_of(arguments)
    submission = prepare(request_of(arguments), default_registry=default_registry(place), schedule=True)
    given: dict[str, Any] = {name: getattr(arguments, name) for name in ("pipeline_root", "service_account", "network")}
    runs_as = RunsAs(**given) if place else None
    print_plan(submission, arguments)
    print(f"schedule       {arguments.name}: {when.for_vertex() if place else when.for_kubeflow()}")
    if place is None:
        print(
            "  the endpoint's own time zone counts (UTC, or its CRON_SCHEDULE_TIMEZONE); --time-zone shapes this list:"
        )
    for moment in when.next_times(datetime.now(UTC), 3):
        print(f"  will run     {moment.isoformat(timespec='minutes')}")
    if arguments.dry_run:
        print("dry run: nothing was sent, and the data was not looked at")
        return 0
    look_at_data(submission)
    if place is None:
        from pipeline.kfp_runs import KubeflowRunsAs
        from pipeline.kfp_schedules import KubeflowSchedules

        endpoint = KubeflowSchedules(arguments.endpoint, arguments.namespace)
        done, view = endpoint.ensure(
            arguments.name,
            when,
            submission,
            KubeflowRunsAs(**given, labels=tuple(arguments.labels)),
            max_concurrent_runs=arguments.max_concurrent_runs,
        )
    else:
        assert runs_as is not None
        done, view = VertexSchedules(place).ensure(
            arguments.name, when, submission, runs_as, max_concurrent_runs=arguments.max_concurrent_runs
        )
    print(f"{done}: {_line(view)}")
    if view.state == "PAUSED":
        print(f"it is paused, as it was before: python -m pipeline schedule resume {arguments.name} starts it")
    return 0


def _update(schedules: Schedules, arguments: argparse.Namespace) -> int:
    when = cron.parse(arguments.cron, arguments.time_zone) if arguments.cron else None
    if when is None and arguments.max_concurrent_runs is None:
        raise InputError("schedule update: nothing to change; give --cron or --max-concurrent-runs")
    if arguments.max_concurrent_runs is not None:
        _check_concurrency(arguments.max_concurrent_runs)
    if arguments.dry_run:
        print(f"dry run: would update {_line(schedules.existing(arguments.name))}")
        return 0
    view = schedules.update(arguments.name, cron=when, max_concurrent_runs=arguments.max_concurrent_runs)
    print(f"updated: {_line(view)}")
    return 0


def _check_concurrency(count: int) -> None:
    if count < 1:
        raise InputError(f"--max-concurrent-runs {count}: give 1 or more")


def _line(view: ScheduleView) -> str:
    return f"{view.name} ({view.schedule_id})  {view.state}  {view.cron}  next {view.next_run or '-'}"


def _schedules(arguments: argparse.Namespace) -> Schedules:
    place = place_of(arguments)
    if place is None:
        from pipeline.kfp_schedules import KubeflowSchedules

        return KubeflowSchedules(arguments.endpoint, arguments.namespace)
    return VertexSchedules(place)
