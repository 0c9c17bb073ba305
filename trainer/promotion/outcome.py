"""What a run on a service leaves for those who come after it: the alert, and the person who approves.

`<pipeline root>/outcomes/<job>.json` is written last. A run without it has failed, or is still running. A run that
watched new images leaves what it saw in `<job>.watch.json`, whatever comes of the training that follows.
"""

import json
from dataclasses import asdict, dataclass

from beam_preprocess.base.files import exists, read_text, write_text
from beam_preprocess.base.json import read
from trainer.promotion.summary import split_outcome
from trainer.registry.base import RegistryError
from trainer.registry.uri import open_registry

REPORT = "report"
"""Name of a version's note: URI of the report about it."""
RUN_AGAIN = "run the pipeline again"


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """Content of the file."""

    outcome: str
    """The run's sentence: "promoted: …", "pending approval: …", "held: …" or "unchanged: …"; of a watch that trains
    nothing it begins with the verdict."""
    report: str
    """URI of the report; "" if there is none."""


def location(pipeline_root: str, job: str) -> str:
    """URI of the file."""
    return f"{pipeline_root.rstrip('/')}/outcomes/{job}.json"


def write_ended(ended: Ended, pipeline_root: str, job: str) -> None:
    """Writes the file; without a job, nobody reads it and nothing is written."""
    if job:
        write_text(location(pipeline_root, job), json.dumps(asdict(ended)) + "\n")


def read_ended(pipeline_root: str, job: str) -> Ended | None:
    """The content of the file; None if there is none.

    Raises:
      InputError: it is damaged.
    """
    uri = location(pipeline_root, job)
    return read(Ended, read_text(uri, RUN_AGAIN), uri, RUN_AGAIN) if exists(uri) else None


def write_said(said: str, page: str, pipeline_root: str, job: str) -> None:
    """Notes what watching said, as `write_ended` does."""
    write_ended(Ended(outcome=said, report=page), pipeline_root, job and f"{job}.watch")


def read_said(pipeline_root: str, job: str) -> str:
    """What watching said; "" if the run didn't watch, or not to its end.

    Raises:
      InputError: the file is damaged.
    """
    found = read_ended(pipeline_root, f"{job}.watch")
    return found.outcome if found else ""


def link_report(outcome: str, report: str, registry: str) -> None:
    """Notes the report with a version that waits for approval: who approves wants to read it first.

    A registry that can't be reached is a warning: the version waits all the same.
    """
    kind, rest = split_outcome(outcome)
    if kind != "pending approval":
        return
    version = rest.split(" ")[0]
    try:
        open_registry(registry).note(version, REPORT, report)
    except RegistryError as error:
        print(f"warning: the report's address was not noted with {version}: {error}", flush=True)
