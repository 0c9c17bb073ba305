"""The lines of a run on the terminal come from the stages' events."""

import io
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pytest

from components.support.events import Cause, Event, Kind
from pipeline.local.stage_log import StageLog


@dataclass
class Run:
    """A log, and stages that write events and lines as `components.support.events` does."""

    folder: Path
    verbose: bool = False
    now: float = 1e6
    terminal: io.StringIO = field(default_factory=io.StringIO)

    def __post_init__(self) -> None:
        self.events = self.folder / "events.jsonl"
        self.log = self.open()

    def open(self) -> StageLog:
        made = StageLog(
            self.folder / "log",
            self.events,
            verbose=self.verbose,
            origin=lambda key: f"runs/1/{key}",
            terminal=self.terminal,
        )
        made._since = self.now
        return made

    def event(self, kind: Kind, stage: str, text: str = "", cause: Cause = "", seconds: float = 1.0) -> None:
        self.now += seconds
        event = Event(kind=kind, stage=stage, time=self.now, text=text, cause=cause)
        with self.events.open("a") as file:
            file.write(json.dumps(asdict(event)) + "\n")
        self.log.line(f"{kind}: {text or stage}", by_stage=True)

    def stage(self, stage: str, *results: str, end: bool = True) -> None:
        self.log.line(f"Executing task {stage!r}", by_stage=False)
        self.event("start", stage)
        self.log.line("noise", by_stage=True)
        for result in results:
            self.event("result", stage, result)
        if end:
            self.event("end", stage)

    def lines(self) -> list[str]:
        return self.terminal.getvalue().splitlines()


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


def test_one_line_per_stage_with_its_last_result(run: Run) -> None:
    run.stage("preprocess val", "early", "6 images")
    run.stage("train")
    assert run.lines() == ["preprocess val          4.0 s   6 images", "train                   2.0 s"]
    assert run.log.seconds == {"preprocess val": 4.0, "train": 2.0}
    assert run.log.failure is None
    with run.log:
        pass
    written = (run.folder / "log").read_text().splitlines()
    assert written[:3] == ["Executing task 'preprocess val'", "    start: preprocess val", "    noise"]


def test_a_reused_stage_names_where_its_result_is(run: Run) -> None:
    run.stage("preprocess val", "6 images")
    run.log.reused("train", "0123456789ab")
    run.stage("gate")
    lines = run.lines()
    assert lines[1].split()[0] == "train"
    assert lines[1].endswith("reused from runs/1/0123456789ab")
    assert lines[2].endswith(" s"), "the next stage is not"
    assert run.log.origins == {"train": "runs/1/0123456789ab"}
    assert list(run.log.seconds) == ["preprocess val", "train", "gate"]


def test_every_note_reaches_the_terminal(run: Run) -> None:
    """Progress lines are limited to one per few seconds; the AP of a validation must not be one that is left out."""
    run.stage("train", end=False)
    for step in (10, 20, 30):
        run.event("progress", "train", f"train step {step}/30  loss 1")
        run.event("note", "train", f"train step {step}: AP 0.{step}")
    assert [line for line in run.lines() if "AP" in line] == [
        f"  train: train step {s}: AP 0.{s}" for s in (10, 20, 30)
    ]


def test_verbose_shows_everything(tmp_path: Path) -> None:
    run = Run(tmp_path, verbose=True)
    run.stage("train", "step 2")
    assert "    noise" in run.lines()
    assert "train                   3.0 s   step 2" in run.lines()


def test_events_of_an_earlier_attempt_are_skipped(run: Run) -> None:
    run.stage("train")
    run.stage("export", end=False)
    resumed = run.open()
    resumed.line("anything", by_stage=True)
    assert resumed.seconds == {}
    assert resumed.failure is None


@pytest.mark.parametrize("cause", ["bad input", "failure", "defect"])
def test_a_stage_with_an_error(run: Run, cause: Cause) -> None:
    run.stage("preprocess val")
    run.stage("train", end=False)
    run.event("error", "train", "a.jpg: not an image; repair it", cause)
    for i in range(30):
        run.log.line(f"line {i}", by_stage=True)
    failure = run.log.failure
    assert failure
    assert (failure.stage, failure.error, failure.cause) == ("train", "a.jpg: not an image; repair it", cause)
    assert failure.tail == tuple(f"line {i}" for i in range(15, 30))
    assert list(run.log.seconds) == ["preprocess val"]
    assert len(run.lines()) == 1


def test_a_stage_without_an_end_has_failed_whatever_kfp_reports(run: Run) -> None:
    run.stage("train", "step 2, loss 1.5", end=False)
    run.log.line("Task 'train' finished with status SUCCESS", by_stage=False)
    failure = run.log.failure
    assert failure
    assert (failure.stage, failure.error) == ("train", "")
    assert failure.tail[-1] == "result: step 2, loss 1.5"


def test_the_first_failure_is_kept_when_other_stages_continue(run: Run) -> None:
    run.stage("preprocess val", end=False)
    run.event("error", "preprocess val", "x", "bad input")
    run.stage("preprocess train", "8 images")
    run.stage("train", end=False)
    failure = run.log.failure
    assert failure
    assert (failure.stage, failure.error) == ("preprocess val", "x")
    assert list(run.log.seconds) == ["preprocess train"]


def test_lines_between_two_stages_are_kept_for_a_process_that_never_started_its_stage(run: Run) -> None:
    run.stage("train")
    run.log.line("ModuleNotFoundError: No module named 'kfp'", by_stage=True)
    assert run.log.failure is None
    assert run.log.outside == ("end: train", "ModuleNotFoundError: No module named 'kfp'")
    run.stage("export")
    assert run.log.outside == ("end: export",)


def test_progress_is_shown_at_intervals(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("pipeline.local.stage_log.time.monotonic", lambda: clock[0])
    run.log._shown = 0.0
    run.stage("train", end=False)
    for clock[0] in (5.0, 10.0, 15.0, 20.0):
        run.event("progress", "train", f"step {clock[0]:.0f}")
    assert run.lines() == ["  train: step 10", "  train: step 20"]


def test_a_warning_is_shown_once(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.log = StageLog(tmp_path / "log", run.events, verbose=False, known=["seen before"], terminal=run.terminal)
    run.event("start", "check the data")
    run.event("warning", "check the data", "seen before")
    run.event("warning", "check the data", "new")
    run.event("end", "check the data")
    lines = run.terminal.getvalue().splitlines()
    assert lines[0] == "  warning: new"
    assert len(lines) == 2 and lines[1].startswith("check the data")
