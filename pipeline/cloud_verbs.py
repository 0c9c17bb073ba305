"""The verbs that work on a pipeline service: Vertex AI, or a Kubeflow Pipelines endpoint."""

import argparse
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Protocol

from beam_preprocess.errors import InputError
from pipeline import cost, preflight
from pipeline.run_view import RunView, table
from pipeline.submission import DEFAULT_CONFIG, RunRequest, Submission, prepare
from pipeline.waiting import wait
from trainer.vertex_client import CloudError, Place


class Runs(Protocol):
    """What a pipeline service does with runs."""

    def submit(self, submission: Submission, runs_as: Any, now: datetime) -> RunView: ...
    def get(self, run_id: str) -> RunView: ...
    def list(self, *, limit: int) -> list[RunView]: ...
    def cancel(self, run_id: str) -> None: ...
    def logs(self, run_id: str, *, task: str, limit: int) -> Iterable[str]: ...


def run_verb(arguments: argparse.Namespace) -> int:
    """Runs one of the verbs; see the parsers' help for exit codes.

    Raises:
      InputError: bad input.
    """
    try:
        if arguments.verb == "submit":
            return _submit(arguments)
        if arguments.verb == "schedule":
            from pipeline.schedule_verbs import run_schedule_verb

            return run_schedule_verb(arguments)
        runs = _runs(arguments)
        if arguments.verb == "status":
            return _status(runs, arguments)
        if arguments.verb == "list":
            return _list(runs, arguments.limit)
        if arguments.verb == "cancel":
            runs.cancel(arguments.run)
            print(f"{arguments.run}: asked to stop; its tasks take up to minutes (status shows them)")
            return 0
        lines = 0
        for line in runs.logs(arguments.run, task=arguments.task, limit=arguments.limit):
            print(line)
            lines += 1
        if not lines:
            print(f"{arguments.run}: no task has started yet")
        return 0
    except CloudError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def request_of(arguments: argparse.Namespace) -> RunRequest:
    """What the flags of `submit` and `schedule create` ask to run."""
    names = (
        "target",
        "train_images",
        "train_annotations",
        "val_images",
        "val_annotations",
        "coco_dir",
        "config",
        "seed",
        "registry",
        "image",
        "spot",
        "replicas",
        "reduction_servers",
        "only_if_changed",
        "notify",
    )
    given = {name: getattr(arguments, name) for name in names}
    return RunRequest(
        **given,
        param=tuple(arguments.param),
        labels=tuple(arguments.labels),
        cached=not arguments.no_cache,
        config_check=not arguments.no_config_check,
    )


def place_of(arguments: argparse.Namespace) -> Place | None:
    """The project and region; None for an endpoint.

    Raises:
      InputError: neither or both are given.
    """
    if arguments.endpoint:
        if arguments.project or arguments.region:
            raise InputError(f"--endpoint {arguments.endpoint}: given together with --project or --region; give one")
        return None
    missing = [f"--{name}" for name in ("project", "region") if not getattr(arguments, name)]
    if missing:
        raise InputError(f"{' and '.join(missing)}: not given; give --project and --region, or --endpoint")
    return Place(project=arguments.project, region=arguments.region)


def print_plan(submission: Submission, arguments: argparse.Namespace) -> None:
    """What will run, where, with which values, for how much at most."""
    prices = cost.read_prices(arguments.prices)
    where = arguments.endpoint or f"{arguments.project}, {arguments.region}"
    print(f"pipeline       {submission.pipeline} for {submission.target.name} on {where}")
    print(f"image          {submission.target.image}")
    for name in ("pipeline_root", "service_account", "network"):
        if getattr(arguments, name):
            print(f"{name.replace('_', ' '):<15}{getattr(arguments, name)}")
    for name, value in sorted(submission.parameters.items()):
        if name == "run_id" and not value:
            continue  # the name of the job, which is printed when there is one
        shown = f"{len(value)} characters of {arguments.config or DEFAULT_CONFIG}" if name == "config" else value
        print(f"  {name:<20} {shown}")
    print(f"\n{cost.table(submission.steps(prices), prices)}")
    if arguments.region != prices.region:
        there = f"machines of {arguments.region} have others" if arguments.region else "your cluster has its own"
        print(f"note: prices are those of {prices.region}; {there}")
    print(flush=True)


def look_at_data(submission: Submission, pipeline_root: str) -> None:
    """Refuses data and a pipeline root that aren't there; says what could not be looked at."""
    for note in preflight.check_buckets(submission.parameters, pipeline_root):
        print(f"note: {note}", file=sys.stderr)


def runs_as_of(arguments: argparse.Namespace, place: Place | None) -> Any:
    """Where runs keep their files and as whom they act: a `RunsAs`, or a `KubeflowRunsAs` for an endpoint.

    Raises:
      InputError: a flag that the place can't take.
    """
    given = {name: getattr(arguments, name) for name in ("pipeline_root", "service_account", "network")}
    if place is None:
        from pipeline.kfp_runs import KubeflowRunsAs

        return KubeflowRunsAs(**given, labels=tuple(arguments.labels))
    from pipeline.vertex_runs import RunsAs

    return RunsAs(**given)


def _submit(arguments: argparse.Namespace) -> int:
    # What is cheap to check comes before the compiler.
    place = place_of(arguments)
    cost.read_prices(arguments.prices)
    runs_as = runs_as_of(arguments, place)
    submission = prepare(request_of(arguments), place=place, runs_as=runs_as)
    now = datetime.now(UTC)
    print_plan(submission, arguments)
    if arguments.dry_run:
        print("dry run: nothing was sent, and the data was not looked at")
        return 0
    look_at_data(submission, runs_as.pipeline_root)
    runs = _runs(arguments)
    view = runs.submit(submission, runs_as, now)
    print(f"submitted      {view.run_id}\nlink           {view.link}", flush=True)
    return _follow(runs, view.run_id, arguments) if arguments.wait else 0


def _follow(runs: Runs, run_id: str, arguments: argparse.Namespace) -> int:
    try:
        view = wait(lambda: runs.get(run_id), seconds=arguments.poll)
    except KeyboardInterrupt:
        print(f"\nno longer watching: {run_id} goes on (python -m pipeline cancel {run_id} ends it)", file=sys.stderr)
        return 1
    code, sentence = view.outcome()
    print(f"outcome        {sentence}", file=sys.stderr if code == 1 else sys.stdout)
    return code


def _status(runs: Runs, arguments: argparse.Namespace) -> int:
    if arguments.wait:
        return _follow(runs, arguments.run, arguments)
    view = runs.get(arguments.run)
    print(table(view))
    return view.outcome()[0] if view.finished else 0


def _list(runs: Runs, limit: int) -> int:
    views = runs.list(limit=limit)
    for view in views:
        print(f"{view.run_id}  {view.state:<10}  {view.created}  {view.name or view.labels.get('target', '')}".rstrip())
    if not views:
        print("no runs")
    return 0


def _runs(arguments: argparse.Namespace) -> Runs:
    place = place_of(arguments)
    if place is None:
        from pipeline.kfp_runs import KubeflowRuns

        return KubeflowRuns(arguments.endpoint, arguments.namespace)
    from pipeline.vertex_runs import VertexRuns

    return VertexRuns(place)
