"""Signals: a polite kill ends the run as Ctrl-C does, and no stage outlives the run."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """While the body runs, SIGTERM (from a time limit, a service manager) raises KeyboardInterrupt."""

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def end_children() -> None:
    """Ends the stage that is still running, so that it can't write to the folder of a resumed run.

    Ctrl-C in a terminal reaches the stage anyway, but a signal to this process alone does not. Only Linux lists a
    process's children; on other systems a stage can outlive such a signal.
    """
    waiting = [os.getpid()]
    found: list[int] = []
    while waiting:
        for children in Path(f"/proc/{waiting.pop()}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                pids = [int(pid) for pid in children.read_text().split()]
                waiting += pids
                found += pids
    for pid in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
