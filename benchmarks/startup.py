"""Where a local run's time goes: each stage's imports and its own work, and what the graph adds.

    python -m benchmarks.startup                                   the demo, with a training of 20 steps
    python -m benchmarks.startup --coco-dir DIR --config custom-small

The pipeline runs three times, without its cache: up to its first stage, with a configuration that this code never
checked; as it is, for the wall-clock times; then with Python's own clock of imports (PYTHONPROFILEIMPORTTIME), for the
share of the imports. Each stage is a process. The graph's share is what remains of the time between two stages without
the second's interpreter and imports: the first one's exit, and what kfp writes and reads for each task. Before the
first stage it is the driver: its own imports, its look at the data and kfp's compiling.
"""

import argparse
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from beam_preprocess.base.command import Parser, run
from beam_preprocess.base.errors import Failure
from components.support.events import Event, read_events
from pipeline.local import demo_data

RUN = (sys.executable, "-m", "pipeline", "run")
STEPS = ("trainer.train_steps", "trainer.optimizer_config.learning_rate.cosine.decay_steps")
IMPORT = re.compile(r"^\s*import time:\s*(\d+) \|")
MARK = re.compile(r"^\s*(start|end): (.+)$")


@dataclass(slots=True)
class Stage:
    """Seconds of one stage."""

    start: float = 0.0
    """From the end of the stage before it."""
    body: float = 0.0
    imports_before: float = 0.0
    imports_within: float = 0.0


@dataclass(slots=True)
class Measured:
    """One run."""

    wall: float
    cpu: float
    last: float
    """Seconds after the last stage ended."""
    stages: dict[str, Stage] = field(default_factory=dict)


def parser() -> Parser:
    """The benchmark's flags."""
    made = Parser(description=__doc__)
    made.add_argument("--config", default="demo", metavar="NAME", help="default: demo")
    made.add_argument("--coco-dir", default="", metavar="DIR", help="default: the demo's generated data")
    made.add_argument("--train-steps", type=int, default=20, metavar="N", help="default: 20; 0 for the configuration's")
    return made


def _call(flags: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(prefix="startup-") as made:
        folder = Path(made)
        if not flags.coco_dir:
            flags.coco_dir = str(demo_data.generate(folder / "data"))
        print("running the pipeline up to its first stage", file=sys.stderr, flush=True)
        new = _first_stage(flags, folder)
        print("running the pipeline as it is", file=sys.stderr, flush=True)
        plain = _measure(flags, folder, "plain", {})
        print("running the pipeline with Python's clock of imports", file=sys.stderr, flush=True)
        timed = _measure(flags, folder, "timed", {"PYTHONPROFILEIMPORTTIME": "1"})
    bare = statistics.median(_bare_start() for _ in range(10))
    print(_table(plain, timed, bare))
    print(f"\nup to the first stage's own work, with a configuration that this code never checked: {new:.1f} s")


def _start(flags: argparse.Namespace, folder: Path, name: str, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """A run with a registry and a log of its own. All share the folder of runs."""
    command = [*RUN, "--no-cache", "--config", flags.config, "--runs-dir", str(folder / "runs")]
    command += ["--registry", str(folder / f"registry-{name}"), "--coco-dir", flags.coco_dir]
    command += [f"--set={key}={flags.train_steps}" for key in STEPS] if flags.train_steps else []
    with (folder / f"{name}.log").open("w") as log:
        return subprocess.Popen(
            command,
            stdout=log,
            stderr=log,
            cwd=Path(__file__).parents[1],
            env={**os.environ, **environment},
            start_new_session=True,
        )


def _first_stage(flags: argparse.Namespace, folder: Path) -> float:
    """Seconds until the first stage says that it has started. The run is killed then."""
    began = time.time()
    process = _start(flags, folder, "new", {})
    try:
        while not (events := _events(folder)):
            if process.poll() is not None:
                raise Failure(f"exit code {process.returncode}:\n{(folder / 'new.log').read_text()[-2000:]}")
            time.sleep(0.01)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return events[0].time - began


def _events(folder: Path) -> list[Event]:
    path = folder / "runs" / "latest" / "stages" / "events.jsonl"
    return read_events(path)[0] if path.exists() else []


def _measure(flags: argparse.Namespace, folder: Path, name: str, environment: dict[str, str]) -> Measured:
    began = time.time()
    process = _start(flags, folder, name, environment)
    _, status, used = os.wait4(process.pid, 0)
    ended = time.time()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 3):
        raise Failure(f"exit code {process.returncode}:\n{(folder / f'{name}.log').read_text()[-2000:]}")
    measured = _stages(_events(folder), began, ended)
    measured.cpu = used.ru_utime + used.ru_stime
    if environment:
        _add_imports(measured, folder / "runs" / "latest" / "logs" / "pipeline.log")
    return measured


def _stages(events: list[Event], began: float, ended: float) -> Measured:
    measured, last = Measured(ended - began, 0.0, 0.0), began
    for event in events:
        if event.kind == "start":
            measured.stages[event.stage] = Stage(start=event.time - last)
        elif event.kind == "end":
            stage = measured.stages[event.stage]
            stage.body = event.time - (last + stage.start)
            last = event.time
    measured.last = ended - last
    return measured


def _add_imports(measured: Measured, log: Path) -> None:
    """Adds up Python's lines; those after a stage's end belong to the next stage's process."""
    waiting, stage = 0.0, None
    for line in log.read_text(errors="replace").splitlines():
        if found := IMPORT.match(line):
            if stage:
                stage.imports_within += int(found[1]) / 1e6
            else:
                waiting += int(found[1]) / 1e6
        elif (mark := MARK.match(line)) and mark[2] in measured.stages:
            stage = measured.stages[mark[2]] if mark[1] == "start" else None
            if stage:
                stage.imports_before, waiting = waiting, 0.0


def _bare_start() -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-S", "-c", "pass"], check=True)
    return time.perf_counter() - start


def _table(plain: Measured, timed: Measured, bare: float) -> str:
    lines = ["| stage | interpreter and imports, s | own work, s | graph, s |", "|---|---|---|---|"]
    total = Stage()
    graph = plain.last
    for name, stage in plain.stages.items():
        clock = timed.stages[name]
        # Python's clock makes imports slower: only their share is taken from the timed run.
        before = stage.start * min(1.0, (clock.imports_before + bare) / clock.start)
        within = stage.body * min(1.0, clock.imports_within / clock.body)
        added = stage.start - before
        graph += added
        total.start, total.body = total.start + before + within, total.body + stage.body - within
        lines.append(f"| {name} | {before + within:.1f} | {stage.body - within:.1f} | {added:.1f} |")
    lines.append(f"| after the last stage | | | {plain.last:.1f} |")
    lines.append(
        f"| whole: {plain.wall:.1f} s, {plain.cpu:.0f} CPU s | {total.start:.1f} | {total.body:.1f} | {graph:.1f} |"
    )
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0, or 1 for a run that failed."""
    return run(parser(), argv, _call)


if __name__ == "__main__":
    sys.exit(main())
