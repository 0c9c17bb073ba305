"""What every component does around its one call: where the output goes, how long it took."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol


class Artifact(Protocol):
    """The part of a KFP artifact that is used here."""

    uri: str
    metadata: dict[str, Any]


@contextmanager
def stage(name: str, artifact: Artifact, work_dir: str) -> Iterator[str]:
    """Points the output artifact at its place and notes the seconds of the body in its metadata.

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
    started = time.monotonic()
    yield artifact.uri
    artifact.metadata["seconds"] = round(time.monotonic() - started, 2)
