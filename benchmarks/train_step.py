"""Our training step against Model Garden's own CenterNet task: the whole step, and only targets and losses.

    python -m benchmarks.train_step                                    small Hourglass, 512 x 512, graph and XLA
    python -m benchmarks.train_step --part losses --boxes 20           only targets, losses and gradient
    python -m benchmarks.train_step --model hourglass-104 --batch 1 --part step --xla off --alone --repeats 2
    python -m benchmarks.train_step --model hourglass-104 --part step --precision float16 bfloat16 --batch 8 16 32
                                                                       on a GPU; start with --batch 16 only

Both sides have the same backbone, batch, images and boxes. Each side is a separate process, so that its peak memory is
its own, and the processes take turns. `rise` is the memory that two calls, including tracing and compiling, need beyond
model, optimizer and batch. `peak` is that of the whole process, or of the GPU. Our step also flips, jitters and
normalises the images; Model Garden does that in its input pipeline (benchmarks.input_pipeline). Its batch norm is
always the synchronised layer; ours is only between replicas.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import product
from pathlib import Path
from typing import IO, Any

from beam_preprocess.base.command import Parser, run
from benchmarks.train_step_sides import ALLOCATOR, MODELS

NAMES = {"ours": "ours", "model-garden": "Model Garden"}
PEAK_FLOPS = {
    "T4": {"float16": 65e12},
    "V100": {"float16": 125e12},
    "L4": {"float16": 121e12, "bfloat16": 121e12},
    "A100": {"float16": 312e12, "bfloat16": 312e12},
    "H100": {"float16": 989e12, "bfloat16": 989e12},
    "H200": {"float16": 989e12, "bfloat16": 989e12},
}
"""Dense tensor-core peaks of NVIDIA's SXM or largest versions (from memory of the data sheets, not looked up)."""


class Side:
    """A process that has built one side and waits for requests."""

    def __init__(self, case: dict[str, Any], errors: IO[bytes]) -> None:
        label = f"{NAMES[case['side']]}, {'XLA' if case['xla'] else 'graph'}"
        print(f"building {case['part']}: {label}, batch {case['batch']}", file=sys.stderr, flush=True)
        self._label, self._errors = label, errors
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.train_step_sides", json.dumps(case)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=os.environ | ALLOCATOR,
            cwd=Path(__file__).parents[1],
            text=True,
        )
        self.ready: dict[str, Any] = self._read()

    def seconds(self, calls: int) -> tuple[float, float]:
        """(wall time, CPU time) per call, as the mean over `calls`."""
        assert self._process.stdin
        self._process.stdin.write(f"{calls}\n")
        self._process.stdin.flush()
        clock, cpu = self._read()
        return clock, cpu

    def stop(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.communicate()

    def _read(self) -> Any:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            self._errors.seek(0)
            raise RuntimeError(f"{self._label} failed:\n{self._errors.read().decode()[-3000:]}")
        return json.loads(line)


@contextmanager
def building(case: dict[str, Any]) -> Iterator[Side]:
    """A side whose process ends with the block."""
    with tempfile.TemporaryFile() as errors:
        side = Side(case, errors)
        try:
            yield side
        finally:
            side.stop()


def measure(
    cases: list[dict[str, Any]], flags: argparse.Namespace
) -> list[tuple[dict[str, Any], list[tuple[float, float]]]]:
    """What each case's process reported, and its seconds per call. Sides take turns, or run one by one (--alone)."""
    if flags.alone:
        done = []
        for case in cases:
            with building(case) as side:
                done.append((side.ready, [side.seconds(1) for _ in range(flags.repeats)]))
                # A large model takes minutes per side: print this result even if the next side fails.
                print(f"done: {done[-1][1]} s, peak {side.ready['peak']:.0f} MiB", file=sys.stderr, flush=True)
        return done
    with ExitStack() as stack:
        sides = [stack.enter_context(building(case)) for case in cases]
        # Enough calls for a turn of a quarter of a second: shorter turns measure the wake-up.
        calls = [max(1, min(50, round(0.25 / side.seconds(1)[0]))) for side in sides]
        times: list[list[tuple[float, float]]] = [[] for _ in sides]
        for repeat in range(flags.repeats):
            print(f"repeat {repeat + 1} of {flags.repeats}", file=sys.stderr, flush=True)
            for side, count, taken in zip(sides, calls, times, strict=True):
                taken.append(side.seconds(count))
        return [(side.ready, taken) for side, taken in zip(sides, times, strict=True)]


def report(cases: list[dict[str, Any]], found: list[tuple[dict[str, Any], list[tuple[float, float]]]]) -> None:
    """One row per case. Each ratio is the median over the repeats of the ratio within a repeat.

    On a shared machine, CPU time is more reliable than wall time; on a GPU it is meaningless.
    """
    shipped = {case["xla"]: result for case, result in zip(cases, found, strict=True) if case["side"] != "ours"}
    titles = ("ms", "CPU ms", "images/s", "rise MiB", "peak MiB")
    print(f"{'':<24}" + "".join(f"{title:>10}" for title in titles) + f"{'build s':>9}{'loss':>12}   ratio")
    for case, (ready, times) in zip(cases, found, strict=True):
        middle, cpu = (statistics.median(values) for values in zip(*times, strict=True))
        ratio = ""
        if case["side"] == "ours" and case["xla"] in shipped:
            their_ready, their_times = shipped[case["xla"]]
            pairs = list(zip(times, their_times, strict=True))
            faster, cheaper = (statistics.median(theirs[i] / own[i] for own, theirs in pairs) for i in (0, 1))
            ratio = f"{faster:.2f} x as fast, {cheaper:.2f} x in CPU time; "
            ratio += f"{ready['rise'] / their_ready['rise']:.3f} x the memory"
            if case["part"] == "losses" and abs(ready["loss"] / their_ready["loss"] - 1) > 2e-3:
                raise RuntimeError(f"losses {ready['loss']} and {their_ready['loss']} differ: not the same computation")
        name = f"{NAMES[case['side']]}, {'XLA' if case['xla'] else 'graph'}"
        print(
            f"{name:<24}{middle * 1e3:>10.1f}{cpu * 1e3:>10.1f}{case['batch'] / middle:>10.2f}{ready['rise']:>10.0f}"
            f"{ready['peak']:>10.0f}{ready['prepared']:>9.1f}{ready['loss']:>12.4f}   {ratio}"
        )
        if ready["flops"]:
            rate = ready["flops"] / middle
            peaks = [p for chip, p in PEAK_FLOPS.items() if chip in ready["device"]]
            peak = peaks[0].get(case["precision"]) if peaks else None
            share = f"{rate / peak:.1%} of the chip's peak" if peak else "peak of this device unknown"
            print(f"{'':<24}{ready['flops']:.3g} FLOP of convolutions per step, {rate:.3g} per second; {share}")


def parser() -> Parser:
    """The parser of the command."""
    made = Parser(prog="python -m benchmarks.train_step", description=__doc__)
    add = made.add_argument
    add("--model", choices=sorted(MODELS), default="small", help="network (default: %(default)s)")
    add("--part", choices=["losses", "step"], nargs="+", default=["losses", "step"], help="default: both")
    add("--xla", choices=["off", "on"], nargs="+", default=["off", "on"], help="XLA; default: both")
    add("--side", choices=sorted(NAMES), nargs="+", default=["ours", "model-garden"], help="default: both")
    add("--precision", choices=["float32", "bfloat16", "float16"], nargs="+", default=["float32"])
    add("--batch", type=int, nargs="+", default=[2], help="images per step (default: 2)")
    add("--boxes", type=int, nargs="+", default=[20], help="objects per image (default: 20)")
    add("--size", type=int, default=512, help="side of the input in pixels (default: %(default)s)")
    add("--classes", type=int, default=90, help="number of classes (default: %(default)s)")
    add("--alone", action="store_true", help="run one process after the other, to save memory")
    add("--repeats", type=int, default=5, help="repeats; the median counts (default: %(default)s)")
    return made


def _call(flags: argparse.Namespace) -> None:
    """Prints one table per part, precision, batch and number of boxes."""
    for part, precision, batch, boxes in product(flags.part, flags.precision, flags.batch, flags.boxes):
        what = {"part": part, "precision": precision, "batch": batch, "boxes": boxes}
        what |= {"model": flags.model, "size": flags.size, "classes": flags.classes}
        cases = [what | {"side": side, "xla": xla == "on"} for side, xla in product(flags.side, flags.xla)]
        found = measure(cases, flags)
        name = "targets + losses with gradient" if part == "losses" else f"whole step, {flags.model}"
        print(
            f"\n{name}: {flags.size} x {flags.size}, {flags.classes} classes, batch {batch}, {boxes} boxes per image, "
            f"{precision}, {found[0][0]['device']}; median of {flags.repeats}"
        )
        report(cases, found)


if __name__ == "__main__":
    sys.exit(run(parser(), None, _call))
