"""The verbs that work on a pipeline service: Vertex AI, or a Kubeflow Pipelines endpoint."""

import argparse
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Protocol

from pipeline.commands.plan import look_at_data, print_plan
from pipeline.commands.request import place_of, request_of, runs_as_of
from pipeline.service import cost
from pipeline.service.run_view import RunView, table
from pipeline.service.submission import Submission, prepare
from pipeline.service.waiting import wait
from trainer.shared.google_cloud import CloudError


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
            from pipeline.commands.schedule_verbs import run_schedule_verb

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
        from pipeline.service.kubeflow.runs import KubeflowRuns

        return KubeflowRuns(arguments.endpoint, arguments.namespace)
    from pipeline.service.vertex.runs import VertexRuns

    return VertexRuns(place)
