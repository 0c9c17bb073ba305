"""A bar on a terminal, lines in a log: on a real pseudo-terminal and a real pipe."""

import fcntl
import os
import struct
import sys
import termios
from collections.abc import Callable
from pathlib import Path

import pytest

from trainer.training import progress_line
from trainer.training.progress_line import ProgressLine, duration, note

TEXT = "loss 4.512 (centre 2.490, size 7.073, offset 1.315)  lr 7.50e-04  0.4 img/s  data wait 0%  ETA 0:35"


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[], None]], str]:
    """Runs a call whose stdout is a terminal of this many columns; returns its output."""

    def run(columns: int, call: Callable[[], None]) -> str:
        keyboard, screen = os.openpty()
        fcntl.ioctl(screen, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        monkeypatch.delenv("COLUMNS", raising=False)
        with open(screen, "w", closefd=False) as stream:
            monkeypatch.setattr(sys, "stdout", stream)
            monkeypatch.setattr(sys, "__stdout__", stream)  # where shutil asks for the size
            call()
        os.close(screen)
        shown = b""
        try:
            while part := os.read(keyboard, 4096):
                shown += part
        except OSError:  # Linux's way of saying that the other side is closed
            pass
        os.close(keyboard)
        return shown.decode()

    return run


def screen(shown: str) -> list[str]:
    """What is left to be seen: of a line that is overwritten, the last."""
    return [line.split("\r\x1b[K")[-1] for line in shown.replace("\r\n", "\n").split("\n")]


def _a_training(total: int = 6) -> None:
    line = ProgressLine(total)
    line.show(2, TEXT)
    line.show(4, TEXT)
    note("progress: train step 4: validation loss 3.766")
    line.show(6, TEXT)
    note("progress: train step 6: validation loss 3.746")
    print("result: step 6", flush=True)


def test_a_terminal_has_one_bar_and_notes_have_lines_of_their_own(
    terminal: Callable[[int, Callable[[], None]], str],
) -> None:
    shown = terminal(200, _a_training)
    assert f"\r\x1b[K[######--------------] 2/6  {TEXT}\r\x1b[K" in shown, "overwritten by the next"
    assert screen(shown) == [
        "progress: train step 4: validation loss 3.766",
        f"[{'#' * 20}] 6/6  {TEXT}",
        "progress: train step 6: validation loss 3.746",
        "result: step 6",
        "",
    ]


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (200, f"[######--------------] 2/6  {TEXT}"),
        (110, f"2/6  {TEXT}"),
        (80, "2/6 loss 4.512 (2.490 7.073 1.315) lr 7.50e-04 0.4 img/s wait 0% ETA 0:35"),
        (20, "2/6 loss 4.512 (2.4"),
    ],
)
def test_a_narrow_terminal_gets_fewer_words_and_no_second_line(
    terminal: Callable[[int, Callable[[], None]], str], columns: int, expected: str
) -> None:
    shown = terminal(columns, lambda: ProgressLine(6).show(2, TEXT))
    assert screen(shown) == [expected]


def test_an_interrupted_bar_is_left_where_it_is(terminal: Callable[[int, Callable[[], None]], str]) -> None:
    def call() -> None:
        line = ProgressLine(6)
        line.show(2, TEXT)
        line.close()
        line.close()
        print("preempted: saved", flush=True)

    assert screen(terminal(200, call)) == [f"[######--------------] 2/6  {TEXT}", "preempted: saved", ""]


def test_a_log_has_a_line_every_few_seconds_and_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(progress_line.time, "monotonic", lambda: now[0])
    with open(tmp_path / "log", "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        line = ProgressLine(6)
        for step, seconds in ((1, 0.0), (2, 4.9), (3, 5.0), (4, 9.9), (5, 10.0), (6, 10.1)):
            now[0] = seconds
            line.show(step, TEXT)
        note("a note")
        line.close()
    lines = (tmp_path / "log").read_text().splitlines()
    assert lines == [f"progress: train step {step}/6  {TEXT}" for step in (1, 3, 5, 6)] + ["a note"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0:00"), (7, "0:07"), (61, "1:01"), (3600, "1:00:00"), (7507, "2:05:07"), (273907, "3d 04:05:07")],
)
def test_a_duration_is_read_at_a_glance(seconds: float, text: str) -> None:
    assert duration(seconds) == text
