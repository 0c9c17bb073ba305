"""A polite kill while training: save, say so, and exit with 75, so that whoever restarts knows there is more to do."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import orbit

EXIT_CODE = 75
"""EX_TEMPFAIL of sysexits.h: try again."""


class Preempted(RuntimeError):
    """The training was asked to stop and saved; the same command goes on from there."""


class Preemption:
    """Whether SIGTERM has come, and the train action that acts on it between two loops.

    A loop of `trainer.steps_per_loop` steps runs inside TensorFlow and can't be interrupted: keep it shorter than the
    grace time (30 seconds on Google's spot machines).

    Args:
      anywhere: whether any worker was asked, from whether this one was: saving takes all of them.
    """

    def __init__(self, anywhere: Callable[[bool], bool] = bool) -> None:
        self.requested = False
        self._anywhere = anywhere

    @contextmanager
    def watch(self) -> Iterator[None]:
        """While active, SIGTERM sets `requested` instead of killing; outside the main thread nothing changes."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def request(_number: int, _frame: object) -> None:
            self.requested = True

        previous = signal.signal(signal.SIGTERM, request)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, previous)

    def action(self, save: Callable[[], str]) -> orbit.Action:
        """The train action.

        Args:
          save: writes a checkpoint, and says what was done.
        """

        def stop_when_asked(_output: orbit.runner.Output) -> None:
            if self._anywhere(self.requested):
                raise Preempted(f"asked to stop by SIGTERM: {save()}; the same command goes on from there")

        return stop_when_asked
