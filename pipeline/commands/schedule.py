"""`centernet schedule …`: runs the pipeline on a schedule, on Vertex AI or on a Kubeflow Pipelines endpoint."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from beam_preprocess.base.command import Parser, run
from beam_preprocess.base.command import parser as command_parser
from beam_preprocess.base.errors import InputError
from pipeline.commands import flags as shared
from pipeline.commands.submit import DATA, PLACE, ROOT

if TYPE_CHECKING:
    from pipeline.service.schedules import Schedules, ScheduleView

_VERBS: dict[str, tuple[str, tuple[str, ...]]] = {
    "create": (
        "create or change the schedule of a name, so that it runs exactly this",
        (
            'centernet schedule create --name weekly --cron "0 3 * * 1" --profile prod --dry-run',
            'centernet schedule create --name weekly --cron "0 3 * * 1" --time-zone Europe/Berlin --only-if-changed '
            f"--target vertex-gpu {PLACE} {ROOT} {DATA} --dry-run",
        ),
    ),
    "list": (
        "list all schedules, one per line",
        (f"centernet schedule list {PLACE}", "centernet schedule list --endpoint http://localhost:8080"),
    ),
    "show": ("print one schedule as JSON", (f"centernet schedule show weekly {PLACE}",)),
    "update": (
        "change when a schedule starts runs",
        (f'centernet schedule update weekly --cron "0 4 * * 1" {PLACE}',),
    ),
    "pause": ("start no more runs; current ones continue", (f"centernet schedule pause weekly {PLACE}",)),
    "resume": ("start runs again; missed ones are not started later", (f"centernet schedule resume weekly {PLACE}",)),
    "delete": (
        "delete a schedule; runs that it started continue",
        (f"centernet schedule delete weekly {PLACE} --dry-run",),
    ),
}


def parser() -> Parser:
    """The flags of `centernet schedule` and its verbs."""
    made = command_parser(
        "schedule",
        "Run the pipeline on a schedule. Names are unique.",
        examples=[example for _, examples in _VERBS.values() for example in examples],
        notes=shared.EXIT_CODES,
    )
    verbs = made.add_subparsers(dest="verb", required=True, metavar=f"{{{','.join(_VERBS)}}}")
    for name, (text, examples) in _VERBS.items():
        description = f"{text[0].upper()}{text[1:]}."
        if name == "create":
            description += (
                "\nRunning the same command again changes nothing. Another --cron or --max-concurrent-runs updates the "
                "schedule;\nanother pipeline or parameter creates a new schedule and deletes the old one."
            )
        full = command_parser(f"schedule {name}", description, examples=examples, notes=shared.EXIT_CODES)
        verb = verbs.add_parser(
            name,
            help=text,
            description=description,
            epilog=full.epilog,
        )
        _add_flags(verb, name)
    return made


def _add_flags(verb: Parser, name: str) -> None:
    if name == "create":
        verb.add_argument("--name", required=True, type=shared.schedule_name, help="display name of the schedule")
        shared.add_cron(verb, required=True)
        verb.add_argument(
            "--max-concurrent-runs", type=shared.count, default=1, metavar="N", help="default: %(default)s"
        )
    elif name != "list":
        verb.add_argument(
            "name", type=shared.schedule_name, help="display name, or the id if two schedules have the same name"
        )
    if name == "update":
        shared.add_cron(verb, required=False)
        verb.add_argument("--max-concurrent-runs", type=shared.count, metavar="N", help="default: unchanged")
    shared.add_place(verb)
    if name == "create":
        shared.add_request(verb)
        shared.add_dry_run(verb)
    elif name in ("update", "resume", "delete"):
        verb.add_argument("--dry-run", action="store_true", help="print what would be done")


def main(argv: Sequence[str] | None = None) -> int:
    """`centernet schedule …`; see its help for exit codes."""
    return run(parser(), argv, _call)


def _call(flags: argparse.Namespace) -> None:
    if flags.verb == "create":
        _create(flags)
        return
    from pipeline.commands.services import schedules_of

    schedules = schedules_of(flags)
    if flags.verb == "list":
        _list(schedules)
    elif flags.verb == "show":
        print(json.dumps(asdict(schedules.existing(flags.name)), indent=1, default=str))
    elif flags.verb == "update":
        _update(schedules, flags)
    elif getattr(flags, "dry_run", False):
        print(f"dry run: would {flags.verb} {_line(schedules.existing(flags.name))}")
    else:
        action: Any = {"pause": schedules.pause, "resume": schedules.resume, "delete": schedules.delete}[flags.verb]
        print(f"{flags.verb}d: {_line(action(flags.name))}")


def _list(schedules: "Schedules") -> None:
    views = schedules.list()
    for view in views:
        runs = "" if view.started_runs is None else f"  {view.started_runs} runs"
        origin = "" if view.content else "  not made by schedule create"
        print(f"{view.name}  {view.state}  {view.cron}  next {view.next_run or '-'}{runs}{origin}")
    if not views:
        print("no schedules")


def _create(flags: argparse.Namespace) -> None:
    from pipeline.commands.plan import DRY_RUN, check_storage, located, prices_of, print_plan
    from pipeline.commands.request import options_of, place_of, request_of, runs_as_of
    from pipeline.commands.services import schedules_of
    from pipeline.service import cron
    from pipeline.service.submission import prepare

    if flags.val_fraction:
        raise InputError(
            "--val-fraction: a schedule would keep today's split when its data grows; split where the data is "
            "exported, or give --val-images and --val-annotations"
        )
    when = cron.parse(flags.cron, flags.time_zone)
    place = place_of(flags)
    prices_of(flags)
    runs_as = runs_as_of(flags, place)
    submission = prepare(
        located(request_of(flags), flags), options_of(flags), place=place, runs_as=runs_as, schedule=True
    )
    print_plan(submission, flags, runs_as)
    print(f"schedule       {flags.name}: {when.for_vertex() if place else when.for_kubeflow()}")
    if place is None:
        print(
            "  the endpoint uses its own time zone (UTC, or its CRON_SCHEDULE_TIMEZONE); --time-zone applies only to "
            "this list:"
        )
    for moment in when.next_times(datetime.now(UTC), 3):
        print(f"  will run     {moment.isoformat(timespec='minutes')}")
    if flags.dry_run:
        print(DRY_RUN)
        return
    check_storage(submission, runs_as.pipeline_root)
    done, view = schedules_of(flags).ensure(
        flags.name, when, submission, runs_as, max_concurrent_runs=flags.max_concurrent_runs
    )
    print(f"{done}: {_line(view)}")
    if view.state == "PAUSED":
        print(f"it is still paused; centernet schedule resume {flags.name} resumes it")


def _update(schedules: "Schedules", flags: argparse.Namespace) -> None:
    from pipeline.service import cron

    if not flags.cron and not flags.time_zone and flags.max_concurrent_runs is None:
        raise InputError("schedule update: nothing to change; give --cron, --time-zone or --max-concurrent-runs")
    if flags.endpoint and flags.time_zone:
        raise InputError(f"--time-zone {flags.time_zone}: an endpoint uses its own time zone; leave it out")
    existing = schedules.existing(flags.name)
    when = None
    if flags.cron or flags.time_zone:
        # What isn't given stays: another hour must not change the time zone.
        expression, time_zone = cron.split(existing.cron)
        when = cron.parse(flags.cron or expression, flags.time_zone or time_zone or cron.UTC_NAME)
    if flags.dry_run:
        print(f"dry run: would update {_line(existing)}")
        return
    view = schedules.update(flags.name, cron=when, max_concurrent_runs=flags.max_concurrent_runs)
    print(f"updated: {_line(view)}")


def _line(view: "ScheduleView") -> str:
    return f"{view.name} ({view.schedule_id})  {view.state}  {view.cron}  next {view.next_run or '-'}"
