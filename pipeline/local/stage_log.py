"""Shows one line per stage while the pipeline runs, from the stages' own events, and keeps the whole log in a file."""

import sys
import time
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TextIO

from components.support.events import Cause, Event, read_events

TAIL_LINES = 15
PROGRESS_SECONDS = 10.0
"""Minimum time between two progress lines where the terminal can't overwrite them."""
_CLEAR = "\r\x1b[K"


@dataclass(frozen=True, slots=True)
class StageFailure:
    """A stage that failed."""

    stage: str
    tail: tuple[str, ...]
    """The last lines that the stage printed."""
    error: str = ""
    """The exception that ended the stage, in one line; "" if the stage could not report one."""
    cause: Cause = ""


@dataclass(slots=True)
class _Running:
    """A stage that has started and has not ended."""

    stage: str
    result: str = ""
    error: str = ""
    cause: Cause = ""
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=TAIL_LINES))

    def failure(self) -> StageFailure:
        return StageFailure(self.stage, tuple(self.tail), self.error, self.cause)


class StageLog:
    """Listens to a running pipeline (`pipeline.local.kfp_runner.Listener`).

    The events are read whenever the pipeline prints a line: stages print one after each event.
    """

    def __init__(
        self,
        path: Path,
        events: Path,
        *,
        verbose: bool,
        origin: Callable[[str], str] = lambda key: f"cache entry {key}",
        known: Collection[str] = (),
        terminal: TextIO | None = None,
    ):
        """
        Args:
          path: the log file; it is appended to.
          events: file that the stages write their events to; events that it holds already are skipped.
          verbose: copy the whole log to the terminal.
          origin: the key of a cache entry to the place of its result.
          known: warnings that the user has seen; they are not shown again.
          terminal: where the user looks; standard output when None.
        """
        self.seconds: dict[str, float] = {}
        """Wall seconds of every stage that ended, in order: since the end of the stage before it."""
        self.origins: dict[str, str] = {}
        """Stages that took the result of an earlier run, with the place of the result."""
        self._events, self._offset = events, events.stat().st_size if events.exists() else 0
        self._known = frozenset(known)
        self._verbose, self._origin, self._terminal = verbose, origin, terminal or sys.stdout
        self._file = path.open("a", encoding="utf-8")
        self._running: _Running | None = None
        self._failure: StageFailure | None = None
        self._outside: deque[str] = deque(maxlen=TAIL_LINES)
        self._since = time.time()
        self._shown = time.monotonic()
        self._overwrite = self._terminal.isatty() and not verbose

    @property
    def stage(self) -> str:
        """The stage that is running; "" between two."""
        return self._running.stage if self._running else ""

    @property
    def failure(self) -> StageFailure | None:
        """The first stage that started and did not end.

        kfp continues with the stages that don't need it, so it may not be the last stage.
        """
        return self._failure or (self._running.failure() if self._running else None)

    def ended(self) -> int:
        """Number of stages that have said that they are done, or were reused."""
        self._read_events()
        return len(self.seconds)

    @property
    def outside(self) -> tuple[str, ...]:
        """The last lines that were printed since the last stage ended, by a process that failed before its stage."""
        return tuple(self._outside)

    def line(self, text: str, *, by_stage: bool) -> None:
        """Takes one line of the pipeline's log."""
        indented = f"    {text}" if by_stage else text
        self._file.write(indented + "\n")
        if self._verbose:
            self._terminal.write(indented + "\n")
        self._read_events()
        if by_stage and text.strip():
            (self._running.tail if self._running else self._outside).append(text.rstrip())

    def reused(self, stage: str, key: str) -> None:
        """Takes note of a stage that took the result of an earlier run."""
        self._read_events()
        self.origins[stage] = self._origin(key)
        self._since = time.time()
        self._file.write(f"reused: {stage} from {self.origins[stage]}\n")
        self._ended(stage, self._since, f"reused from {self.origins[stage]}")

    def __enter__(self) -> "StageLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._read_events()
        if self._overwrite:
            self._terminal.write(_CLEAR)
        self._terminal.flush()
        self._file.close()

    def _read_events(self) -> None:
        events, self._offset = read_events(self._events, self._offset)
        for event in events:
            self._take(event)

    def _take(self, event: Event) -> None:
        if event.kind == "start":
            self._failure = self.failure  # of the stage before, which has not ended
            self._running = _Running(event.stage)
            self._outside.clear()
            if self._overwrite:
                self._overwrite_line("running")
            return
        running = self._running
        if running is None or running.stage != event.stage:
            return  # a process that outlived its stage
        if event.kind == "progress":
            self._show_progress(event.text)
        elif event.kind == "note":
            self._show_note(event.text)
        elif event.kind == "result":
            running.result = event.text
        elif event.kind == "warning":
            self._show_warning(event.text)
        elif event.kind == "error":
            running.error, running.cause = event.text, event.cause
        else:
            self._running = None
            self._ended(event.stage, event.time, running.result)

    def _ended(self, stage: str, when: float, result: str) -> None:
        seconds, self._since = when - self._since, when
        self.seconds[stage] = round(seconds, 2)
        start = _CLEAR if self._overwrite else ""
        self._terminal.write(f"{start}{stage:<20}{seconds:7.1f} s   {result}".rstrip() + "\n")
        self._terminal.flush()

    def _show_warning(self, text: str) -> None:
        if text in self._known:
            return
        start = _CLEAR if self._overwrite else ""
        self._terminal.write(f"{start}  warning: {text}\n")
        self._terminal.flush()

    def _show_progress(self, text: str) -> None:
        if self._overwrite:
            self._overwrite_line(text)
        elif not self._verbose and time.monotonic() - self._shown >= PROGRESS_SECONDS:
            self._shown = time.monotonic()
            self._terminal.write(f"  {self.stage}: {text}\n")
            self._terminal.flush()

    def _show_note(self, text: str) -> None:
        """A line that stays, such as the AP of a validation."""
        if not self._verbose:  # the whole log shows it already
            self._terminal.write(f"{_CLEAR if self._overwrite else ''}  {self.stage}: {text}\n")
            self._terminal.flush()

    def _overwrite_line(self, text: str) -> None:
        seconds = time.time() - self._since
        self._terminal.write(f"{_CLEAR}{self.stage:<20}{seconds:7.1f} s   {text}"[:150])
        self._terminal.flush()
