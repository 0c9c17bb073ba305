"""`python -m pipeline schedule …`, for Vertex AI and for a Kubeflow Pipelines endpoint."""

import argparse
import json
from dataclasses import asdict
from datetime import UTC, datetime

from beam_preprocess.base.errors import InputError
from pipeline.commands.plan import look_at_data, print_plan
from pipeline.commands.request import place_of, request_of, runs_as_of
from pipeline.service import cron
from pipeline.service.schedules import Schedules, ScheduleView
from pipeline.service.submission import prepare


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
            runs = "" if view.started_runs is None else f"  {view.started_runs} runs"
            whose = "" if view.content else "  not made by schedule create"
            print(f"{view.name}  {view.state}  {view.cron}  next {view.next_run or '-'}{runs}{whose}")
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
    place = place_of(arguments)
    runs_as = runs_as_of(arguments, place)
    submission = prepare(request_of(arguments), place=place, runs_as=runs_as, schedule=True)
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
    look_at_data(submission, runs_as.pipeline_root)
    done, view = _schedules(arguments).ensure(
        arguments.name, when, submission, runs_as, max_concurrent_runs=arguments.max_concurrent_runs
    )
    print(f"{done}: {_line(view)}")
    if view.state == "PAUSED":
        print(f"it is paused, as it was before: python -m pipeline schedule resume {arguments.name} starts it")
    return 0


def _update(schedules: Schedules, arguments: argparse.Namespace) -> int:
    if not arguments.cron and not arguments.time_zone and arguments.max_concurrent_runs is None:
        raise InputError("schedule update: nothing to change; give --cron, --time-zone or --max-concurrent-runs")
    if arguments.endpoint and arguments.time_zone:
        raise InputError(f"--time-zone {arguments.time_zone}: an endpoint's schedules fire in its own; leave it out")
    existing = schedules.existing(arguments.name)
    when = None
    if arguments.cron or arguments.time_zone:
        # What isn't given stays: another hour is no reason to move to another time zone.
        expression, time_zone = cron.split(existing.cron)
        when = cron.parse(arguments.cron or expression, arguments.time_zone or time_zone or cron.UTC_NAME)
    if arguments.dry_run:
        print(f"dry run: would update {_line(existing)}")
        return 0
    view = schedules.update(arguments.name, cron=when, max_concurrent_runs=arguments.max_concurrent_runs)
    print(f"updated: {_line(view)}")
    return 0


def _line(view: ScheduleView) -> str:
    return f"{view.name} ({view.schedule_id})  {view.state}  {view.cron}  next {view.next_run or '-'}"


def _schedules(arguments: argparse.Namespace) -> Schedules:
    place = place_of(arguments)
    if place is None:
        from pipeline.service.kubeflow.schedules import KubeflowSchedules

        return KubeflowSchedules(arguments.endpoint, arguments.namespace)
    from pipeline.service.vertex.schedules import VertexSchedules

    return VertexSchedules(place)
