"""What every component does around its one call: where its output goes, what it reports, how long it may take."""

import faulthandler
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from beam_preprocess.base.command import start_light
from beam_preprocess.base.cores import usable_cores
from components.support.events import EVENTS, reported
from components.support.run_options import read_options

TIMEOUT = "STAGE_TIMEOUT_SECONDS"
"""Environment variable that the compiled pipeline sets; pipeline tasks have no time limit of their own."""
WORK_DIR = "STAGE_WORK_DIR"
"""Environment variable: the run's folder. Without it, the folder is the run's option, see `run_options`."""
GRACE_SECONDS = 10.0
"""Time after the limit for the message and the traceback."""
CORES = "STAGE_CORES"
"""Environment variable that the compiled pipeline sets: the cores that the task asks for."""


class Artifact(Protocol):
    """The part of a KFP artifact that is used here."""

    uri: str
    metadata: dict[str, Any]


@contextmanager
def stage(folder: str, artifact: Artifact, *, title: str = "", ready: str = "") -> Iterator[str]:
    """Points the output artifact at its place, and does what `step` does.

    On a service the seconds of the body go into the artifact's metadata. On this machine they don't: metadata is part
    of kfp's cache key there, and the report takes the seconds from the events.

    Args:
      folder: name of the output folder, below the run's `work_dir`. Without one, the artifact stays where the pipeline
        backend put it.
      artifact: the stage's output.
      title: the stage's name in the graph, if it is not the folder's name with spaces for hyphens.
      ready: the file in the folder that the artifact is handed on by, see `folder_of`; "" for the folder itself.

    Yields:
      The folder's URI.
    """
    started = time.monotonic()
    with step(title or folder.replace("-", " ")):
        if work_dir := os.environ.get(WORK_DIR) or read_options(artifact.uri).work_dir:
            artifact.uri = f"{work_dir.rstrip('/')}/{folder}"
        yield artifact.uri
    if ready:
        artifact.uri = f"{artifact.uri.rstrip('/')}/{ready}"
    if not os.environ.get(EVENTS):
        artifact.metadata["seconds"] = round(time.monotonic() - started, 2)


def folder_of(artifact: Artifact) -> str:
    """The folder of an artifact that is handed on by the file that shows that it is complete.

    Kubeflow Pipelines copies every input artifact into the pod before the step starts. Records, checkpoints, models and
    evaluations are read from the bucket itself, so the artifact names one small file, and only that file is copied.
    """
    return artifact.uri.rpartition("/")[0]


@contextmanager
def step(title: str) -> Iterator[None]:
    """Reports the body's events, and ends the process if the body takes longer than the compiled pipeline allows.

    On this machine there is no limit. Past the limit the process prints a message and where it is, and ends with exit
    code 1, also out of native code.

    Args:
      title: the stage's name in the graph.
    """
    start_light()
    with reported(title), _limited(title):
        yield


@contextmanager
def _limited(title: str) -> Iterator[None]:
    limit = float(os.environ.get(TIMEOUT, "0"))
    if not limit:
        yield
        return
    timer = threading.Timer(limit, _end, (title, limit))
    timer.daemon = True
    timer.start()
    # Native code may hold the interpreter's lock forever. No Python thread runs then, but faulthandler's does.
    faulthandler.dump_traceback_later(limit + GRACE_SECONDS, exit=True)
    try:
        yield
    finally:
        timer.cancel()
        faulthandler.cancel_dump_traceback_later()


def _end(title: str, limit: float) -> None:
    print(
        f"error: stage {title!r} took longer than its limit of {limit:g} s ({TIMEOUT}; timeout_hours of the target in "
        "pipeline/graph/targets.py). It was here:",
        file=sys.stderr,
    )
    faulthandler.dump_traceback(all_threads=True)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


def cores() -> int:
    """Number of cores that the stage may use: those that its task asks for, if it has them."""
    found = usable_cores()
    return min(int(os.environ.get(CORES, found)), found)


def threads() -> int:
    """Number of threads that a stage in one process may use. Preprocessing holds Python's lock a fifth of the time."""
    return min(4, cores())
