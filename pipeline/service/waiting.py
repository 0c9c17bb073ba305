"""Follows a run until it finishes."""

import sys
import time
from collections.abc import Callable
from datetime import datetime

from pipeline.service.run_view import RunView
from trainer.shared.google_cloud import CloudError

LONGEST_SILENCE_SECONDS = 1800.0
"""Waiting ends when the service can't be reached for this long. The run continues."""


def wait(look: Callable[[], RunView], *, seconds: float) -> RunView:
    """Prints every change of a task's state until the run finishes.

    Args:
      look: reads the run from the service.
      seconds: between two reads.

    Returns:
      The finished run.

    Raises:
      CloudError: the run can't be read. Raised at once if permission is missing, after half an hour if the service
        can't be reached.
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
            print(f"{_clock()}  {error}; trying again, the run continues", file=sys.stderr, flush=True)
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
