"""Progress lines of a real run, and their text."""

import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from gcsfs.retry import HttpError

from beam_preprocess.base import progress
from beam_preprocess.base.progress import Progress, Watcher

_RUN = """
import sys
from beam_preprocess.base import progress
from beam_preprocess.__main__ import main
progress.INTERVAL = 0.05
sys.exit(main())
"""
_LINE = re.compile(
    r"progress: train (\d+)/64 images, ([\d.]+) images/s, (?:(\d+) s left|time left unknown), (\d+) rejects so far"
)


def test_a_run_prints_rate_time_left_and_rejects(make_data: Any, tmp_path: Path) -> None:
    data = make_data(64)
    for annotation in data.content["annotations"]:
        annotation["bbox"][2] += 100  # each sticks out: a reject of every box
    data.save()
    arguments = ["--images", str(data.images), "--annotations", str(data.annotations), "--split", "train"]
    arguments += ["--output", str(tmp_path / "out"), "--image-size", "128", "--views", "4", "--num-shards", "16"]
    done = subprocess.run(
        [sys.executable, "-c", _RUN, *arguments],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *progress_lines, result = done.stdout.splitlines()
    assert result.startswith("result: train 64 images x 4 views")
    lines = [_LINE.fullmatch(line) for line in progress_lines if " images/s" in line]
    assert all(lines), done.stdout
    counts = [int(line[1]) for line in lines if line]
    assert counts == sorted(counts)
    halfway = [line for line in lines if line and 0 < int(line[1]) < 64]
    assert halfway, done.stdout
    for line in halfway:
        images, rate, left, rejects = int(line[1]), float(line[2]), line[3], int(line[4])
        assert left is not None and rate > 0
        assert abs(int(left) - (64 - images) / rate) <= 0.5 + (64 - images) / rate * 0.05 / rate  # both are rounded
        assert 0 < rejects <= 96


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Seconds that the test sets."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize(
    ("seconds", "done", "line"),
    [
        (4.9, 3, ""),
        (5.0, 0, "progress: train 0/30 images, 0.0 images/s, time left unknown\n"),
        (10.0, 20, "progress: train 20/30 images, 2.0 images/s, 5 s left\n"),
    ],
)
def test_a_line_is_printed_when_the_last_is_five_seconds_old(
    clock: list[float], capsys: Any, seconds: float, done: int, line: str
) -> None:
    shown = Progress("train", total=30, unit="images")
    clock[0] += seconds
    shown.update(done)
    shown.update(done)
    assert capsys.readouterr().out == line


@pytest.mark.parametrize("error", [OSError("503"), HttpError({"code": 503, "message": "busy"})])
def test_a_poll_that_fails_is_reported_and_does_not_end_the_polling(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(progress, "INTERVAL", 0.01)
    answers = iter([error, (3, "0 rejects so far")])
    seen = threading.Event()

    def poll() -> tuple[int, str]:
        answer = next(answers, None)
        if isinstance(answer, Exception):
            raise answer
        if answer is None:
            seen.set()
        return answer or (4, "")

    with Watcher(Progress("train", total=5, unit="images"), poll):
        assert seen.wait(30)
    first, second = capsys.readouterr().out.splitlines()[:2]
    assert first == f"progress: unknown at the moment ({error})"
    assert second.startswith("progress: train 3/5 images, ") and second.endswith(" s left, 0 rejects so far")
