"""What a stage reports while it works: one line of JSON per event, in a file that the local runner reads.

start     the stage begins
progress  a library printed "progress: …"
note      a library printed "note: …": a line that a person should see, however many lines come before and after it
result    a library or the component printed "result: …"
warning   a library or the component printed "warning: …"
error     the exception that ended the stage
end       the stage is done; a stage without this event has failed

The runner names the file in `STAGE_EVENTS`. Pipeline services don't: there the lines are only printed.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TextIO, cast

from beam_preprocess.base.command import full_disk
from beam_preprocess.base.errors import Failure, InputError

EVENTS = "STAGE_EVENTS"
"""Environment variable: the file."""

Kind = Literal["start", "progress", "note", "result", "warning", "error", "end"]
Cause = Literal["", "bad input", "failure", "defect"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """One line of the file."""

    kind: Kind
    stage: str
    """As the graph shows it."""
    time: float
    """Seconds since 1970."""
    text: str = ""
    cause: Cause = ""
    """What kind of exception an error event reports: an `InputError`, a `Failure`, or any other."""


@contextmanager
def reported(stage: str) -> Iterator[None]:
    """Writes the events of the body, if the environment names a file.

    Each event is in the file before its line is printed: a reader of the log finds the event.

    Args:
      stage: name, as the graph shows it.
    """
    path = os.environ.get(EVENTS, "")
    if not path:
        yield
        return

    def write(kind: Kind, text: str = "", cause: Cause = "") -> None:
        event = Event(kind=kind, stage=stage, time=time.time(), text=text, cause=cause)
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(event)) + "\n")

    write("start")
    print(f"start: {stage}", flush=True)
    with redirect_stdout(cast(TextIO, _Watched(sys.stdout, write))):
        try:
            yield
        except BaseException as error:
            write("error", *_described(error))
            raise
    write("end")
    print(f"end: {stage}", flush=True)


def read_events(path: Path, offset: int = 0) -> tuple[list[Event], int]:
    """The events that were written completely.

    Args:
      path: the file; it may be missing.
      offset: bytes to skip.

    Returns:
      The events, and the offset to read on from.
    """
    if not path.exists():
        return [], offset
    with path.open("rb") as file:
        file.seek(offset)
        whole, newline, _ = file.read().rpartition(b"\n")
    events = [Event(**json.loads(line)) for line in whole.splitlines()]
    return events, offset + len(whole) + len(newline)


def stage_seconds(path: Path) -> dict[str, float]:
    """Seconds of every stage that ended, by name. The last attempt counts."""
    started: dict[str, float] = {}
    seconds: dict[str, float] = {}
    for event in read_events(path)[0]:
        if event.kind == "start":
            started[event.stage] = event.time
        elif event.kind == "end":
            seconds[event.stage] = round(event.time - started[event.stage], 2)
    return seconds


def _described(error: BaseException) -> tuple[str, Cause]:
    text = " ".join(str(error).split())
    if isinstance(error, InputError):
        return text, "bad input"
    if isinstance(error, Failure):
        return text, "failure"
    if isinstance(error, Exception) and (line := full_disk(error)):
        return line, "failure"
    return f"{type(error).__name__}: {text}", "defect"


class _Watched:
    """A text stream that passes everything on, and reports lines that begin with "progress: ", "note: ", "result: " or
    "warning: "."""

    def __init__(self, stream: TextIO, report: Callable[[Kind, str], None]) -> None:
        self._stream, self._report = stream, report
        self._partial = ""
        self._lock = threading.Lock()

    def write(self, text: str) -> int:
        with self._lock:
            *lines, self._partial = (self._partial + text).split("\n")
            for line in lines:
                kind, colon, rest = line.partition(": ")
                if colon and kind in ("progress", "note", "result", "warning"):
                    self._report(cast(Kind, kind), rest)
            return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
