"""Reading kfp's local log, whose lines are copied here as kfp 2.17 writes them."""

import io
import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.local.stage_log import StageLog

NAMES = {"preprocess-2": "preprocess val", "train": "train"}
CYAN, GREEN, RED, RESET = "\x1b[96m", "\x1b[92m", "\x1b[91m", "\x1b[0m"


def stage(task: str, lines: list[str], status: str = "SUCCESS") -> str:
    colour = GREEN if status == "SUCCESS" else RED
    return "".join(
        [
            f"21:00:00.100 - INFO - Executing task {CYAN}'{task}'{RESET}\n",
            "21:00:00.101 - INFO - Streamed logs:\n\n",
            *(f"    {line}\n" for line in lines),
            "    \n\n",
            f"21:00:01.100 - INFO - Task {CYAN}'{task}'{RESET} finished with status {colour}{status}{RESET}\n",
        ]
    )


TEXT = stage("preprocess-2", ["noise", "result: early", "result: 6 images"]) + stage("train", ["progress: step 1/2"])


def read(tmp_path: Path, pieces: list[str], verbose: bool = False) -> tuple[StageLog, str]:
    terminal = io.StringIO()
    with StageLog(tmp_path / "log", NAMES, verbose=verbose, terminal=terminal) as log:
        for piece in pieces:
            log.write(piece)
    return log, terminal.getvalue()


def test_one_line_a_stage_with_its_last_result(tmp_path: Path) -> None:
    log, shown = read(tmp_path, [TEXT])
    lines = shown.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("preprocess val")
    assert lines[0].endswith(" s   6 images")
    assert lines[1].startswith("train")
    assert lines[1].endswith(" s"), "a stage without a result does not show the one before"
    assert list(log.seconds) == ["preprocess val", "train"]
    assert (tmp_path / "log").read_text() == TEXT


def test_a_stage_that_kfp_took_from_its_cache(tmp_path: Path) -> None:
    hit = "21:00:00.100 - INFO - Task train cache hit (key=0123456789ab); skipping execution.\n"
    terminal = io.StringIO()
    with StageLog(tmp_path / "log", NAMES, verbose=False, origin=lambda key: f"runs/1/{key}", terminal=terminal) as log:
        log.write(stage("preprocess-2", ["result: 6 images"]) + hit + stage("gate", []))
    lines = terminal.getvalue().splitlines()
    assert lines[1].split() == ["train", "0.0", "s", "reused", "from", "runs/1/0123456789ab"]
    assert lines[2].endswith(" s"), "the next stage isn't"
    assert log.reused == {"train": "runs/1/0123456789ab"}
    assert list(log.seconds) == ["preprocess val", "train", "gate"]


def test_verbose_shows_everything(tmp_path: Path) -> None:
    _, shown = read(tmp_path, [TEXT], verbose=True)
    assert "noise" in shown
    assert "preprocess val" in shown


@given(cuts=st.lists(st.integers(0, len(TEXT)), max_size=30))
def test_how_the_text_is_cut_does_not_matter(tmp_path_factory: pytest.TempPathFactory, cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(TEXT)]
    pieces = [TEXT[a:b] for a, b in itertools.pairwise(edges)]
    log, shown = read(tmp_path_factory.mktemp("log"), pieces)
    assert list(log.seconds) == ["preprocess val", "train"]
    assert shown.count("\n") == 2


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("beam_preprocess.base.errors.InputError: a.jpg: not an image; repair it", "a.jpg: not an image; repair it"),
        ("InputError: x", "x"),
        ("ValueError: InputError: x", ""),
        ("    raise InputError: x", ""),
    ],
)
def test_a_failed_stage(tmp_path: Path, line: str, message: str) -> None:
    text = stage("train", [f"line {i}" for i in range(30)] + [line], status="FAILURE")
    log, shown = read(tmp_path, [stage("preprocess-2", []), text])
    assert log.failure
    assert log.failure.stage == "train"
    assert log.failure.input_error == message
    assert len(log.failure.tail) == 15
    assert log.failure.tail[-1] == line
    assert list(log.seconds) == ["preprocess val"]
    assert "line 29" not in shown


def test_the_first_failure_is_kept_when_kfp_goes_on_with_other_stages(tmp_path: Path) -> None:
    failed = stage("preprocess-2", ["InputError: x"], status="FAILURE")
    log, shown = read(tmp_path, [failed, stage("train", ["result: 8 images"])])
    assert log.failure
    assert (log.failure.stage, log.failure.input_error) == ("preprocess val", "x")
    assert log.failure.tail == ("InputError: x",)
    assert list(log.seconds) == ["train"]
    assert "preprocess val" not in shown


def test_an_error_of_an_earlier_stage_is_forgotten(tmp_path: Path) -> None:
    log, _ = read(tmp_path, [stage("preprocess-2", ["InputError: x"]), stage("train", ["boom"], status="FAILURE")])
    assert log.failure
    assert log.failure.input_error == ""
