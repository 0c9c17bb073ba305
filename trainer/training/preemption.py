"""SIGTERM while training: save, report it, and exit with 75, so that the caller knows to rerun the command."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from beam_preprocess.base.errors import Failure

EXIT_CODE = 75
"""EX_TEMPFAIL of sysexits.h: try again."""
CHECK_SECONDS = 2.0
"""How long a request may go unnoticed. A spot machine has 30 seconds left, and the save needs most of them."""


class Preempted(Failure):
    """The training was asked to stop and saved; the same command resumes it."""

    exit_code = EXIT_CODE
    label = "preempted"


class Interrupted(Exception):
    """A loop of steps or an evaluation stopped before its end, because it was asked to.

    Args:
      output: the output of the steps that a loop made; None for an evaluation.
    """

    def __init__(self, output: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.output = output


class Preemption:
    """Whether SIGTERM has come, and how many steps may run before asking again.

    A loop of `trainer.steps_per_loop` steps runs inside TensorFlow and can't be interrupted. It may still be as long as
    the user likes, because it runs in pieces of about `CHECK_SECONDS`.

    Args:
      cross_worker_sum: adds up numbers over all workers. Every worker must ask at the same step and gets the same
        answer, so that all workers make pieces of the same length. Saving takes all of them, so they stop together.
      workers: how many there are.
    """

    def __init__(self, cross_worker_sum: Callable[[list[float]], Iterable[float]] = list, workers: int = 1) -> None:
        self.requested = False
        """This process was asked to stop."""
        self.asked = False
        """Any worker was asked to stop, and all workers know."""
        self._sum, self._workers = cross_worker_sum, workers
        self._length = 1
        self._worth_saving = False

    def pieces(self, steps: int) -> Iterator[int]:
        """Lengths of the pieces of a loop of this many steps; fewer when asked to stop.

        The caller runs each piece to its end before it takes the next one.
        """
        while steps > 0 and not self.asked:
            length, started = min(self._length, steps), time.monotonic()
            yield length
            self._worth_saving = True
            steps -= length
            requested, seconds = self._sum([float(self.requested), time.monotonic() - started])
            self.asked = bool(requested > 0)
            # The first piece takes minutes, because TensorFlow builds the step in it, and predicts nothing.
            in_time = CHECK_SECONDS * length * self._workers / max(seconds, 1e-6)
            self._length = max(1, min(int(in_time + 1e-6), 2 * self._length))

    def check(self) -> None:
        """Called by every worker at the same step of an evaluation.

        Raises:
          Interrupted: any worker was asked to stop.
        """
        requested, _ = self._sum([float(self.requested), 0.0])
        self.asked = bool(requested > 0)
        if self.asked:
            raise Interrupted

    @contextmanager
    def watch(self) -> Iterator[None]:
        """While active, SIGTERM sets `requested` instead of killing; outside the main thread nothing changes.

        Before the first piece is done, SIGTERM ends the process at once: nothing is lost, and building the step can
        take longer than the time that is left.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def request(_number: int, _frame: object) -> None:
            if not self._worth_saving:
                print("preempted: asked to stop by SIGTERM before the first step: nothing to save", file=sys.stderr)
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(EXIT_CODE)
            self.requested = True

        previous = signal.signal(signal.SIGTERM, request)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, previous)
