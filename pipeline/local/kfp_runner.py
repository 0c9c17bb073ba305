"""kfp's local runner: every touch of its private parts and habits, and nothing else.

What kfp 2.17 does, and what this module makes of it:
- It replaces "python3" by `sys.executable` everywhere in a task's command: unquoted in shell text, where a space in the
  path breaks the command, and in the task's arguments, which changes the user's texts. While a pipeline runs here,
  `sys.executable` is "python3", so that nothing is replaced, and a program of that name, first on PATH, starts the
  interpreter.
- It prints everything to standard output, with colour codes; what a task prints is indented by four spaces. Here each
  line is passed on without colours.
- It reports a task that its cache answers in one log message only: on the root logger, at level INFO, which is off
  outside a task. A handler of ours turns the message into a call.
- It warns about images whose name lacks "python". It starts no image at all; the warning is off.
- It runs a container by a handler of its own (`DockerTaskHandler.run`), whose result can't be trusted: see
  `pipeline.local.containers`. Ours takes its place.
- Importing it imports its client for services, and with that kubernetes and google-auth: two thirds of its import time,
  for nothing here. It leaves the client out where a task runs, which it knows by an environment variable.
- It raises a RuntimeError for a pipeline that fails, whose message names the task. It may skip tasks and report
  success: callers check the stages' own events.

tests/pipeline/local/test_kfp_runner.py tells what to do when one of these changes.
"""

import contextlib
import logging
import os
import re
import shlex
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from io import TextIOBase
from pathlib import Path
from typing import Any, Protocol

from beam_preprocess.base.errors import Failure, InputError

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_CACHE_HIT = re.compile(r"Task (\S+) cache hit \(key=(\w+)\)")
_INDENT = "    "
_IN_A_TASK = "_KFP_RUNTIME"
"""kfp's environment variable."""


class PipelineFailed(Failure):
    """A task failed; the message is kfp's, and names the task."""


class Listener(Protocol):
    """What receives the news of a running pipeline."""

    def line(self, text: str, *, by_stage: bool) -> None:
        """A line of the log, without colours and line end; `by_stage`: a task printed it."""

    def reused(self, stage: str, key: str) -> None:
        """The stage takes the result of an earlier run: the cache's entry whose name begins with `key`."""


Start = Callable[[Sequence[str], Mapping[str, str]], int]
"""Runs a task's command, with its environment variables, and returns the exit code."""


def load() -> None:
    """Imports kfp without its client, before anything else does. `kfp.client` can still be imported."""
    if "kfp" not in sys.modules:
        found = os.environ.get(_IN_A_TASK)
        os.environ[_IN_A_TASK] = "true"
        try:
            import kfp  # noqa: F401
        finally:
            del os.environ[_IN_A_TASK]
            if found is not None:
                os.environ[_IN_A_TASK] = found
    from kfp import components, dsl, local  # noqa: F401


def run(
    pipeline: Any,
    arguments: Mapping[str, Any],
    *,
    pipeline_root: Path,
    cache: Path | None,
    listener: Listener,
    start: Start | None = None,
) -> None:
    """Runs a pipeline on this machine, one task after the other, each in a process or container of its own.

    Args:
      pipeline: kfp's graph component.
      arguments: of the pipeline.
      pipeline_root: folder for kfp's own files.
      cache: folder of the cache; None runs every task.
      listener: gets every line, and every stage that the cache answers.
      start: runs a task in a container; None runs it in a process. What it prints is the task's.

    Raises:
      PipelineFailed: a task failed.
      InputError: the folder for temporary files holds no programs.
    """
    load()
    from kfp import local

    from pipeline.graph.kfp_spec import display_names

    local.init(
        runner=local.DockerRunner() if start else local.SubprocessRunner(use_venv=False),
        pipeline_root=str(pipeline_root),
        raise_on_error=True,
        enable_caching=cache is not None,
        cache_root=str(cache or ""),
    )
    names = display_names(pipeline)
    output = _Lines(listener)

    def hit(task: str, key: str) -> None:
        listener.reused(names.get(task, task), key)

    with _started_by(start) if start else _python3(), _cache_hits(hit), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="You may be attemp", category=RuntimeWarning)
        try:
            with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
                pipeline(**arguments)
        except RuntimeError as error:
            raise PipelineFailed(_COLOURS.sub("", str(error))) from error
        finally:
            output.close()


class _Lines(TextIOBase):
    """A text stream that passes on whole lines."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._partial = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *lines, self._partial = (self._partial + text).split("\n")
        for line in lines:
            self._pass_on(line)
        return len(text)

    def close(self) -> None:
        if self._partial:
            self._pass_on(self._partial)
            self._partial = ""
        super().close()

    def _pass_on(self, line: str) -> None:
        plain = _COLOURS.sub("", line)
        self._listener.line(plain.removeprefix(_INDENT), by_stage=plain.startswith(_INDENT))


@contextlib.contextmanager
def _python3() -> Iterator[None]:
    """While the body runs, "python3" starts this interpreter, whatever its path is."""
    executable, path = sys.executable, os.environ.get("PATH", os.defpath)
    with tempfile.TemporaryDirectory(prefix="centernet-") as folder:
        program = Path(folder) / "python3"
        program.write_text(f'#!/bin/sh\nexec {shlex.quote(executable)} "$@"\n', encoding="utf-8")
        program.chmod(0o755)
        if not os.access(program, os.X_OK):  # the file system is mounted without programs
            raise InputError(f"TMPDIR {tempfile.gettempdir()}: programs there can't be started; set another folder")
        os.environ["PATH"] = f"{folder}{os.pathsep}{path}"
        sys.executable = "python3"
        try:
            yield
        finally:
            sys.executable = executable
            os.environ["PATH"] = path


@contextlib.contextmanager
def _started_by(start: Start) -> Iterator[None]:
    """While the body runs, kfp starts containers by this function."""
    from kfp.local import status
    from kfp.local.docker_task_handler import DockerTaskHandler

    def run(handler: Any) -> status.Status:
        code = start(handler.full_command, handler.env_vars)
        return status.Status.FAILURE if code else status.Status.SUCCESS

    own = DockerTaskHandler.run
    DockerTaskHandler.run = run
    try:
        yield
    finally:
        DockerTaskHandler.run = own


@contextlib.contextmanager
def _cache_hits(report: Callable[[str, str], None]) -> Iterator[None]:
    """Calls `report(task, key)` for each task that kfp's cache answers."""

    class Hits(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if found := _CACHE_HIT.search(record.getMessage()):
                report(found[1], found[2])

    root, handler = logging.getLogger(), Hits()
    level = root.level
    root.setLevel(logging.INFO)
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
