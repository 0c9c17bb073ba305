"""A polite kill while training: save, say so, and exit with 75, so that whoever restarts knows there is more to do."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

EXIT_CODE = 75
"""EX_TEMPFAIL of sysexits.h: try again."""
CHECK_SECONDS = 2.0
"""How long a request may go unnoticed. Of the 30 seconds that a spot machine has left, most belong to the save."""


class Preempted(RuntimeError):
    """The training was asked to stop and saved; the same command goes on from there."""


class Interrupted(Exception):
    """Training or evaluation stopped on the way, because it was asked to.

    Args:
      output: of the steps that were made of a loop of training; nothing of an evaluation.
    """

    def __init__(self, output: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.output = output


class Preemption:
    """Whether SIGTERM has come, and how many steps may be run before that is asked again.

    A loop of `trainer.steps_per_loop` steps runs inside TensorFlow and can't be interrupted. It may be as long as one
    likes all the same: it is run in pieces of about `CHECK_SECONDS`.

    Args:
      sums: given numbers of this worker, those of all workers, added up; every worker must ask at the same step, and
        gets the same answer, so that all make pieces of one length. Saving takes all of them, so they stop together.
      workers: how many there are.
    """

    def __init__(self, sums: Callable[[list[float]], Iterable[float]] = list, workers: int = 1) -> None:
        self.requested = False
        """This process was."""
        self.asked = False
        """Any worker was, and all know."""
        self.worth_saving = False
        """Set by whoever runs the pieces, when a step is done."""
        self._sums, self._workers = sums, workers
        self._length = 1

    def pieces(self, steps: int) -> Iterator[int]:
        """Lengths of pieces that make up a loop of so many steps, or less when it is asked to stop.

        The caller runs each piece, to its end, before it takes the next one.
        """
        while steps > 0 and not self.asked:
            length, started = min(self._length, steps), time.monotonic()
            yield length
            steps -= length
            requested, seconds = self._sums([float(self.requested), time.monotonic() - started])
            self.asked = bool(requested > 0)
            # The first one takes minutes, which says nothing of the second: TensorFlow builds the step in it.
            in_time = CHECK_SECONDS * length * self._workers / max(seconds, 1e-6)
            self._length = max(1, min(int(in_time + 1e-6), 2 * self._length))

    def check(self) -> None:
        """To be called by every worker at the same step of an evaluation.

        Raises:
          Interrupted: any worker was asked to stop.
        """
        requested, _ = self._sums([float(self.requested), 0.0])
        self.asked = bool(requested > 0)
        if self.asked:
            raise Interrupted

    @contextmanager
    def watch(self) -> Iterator[None]:
        """While active, SIGTERM sets `requested` instead of killing; outside the main thread nothing changes.

        Before the first step is done nothing is lost, and building it can take longer than the grace time: then it
        ends the process at once.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def request(_number: int, _frame: object) -> None:
            if not self.worth_saving:
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
