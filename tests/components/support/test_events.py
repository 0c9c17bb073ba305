"""Events: what a stage writes for the local runner."""

import io
import os
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from beam_preprocess.base.errors import Failure, InputError
from components.support.events import EVENTS, Event, read_events, reported, stage_seconds


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "events.jsonl"
    monkeypatch.setenv(EVENTS, str(path))
    return path


def seen(path: Path) -> list[tuple[str, str, str]]:
    return [(event.kind, event.text, event.cause) for event in read_events(path)[0]]


def test_a_stages_lines_become_events_and_stay_in_the_log(file: Path) -> None:
    log = io.StringIO()
    with redirect_stdout(log), reported("train"):
        print("noise")
        print("warning: two categories have one name")
        print("progress: step 1/2")
        print("note: step 1: AP 0.1")
        sys.stdout.write("progr")
        sys.stdout.write("ess: step 2/2\nresult: step 2, ")
        sys.stdout.write("loss 1.5\n  progress: indented is not ours\n")
    assert seen(file) == [
        ("start", "", ""),
        ("warning", "two categories have one name", ""),
        ("progress", "step 1/2", ""),
        ("note", "step 1: AP 0.1", ""),
        ("progress", "step 2/2", ""),
        ("result", "step 2, loss 1.5", ""),
        ("end", "", ""),
    ]
    assert {event.stage for event in read_events(file)[0]} == {"train"}
    lines = log.getvalue().splitlines()
    assert lines[0] == "start: train"
    assert lines[1:7] == [
        "noise",
        "warning: two categories have one name",
        "progress: step 1/2",
        "note: step 1: AP 0.1",
        "progress: step 2/2",
        "result: step 2, loss 1.5",
    ]
    assert lines[-1] == "end: train"


def test_an_event_is_written_before_its_line(file: Path) -> None:
    """The runner reads the file when it sees the line."""
    counts = []

    class Log(io.StringIO):
        def write(self, text: str) -> int:
            counts.append((text, len(read_events(file)[0])))
            return super().write(text)

    with redirect_stdout(Log()), reported("gate"):
        sys.stdout.write("result: hold\n")
    assert ("start: gate", 1) in counts
    assert ("result: hold\n", 2) in counts
    assert ("end: gate", 3) in counts


@pytest.mark.parametrize(
    ("error", "text", "cause"),
    [
        (InputError("a.jpg: not\nan image; repair it"), "a.jpg: not an image; repair it", "bad input"),
        (Failure("the loss is not finite"), "the loss is not finite", "failure"),
        (KeyError("x"), "KeyError: 'x'", "defect"),
        (KeyboardInterrupt(), "KeyboardInterrupt: ", "defect"),
    ],
)
def test_a_stage_that_raises_has_an_error_and_no_end(file: Path, error: BaseException, text: str, cause: str) -> None:
    with pytest.raises(type(error)), reported("train"):
        raise error
    assert seen(file) == [("start", "", ""), ("error", text, cause)]


def test_a_stage_that_dies_has_no_end(file: Path) -> None:
    program = "import os\nfrom components.support.events import reported\nwith reported('train'): os._exit(0)"
    folder = Path(__file__).parents[3]
    subprocess.run([sys.executable, "-c", program], cwd=folder, env=dict(os.environ), check=True)
    assert seen(file) == [("start", "", "")]


def test_without_a_file_lines_are_only_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(EVENTS, raising=False)
    before = sys.stdout
    with reported("train"):
        assert sys.stdout is before


def test_reading_resumes_where_it_stopped_and_waits_for_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    assert read_events(path) == ([], 0)
    path.write_text('{"kind": "start", "stage": "é", "time": 1.0}\n{"kind": "e')
    events, offset = read_events(path)
    assert events == [Event(kind="start", stage="é", time=1.0)]
    with path.open("a") as file:
        file.write('nd", "stage": "é", "time": 3.5}\n')
    assert [event.kind for event in read_events(path, offset)[0]] == ["end"]
    assert stage_seconds(path) == {"é": 2.5}
