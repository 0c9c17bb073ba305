"""What every component does around its one call: where the output goes, how long it took, how long it may take."""

import faulthandler
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

TIMEOUT = "STAGE_TIMEOUT_SECONDS"
"""Environment variable that the compiled pipeline sets; pipeline tasks have no time limit of their own."""


class Artifact(Protocol):
    """The part of a KFP artifact that is used here."""

    uri: str
    metadata: dict[str, Any]


@contextmanager
def stage(name: str, artifact: Artifact, work_dir: str) -> Iterator[str]:
    """Points the output artifact at its place and notes the seconds of the body in its metadata.

    Past the time limit the process prints where it is and ends with exit code 1, also out of native code.

    Args:
      name: of the stage, a folder name.
      artifact: the stage's output.
      work_dir: folder of the whole run. A run that is started again with the same folder finds what its stages wrote,
        and the libraries reuse it. "" leaves the artifact where the pipeline backend put it.

    Yields:
      The artifact's URI.
    """
    if work_dir:
        artifact.uri = f"{work_dir.rstrip('/')}/{name}"
    limit = float(os.environ.get(TIMEOUT, "0"))
    if limit:
        faulthandler.dump_traceback_later(limit, exit=True)
    started = time.monotonic()
    try:
        yield artifact.uri
    finally:
        if limit:
            faulthandler.cancel_dump_traceback_later()
    artifact.metadata["seconds"] = round(time.monotonic() - started, 2)
