"""Follows a run until it ends."""

import sys
import time
from collections.abc import Callable
from datetime import datetime

from pipeline.service.run_view import RunView
from trainer.shared.google_cloud import CloudError

LONGEST_SILENCE_SECONDS = 1800.0
"""A service that can't be reached for so long ends the waiting; the run goes on."""


def wait(look: Callable[[], RunView], *, seconds: float) -> RunView:
    """Prints every change of a task's state until the run ends.

    Args:
      look: asks for the run.
      seconds: between two looks.

    Returns:
      The finished run.

    Raises:
      CloudError: it can't be looked at (at once if that isn't allowed, after half an hour if the service is away).
    """
    seen: dict[str, str] = {}
    answered = time.monotonic()
    while True:
        try:
            view = look()
        except CloudError as error:
            lasting = error.status and error.status != 429 and error.status < 500
            if lasting or time.monotonic() - answered > LONGEST_SILENCE_SECONDS:
                raise
            print(f"{_clock()}  {error}; looking again, the run goes on", file=sys.stderr, flush=True)
        else:
            answered = time.monotonic()
            for name, state in [(view.run_id, view.state), *((task.name, task.state) for task in view.tasks)]:
                if seen.get(name) != state:
                    print(f"{_clock()}  {name:<24} {state}", flush=True)
                    seen[name] = state
            if view.finished:
                return view
        time.sleep(seconds)


def _clock() -> str:
    return datetime.now().astimezone().strftime("%H:%M:%S")
