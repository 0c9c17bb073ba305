"""How a local run ends: exit codes and messages, from what kfp reports and what the stages report."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from beam_preprocess.base.errors import Failure, InputError
from components.support.events import Event
from pipeline.graph.request import RunRequest
from pipeline.local import containers, kfp_runner, prepare, run_folder
from pipeline.local.prepare import LocalOptions
from pipeline.local.run import LAST, NOT_DUE, UNCHANGED, run
from tests.loopback.webhook_server import TOKEN, WebhookServer
from trainer.promotion.due import Due, Watched, write_due

pytestmark = pytest.mark.usefixtures("one_compilation_per_target")

Pipeline = Callable[[Any, Path], None]


@pytest.fixture
def ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Pipeline], int]:
    """Runs something in place of kfp's runner; it gets the listener and the file of the events."""
    monkeypatch.chdir(tmp_path)
    for name in ("STAGE_WORK_DIR", "STAGE_EVENTS"):
        monkeypatch.setenv(name, "")
    folder = run_folder.create(tmp_path / "runs", {"config": "gate: {}", "seed": 0})
    monkeypatch.setattr(prepare, "new_run", lambda request, options: folder)

    def start(pipeline: Pipeline, request: RunRequest | None = None) -> int:
        def fake(graph: Any, arguments: Any, *, listener: Any, **_: Any) -> None:
            assert arguments["work_dir"] == "", "a folder among the arguments would make all cache keys new"
            pipeline(listener, folder.events)

        monkeypatch.setattr(kfp_runner, "run", fake)
        return run(request or RunRequest(notify="me@example.org"), LocalOptions())

    return start


def write(file: Path, *events: Event) -> None:
    with file.open("a") as stream:
        for event in events:
            stream.write(json.dumps(asdict(event)) + "\n")


def test_nothing_new(ends: Callable[[Pipeline], int], capsys: pytest.CaptureFixture[str]) -> None:
    def pipeline(listener: Any, file: Path) -> None:
        write(file, Event(kind="start", stage=UNCHANGED, time=1.0), Event(kind="end", stage=UNCHANGED, time=2.0))

    assert ends(pipeline) == 0
    assert "notify    me@example.org: nothing new (printed only" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("verdict", "told"), [("drifted", ["drifted"]), ("too few images", ["too few images"]), ("steady", [])]
)
def test_a_watch_without_a_training(
    verdict: str,
    told: list[str],
    ends: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    folder = run_folder.create(
        tmp_path / "runs", {"config": "gate: {}", "registry": str(tmp_path / "registry")}, pipeline="watch"
    )
    monkeypatch.setattr(prepare, "new_run", lambda request, options: folder)
    server = WebhookServer()
    monkeypatch.setenv("MY_WEBHOOK", server.address)

    def pipeline(listener: Any, file: Path) -> None:
        for name in ("watch", "training-due"):
            (folder.stages / name).mkdir()
        (folder.stages / "watch" / "watch.html").write_text("<html>")
        said = Watched(verdict=verdict, said=f"{verdict}: as seen", page="p")
        write_due(Due(train=False, why="no new labels", watched=said), str(folder.stages / "training-due" / "due.json"))
        write(folder.events, Event(kind="start", stage=NOT_DUE, time=1.0), Event(kind="end", stage=NOT_DUE, time=2.0))

    assert ends(pipeline, RunRequest(webhook_secret="MY_WEBHOOK")) == 0
    server.stop()
    out = capsys.readouterr().out
    assert f"watch     {verdict}: as seen\n" in out
    assert "training  none: no new labels\n" in out
    assert [posted["outcome"] for posted in server.posted] == told


def test_a_stage_without_an_end_fails_the_run_though_kfp_is_content(
    ends: Callable[[Pipeline], int], capsys: pytest.CaptureFixture[str]
) -> None:
    def pipeline(listener: Any, file: Path) -> None:
        write(file, Event(kind="start", stage="train", time=1.0))
        listener.line("last words", by_stage=True)
        write(file, Event(kind="start", stage=LAST, time=1.0), Event(kind="end", stage=LAST, time=2.0))

    assert ends(pipeline) == 1
    errors = capsys.readouterr().err.splitlines()
    assert errors[1:3] == ["failed: train", "    last words"]


def test_a_pipeline_that_skips_its_stages_fails(
    ends: Callable[[Pipeline], int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert ends(lambda listener, file: None) == 1
    assert f"failed: the pipeline ended without the stage {LAST!r}" in capsys.readouterr().err


@pytest.mark.parametrize(("cause", "code"), [("bad input", 2), ("failure", 1)])
def test_a_named_error_is_one_line(
    cause: Any, code: int, ends: Callable[[Pipeline], int], capsys: pytest.CaptureFixture[str]
) -> None:
    def pipeline(listener: Any, file: Path) -> None:
        listener.reused("preprocess val", "0123")
        write(file, Event(kind="start", stage="train", time=1.0))
        write(file, Event(kind="error", stage="train", time=2.0, text="x: wrong; use y", cause=cause))
        listener.line("Traceback", by_stage=True)
        raise kfp_runner.PipelineFailed("Pipeline finished with status FAILURE. Inner task failed: 'train'.")

    assert ends(pipeline) == code
    errors = capsys.readouterr().err.splitlines()
    assert errors[1:3] == ["failed: train", "error: x: wrong; use y"]
    assert "reused from earlier runs: preprocess val (--no-cache runs them again)" in errors
    assert errors[-1].startswith("resume with: centernet run --resume runs/")


def test_a_process_that_fails_before_its_stage_starts(
    ends: Callable[[Pipeline], int], capsys: pytest.CaptureFixture[str]
) -> None:
    def pipeline(listener: Any, file: Path) -> None:
        listener.line("ModuleNotFoundError: no kfp", by_stage=True)
        raise kfp_runner.PipelineFailed("Inner task failed: 'train'.")

    assert ends(pipeline) == 1
    errors = capsys.readouterr().err
    assert "failed: Inner task failed: 'train'.\n    ModuleNotFoundError: no kfp" in errors


class FakeEngine:
    """A container that ends with a code, after it reported its stage's end or without a word."""

    image, digest, built = "localhost/python-cpu:1", "0123", "today"

    def __init__(self, code: int, events: tuple[Event, ...]) -> None:
        self.code, self.events = code, events

    def end(self, run: Path) -> int:
        return 0

    def hand_over(self, places: Any) -> None: ...

    def task(self, run: Path, places: Any, environment: dict[str, str]) -> Callable[..., int]:
        def start(command: Any, variables: Any) -> int:
            if self.code < 0:
                raise Failure("--in-containers: the container engine failed: gone")
            write(Path(environment["STAGE_EVENTS"]), *self.events)
            return self.code

        return start


@pytest.mark.parametrize(
    ("code", "reports", "result", "printed"),
    [
        (0, True, 0, ""),
        (0, False, 1, "the container ended with exit code 0, but its stage did not report that it is done\n"),
        (137, False, 137, ""),
        (-1, False, 1, "--in-containers: the container engine failed: gone\n"),
    ],
)
def test_a_container_is_done_when_its_stage_says_so(
    code: int,
    reports: bool,
    result: int,
    printed: str,
    ends: Callable[[Pipeline], int],  # for its folder
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    events = (Event(kind="start", stage="train", time=1.0), Event(kind="end", stage="train", time=2.0))
    engine = FakeEngine(code, events if reports else ())
    monkeypatch.setattr(run_folder.RunFolder, "image", engine.image)
    monkeypatch.setattr(containers, "connect", lambda image: engine)
    monkeypatch.setattr(containers, "places", lambda folder: [])
    found = []

    def fake(graph: Any, arguments: Any, *, start: Any, **_: Any) -> None:
        capsys.readouterr()
        found.append(start(["python3"], {}))
        found.append(capsys.readouterr().out)

    monkeypatch.setattr(kfp_runner, "run", fake)
    run(RunRequest(), LocalOptions())
    assert found[0] == result
    assert found[1].endswith(printed)


def test_an_interrupt(ends: Callable[[Pipeline], int], capsys: pytest.CaptureFixture[str]) -> None:
    def pipeline(listener: Any, file: Path) -> None:
        write(file, Event(kind="start", stage="train", time=1.0))
        raise KeyboardInterrupt

    assert ends(pipeline) == 1
    assert "interrupted during train" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("events", "posts"),
    [
        ((), [("failed", "failed in the pipeline")]),
        ((Event(kind="start", stage=UNCHANGED, time=1.0), Event(kind="end", stage=UNCHANGED, time=2.0)), []),
    ],
)
def test_the_alert(
    events: tuple[Event, ...],
    posts: list[tuple[str, str]],
    ends: Callable[..., int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = WebhookServer()
    monkeypatch.setenv("MY_WEBHOOK", server.address)
    ends(lambda listener, file: write(file, *events), RunRequest(webhook_secret="MY_WEBHOOK"))
    assert [(posted["outcome"], posted["sentence"][:22]) for posted in server.posted] == posts
    assert all(TOKEN not in path.read_text() for path in tmp_path.rglob("*.*") if path.is_file())
    server.stop()


def test_bad_input_is_posted_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nobody reads the terminal of a run that cron starts."""
    server = WebhookServer()
    monkeypatch.setenv("MY_WEBHOOK", server.address)
    with pytest.raises(InputError, match="--resume"):
        run(RunRequest(webhook_secret="MY_WEBHOOK"), LocalOptions(resume=str(tmp_path)))
    (posted,) = server.posted
    assert posted["sentence"].startswith("failed: --resume ")
    server.stop()


@pytest.mark.parametrize("name", ["NOT_SET", "https://hooks.example.org/T0KEN"])
def test_a_webhook_that_is_none_is_refused_before_the_run(name: str) -> None:
    with pytest.raises(InputError, match="--webhook-secret") as error:
        run(RunRequest(webhook_secret=name), LocalOptions())
    assert "T0KEN" not in str(error.value)
