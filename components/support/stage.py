"""What every component does around its one call: where the output goes, how long it took, how long it may take."""

import faulthandler
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

TIMEOUT = "STAGE_TIMEOUT_SECONDS"
"""Environment variable that the compiled pipeline sets; pipeline tasks have no time limit of their own."""
WORK_DIR = "STAGE_WORK_DIR"
"""The run's folder where it may be no argument of the task: arguments are part of kfp's cache key."""
GRACE_SECONDS = 10.0
"""After the limit: for the words and the traceback."""
CORES = "STAGE_CORES"
"""Likewise: the cores that the task asks for."""


class Artifact(Protocol):
    """The part of a KFP artifact that is used here."""

    uri: str
    metadata: dict[str, Any]


@contextmanager
def stage(name: str, artifact: Artifact, work_dir: str) -> Iterator[str]:
    """Points the output artifact at its place and notes the seconds of the body in its metadata.

    The body has the task's time limit, see `limited`.

    Args:
      name: of the stage, a folder name.
      artifact: the stage's output.
      work_dir: folder of the whole run. A run that is started again with the same folder finds what its stages wrote,
        and the libraries reuse it. "" takes the environment's, and without that leaves the artifact where the pipeline
        backend put it.

    Yields:
      The artifact's URI.
    """
    if work_dir := work_dir or os.environ.get(WORK_DIR, ""):
        artifact.uri = f"{work_dir.rstrip('/')}/{name}"
    started = time.monotonic()
    with limited(name):
        yield artifact.uri
    artifact.metadata["seconds"] = round(time.monotonic() - started, 2)


@contextmanager
def limited(name: str) -> Iterator[None]:
    """Ends the process if the body takes longer than the compiled pipeline allows; on this machine there is no limit.

    Past it the process says so, prints where it is, and ends with exit code 1, also out of native code.
    """
    limit = float(os.environ.get(TIMEOUT, "0"))
    if not limit:
        yield
        return
    timer = threading.Timer(limit, _end, (name, limit))
    timer.daemon = True
    timer.start()
    # Native code may hold the interpreter's lock for ever, and no Python thread runs then: faulthandler's needs none.
    faulthandler.dump_traceback_later(limit + GRACE_SECONDS, exit=True)
    try:
        yield
    finally:
        timer.cancel()
        faulthandler.cancel_dump_traceback_later()


def _end(name: str, limit: float) -> None:
    print(
        f"error: stage {name} took longer than its limit of {limit:g} s ({TIMEOUT}; timeout_hours of the target in "
        "pipeline/graph/targets.py); it was here:",
        file=sys.stderr,
    )
    faulthandler.dump_traceback(all_threads=True)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


def cores() -> int:
    """How many processes the stage may use: the cores that its task asks for, if they are there; 1 on this machine's
    own runs, where a second process costs more seconds than it saves on small data."""
    return min(int(os.environ.get(CORES, "1")), os.cpu_count() or 1)


def threads() -> int:
    """How many threads a stage may use that stays in one process. A fifth of preprocessing holds Python's lock."""
    return min(4, os.cpu_count() or 1)
