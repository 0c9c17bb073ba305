"""Reads kfp's local log as it is written, keeps all of it in a file, and tells the user one line a stage.

kfp's runner prints everything to standard output: its own log lines, and those of the stages indented by four spaces.
Our libraries print "progress: ..." while they work and "result: ..." when they are done.
"""

import re
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import TextIOBase
from pathlib import Path
from types import TracebackType
from typing import TextIO

TAIL_LINES = 15
PROGRESS_SECONDS = 10.0
"""Least time between two progress lines where the terminal can't overwrite them."""

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_STARTED = re.compile(r"Executing task '([^']+)'")
_FINISHED = re.compile(r"Task '([^']+)' finished with status (\w+)")
_CACHED = re.compile(r"Task (\S+) cache hit \(key=(\w+)\)")
_INPUT_ERROR = re.compile(r"^(?:\w+\.)*InputError: (.+)")
_INDENT = "    "


@dataclass(frozen=True, slots=True)
class Failure:
    """A stage that failed, and what it said."""

    stage: str
    tail: tuple[str, ...]
    """The last lines that the stage printed."""
    input_error: str
    """The message of the InputError that ended the stage, if one did."""


class StageLog(TextIOBase):
    """A text stream to redirect standard output to, while the pipeline runs."""

    def __init__(
        self,
        path: Path,
        display_names: Mapping[str, str],
        *,
        verbose: bool,
        origin: Callable[[str], str] = lambda key: f"cache entry {key}",
        terminal: TextIO | None = None,
    ):
        """
        Args:
          path: the log file; it is appended to.
          display_names: kfp's task name to the one the user sees.
          verbose: copy the whole log to the terminal.
          origin: the start of a cache entry's key to where its result lies.
          terminal: where the user looks; standard output when None.
        """
        self.seconds: dict[str, float] = {}
        """Wall seconds of every finished stage, by display name, in order."""
        self.reused: dict[str, str] = {}
        """Stages that took an earlier run's result, and where it lies."""
        self.stage = ""
        """The stage that runs now, or ran last."""
        self.failure: Failure | None = None
        """The first stage that failed. kfp goes on with the stages that don't need it, so it need not be the last."""
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._input_error = ""
        self._display_names = display_names
        self._verbose = verbose
        self._origin = origin
        self._terminal = terminal or sys.stdout
        self._file = path.open("a", encoding="utf-8")
        self._partial = ""
        self._result = ""
        self._started = self._shown = time.monotonic()
        self._overwrite = self._terminal.isatty() and not verbose

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        """Takes any piece of text, whole lines or not."""
        self._file.write(text)
        if self._verbose:
            self._terminal.write(text)
        *lines, self._partial = (self._partial + text).split("\n")
        for line in lines:
            self._read(_COLOURS.sub("", line))
        return len(text)

    def flush(self) -> None:
        if not self._file.closed:
            self._file.flush()
        self._terminal.flush()

    def __enter__(self) -> "StageLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._overwrite:
            self._terminal.write("\r\x1b[K")
        self.flush()
        self._file.close()

    def _read(self, line: str) -> None:
        if started := _STARTED.search(line):
            self._start(started[1])
        elif cached := _CACHED.search(line):
            self._start(cached[1])
            self.reused[self.stage] = self._origin(cached[2])
            self._result = f"reused from {self.reused[self.stage]}"
            self._finish()
        elif finished := _FINISHED.search(line):
            self._finish() if finished[2] == "SUCCESS" else self._fail()
        elif line.startswith(_INDENT) and line.strip():
            self._stage_says(line.removeprefix(_INDENT).rstrip())

    def _start(self, task: str) -> None:
        self.stage = self._display_names.get(task, task)
        self._tail.clear()
        self._result = self._input_error = ""
        self._started = self._shown = time.monotonic()
        if self._overwrite:
            self._overwrite_line("running")

    def _finish(self) -> None:
        seconds = time.monotonic() - self._started
        self.seconds[self.stage] = round(seconds, 2)
        start = "\r\x1b[K" if self._overwrite else ""
        self._terminal.write(f"{start}{self.stage:<20}{seconds:7.1f} s   {self._result}".rstrip() + "\n")
        self._terminal.flush()

    def _fail(self) -> None:
        self.failure = self.failure or Failure(self.stage, tuple(self._tail), self._input_error)

    def _stage_says(self, line: str) -> None:
        self._tail.append(line)
        if line.startswith("result: "):
            self._result = line.removeprefix("result: ")
        elif found := _INPUT_ERROR.match(line):
            self._input_error = found[1]
        elif line.startswith("progress: "):
            self._show_progress(line.removeprefix("progress: "))

    def _show_progress(self, text: str) -> None:
        if self._overwrite:
            self._overwrite_line(text)
        elif not self._verbose and time.monotonic() - self._shown >= PROGRESS_SECONDS:
            self._shown = time.monotonic()
            self._terminal.write(f"  {self.stage}: {text}\n")
            self._terminal.flush()

    def _overwrite_line(self, text: str) -> None:
        seconds = time.monotonic() - self._started
        self._terminal.write(f"\r\x1b[K{self.stage:<20}{seconds:7.1f} s   {text}"[:150])
        self._terminal.flush()
