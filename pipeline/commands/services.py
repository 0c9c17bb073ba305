"""The service that the flags name: its runs and its schedules. Imports a service's client only when it is used."""

import argparse
import sys
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Protocol

from pipeline.commands.request import place_of
from pipeline.service.run_view import FAILED, RunView
from pipeline.service.schedules import Schedules
from pipeline.service.submission import Submission
from pipeline.service.waiting import wait

INTERRUPTED = 130


class Runs(Protocol):
    """The runs of a service."""

    def submit(self, submission: Submission, runs_as: Any, now: datetime) -> RunView: ...
    def get(self, run_id: str) -> RunView: ...
    def list(self, *, limit: int, pipeline: str) -> list[RunView]: ...
    def cancel(self, run_id: str) -> None: ...
    def logs(self, run_id: str, *, task: str, limit: int) -> Iterable[str]: ...


def runs_of(flags: argparse.Namespace) -> Runs:
    """The runs of the project and region, or of the endpoint.

    Raises:
      InputError: neither or both are given.
      CloudError: the service can't be reached.
    """
    place = place_of(flags)
    if place is None:
        from pipeline.service.kubeflow.runs import KubeflowRuns

        return KubeflowRuns(flags.endpoint, flags.namespace)
    from pipeline.service.vertex.runs import VertexRuns

    return VertexRuns(place)


def schedules_of(flags: argparse.Namespace) -> Schedules:
    """The schedules of the project and region, or of the endpoint.

    Raises:
      InputError: neither or both are given.
      CloudError: the service can't be reached.
    """
    place = place_of(flags)
    if place is None:
        from pipeline.service.kubeflow.schedules import KubeflowSchedules

        return KubeflowSchedules(flags.endpoint, flags.namespace)
    from pipeline.service.vertex.schedules import VertexSchedules

    return VertexSchedules(place)


def follow(runs: Runs, run_id: str, *, poll: float) -> int:
    """Waits until the run finishes, and prints its outcome.

    Returns:
      Exit code: 0 promoted, unchanged, or a watch after which no training was due; 1 failed; 3 held or pending
      approval; 130 when Ctrl-C ends the waiting.
    """
    try:
        view = wait(lambda: runs.get(run_id), seconds=poll)
    except KeyboardInterrupt:
        print(f"\nstopped watching; {run_id} is still running (centernet cancel {run_id} cancels it)", file=sys.stderr)
        return INTERRUPTED
    code, sentence = view.outcome()
    print(f"outcome        {sentence}", file=sys.stderr if code == FAILED else sys.stdout)
    return code
