"""How a loop is split into pieces, and what SIGTERM does before there is anything to save."""

import signal
import subprocess
import sys
import threading

import pytest

from trainer.training.preemption import CHECK_SECONDS, EXIT_CODE, Interrupted, Preemption


class Clock:
    """Stands for workers that take this many seconds per step, and more for the first."""

    def __init__(self, seconds: float, first: float = 0.0, workers: int = 1) -> None:
        self.seconds, self.first, self.workers = seconds, first, workers
        self.length = 0
        self.asked_after = 1 << 30
        self.calls = 0

    def cross_worker_sum(self, mine: list[float]) -> list[float]:
        self.calls += 1
        took = self.length * self.seconds + (self.first if self.calls == 1 else 0.0)
        return [mine[0] + (self.calls > self.asked_after), took * self.workers]

    def run(self, stop: Preemption, steps: int) -> list[int]:
        lengths = []
        for self.length in stop.pieces(steps):
            lengths.append(self.length)
        return lengths


@pytest.mark.parametrize(
    ("seconds", "first", "workers", "lengths"),
    [
        (1e-9, 0.0, 1, [1, 2, 4, 8, 16, 32, 37]),  # no longer than twice the one before
        (0.1, 0.0, 1, [1, 2, 4, 8, 16, 20, 20, 20, 9]),  # two seconds each
        (0.1, 0.0, 3, [1, 2, 4, 8, 16, 20, 20, 20, 9]),  # the mean of the workers' seconds
        (0.1, 90.0, 1, [1, 1, 2, 4, 8, 16, 20, 20, 20, 8]),  # the first one builds the step
        (1.5, 0.0, 1, [1] * 100),
        (9.0, 0.0, 1, [1] * 100),  # not less than a step
    ],
)
def test_a_loop_is_run_in_pieces_of_about_two_seconds(
    seconds: float, first: float, workers: int, lengths: list[int]
) -> None:
    clock = Clock(seconds, first, workers)
    stop = Preemption(clock.cross_worker_sum, workers)
    assert clock.run(stop, 100) == lengths
    assert sum(lengths) == 100
    assert max(lengths[2:]) * seconds <= max(CHECK_SECONDS, seconds) + 1e-9
    # The next loop begins with the length that was found.
    assert clock.run(stop, 1000)[1] >= lengths[-2]


@pytest.mark.parametrize("after", [0, 1, 4])
def test_the_loop_ends_when_any_worker_is_asked(after: int) -> None:
    clock = Clock(0.1)
    stop, clock.asked_after = Preemption(clock.cross_worker_sum), after
    assert clock.run(stop, 100) == [1, 2, 4, 8, 16][: after + 1]
    assert stop.asked
    assert not stop.requested, "another worker was asked"
    assert clock.run(stop, 100) == []


def test_an_evaluation_is_left_when_asked() -> None:
    stop = Preemption()
    stop.check()
    stop.requested = True
    with pytest.raises(Interrupted):
        stop.check()
    assert stop.asked


def test_sigterm_is_noted_and_the_old_handler_comes_back() -> None:
    before, stop = signal.getsignal(signal.SIGTERM), Preemption()
    with stop.watch():
        for piece, _ in enumerate(stop.pieces(30)):
            assert not stop.asked
            if piece == 1:  # after the first one, there is something to save
                signal.raise_signal(signal.SIGTERM)
        assert stop.asked
        assert piece == 1
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_thread_watches_nothing() -> None:
    """Python gives signals to the main thread alone."""
    seen: list[object] = []

    def work() -> None:
        with Preemption().watch():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    before = signal.getsignal(signal.SIGTERM)
    thread.start()
    thread.join()
    assert seen == [before]


BEFORE_THE_FIRST_STEP = """
import time
from trainer.training.preemption import Preemption
stop = Preemption()
with stop.watch():
    print("ready", flush=True)
    for length in stop.pieces(1):
        time.sleep(600)  # builds the step
"""


def test_before_the_first_step_sigterm_ends_the_process_at_once() -> None:
    """Building a large step takes longer than the grace time, and there is nothing to lose."""
    command = [sys.executable, "-c", BEFORE_THE_FIRST_STEP]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == EXIT_CODE == 75
    assert errors == "preempted: asked to stop by SIGTERM before the first step: nothing to save\n"
