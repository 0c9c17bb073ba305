"""Our training step against Model Garden's own CenterNet task: the whole step, and targets + losses alone.

    python benchmarks/train_step.py                                    small Hourglass, 512 x 512, graph and XLA
    python benchmarks/train_step.py --part losses --boxes 20           targets, losses and gradient alone
    python benchmarks/train_step.py --model hourglass-104 --batch 1 --part step --xla off --alone --repeats 2
    python benchmarks/train_step.py --model hourglass-104 --part step --precision float16 bfloat16 --batch 8 16 32
                                                                       on a GPU; start with --batch 16 alone

Same backbone, batch, images and boxes; a process for each side, told in turn to work, so that times are of one run and
the peak of memory is a side's own. `rise` is what two calls, with tracing and compiling, take beyond what was held
before them (model, optimizer and batch); `peak` is the whole process's, or the GPU's. Ours also flips, jitters and
normalises the images in its step; Model Garden does that in its input pipeline (benchmarks/input_pipeline.py).
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

sys.path.insert(0, str(Path(__file__).parents[1]))


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
"""Dense tensor-core peaks of NVIDIA's SXM or largest versions (data sheets, as remembered, not looked up)."""


class Side:
    """A process that has built one side and waits."""

    def __init__(self, case: dict[str, Any], errors: IO[bytes]) -> None:
        label = f"{NAMES[case['side']]}, {'XLA' if case['xla'] else 'graph'}"
        print(f"building {case['part']}: {label}, batch {case['batch']}", file=sys.stderr, flush=True)
        self._label, self._errors = label, errors
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("train_step_sides.py")), json.dumps(case)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=os.environ | ALLOCATOR,
            text=True,
        )
        self.ready: dict[str, Any] = self._read()

    def seconds(self, calls: int) -> tuple[float, float]:
        """(by the clock, of CPU time) of one call, over so many."""
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
    """A side that ends with the block."""
    with tempfile.TemporaryFile() as errors:
        side = Side(case, errors)
        try:
            yield side
        finally:
            side.stop()


def measure(
    cases: list[dict[str, Any]], flags: argparse.Namespace
) -> list[tuple[dict[str, Any], list[tuple[float, float]]]]:
    """For each case what its process said, and seconds a call, in turns; with --alone one process after the other."""
    if flags.alone:
        done = []
        for case in cases:
            with building(case) as side:
                done.append((side.ready, [side.seconds(1) for _ in range(flags.repeats)]))
                # A large model takes minutes a side: what is known is said even if the next one fails.
                print(f"done: {done[-1][1]} s, peak {side.ready['peak']:.0f} MiB", file=sys.stderr, flush=True)
        return done
    with ExitStack() as stack:
        sides = [stack.enter_context(building(case)) for case in cases]
        # Enough calls that a turn takes a quarter of a second: shorter ones measure the waking up.
        calls = [max(1, min(50, round(0.25 / side.seconds(1)[0]))) for side in sides]
        times: list[list[tuple[float, float]]] = [[] for _ in sides]
        for repeat in range(flags.repeats):
            print(f"repeat {repeat + 1} of {flags.repeats}", file=sys.stderr, flush=True)
            for side, count, taken in zip(sides, calls, times, strict=True):
                taken.append(side.seconds(count))
        return [(side.ready, taken) for side, taken in zip(sides, times, strict=True)]


def report(cases: list[dict[str, Any]], found: list[tuple[dict[str, Any], list[tuple[float, float]]]]) -> None:
    """A row a case; ratios are of the times of one repeat, the median of them.

    On a shared machine the CPU time says more than the clock; on a GPU it says nothing.
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
                raise RuntimeError(f"losses {ready['loss']} and {their_ready['loss']} differ: not the same work")
        name = f"{NAMES[case['side']]}, {'XLA' if case['xla'] else 'graph'}"
        print(
            f"{name:<24}{middle * 1e3:>10.1f}{cpu * 1e3:>10.1f}{case['batch'] / middle:>10.2f}{ready['rise']:>10.0f}"
            f"{ready['peak']:>10.0f}{ready['prepared']:>9.1f}{ready['loss']:>12.4f}   {ratio}"
        )
        if ready["flops"]:
            rate = ready["flops"] / middle
            peaks = [p for chip, p in PEAK_FLOPS.items() if chip in ready["device"]]
            peak = peaks[0].get(case["precision"]) if peaks else None
            share = f"{rate / peak:.1%} of the chip's peak" if peak else "peak of this device not known"
            print(f"{'':<24}{ready['flops']:.3g} FLOP of convolutions a step, {rate:.3g} a second; {share}")


def main() -> None:
    """Prints one table a part, precision, batch and number of boxes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=sorted(MODELS), default="small")
    parser.add_argument("--part", choices=["losses", "step"], nargs="+", default=["losses", "step"])
    parser.add_argument("--xla", choices=["off", "on"], nargs="+", default=["off", "on"])
    parser.add_argument("--side", choices=sorted(NAMES), nargs="+", default=["ours", "model-garden"])
    parser.add_argument("--precision", choices=["float32", "bfloat16", "float16"], nargs="+", default=["float32"])
    parser.add_argument("--batch", type=int, nargs="+", default=[2])
    parser.add_argument("--boxes", type=int, nargs="+", default=[20], help="objects an image (default 20)")
    parser.add_argument("--size", type=int, default=512, help="of the input in pixels (default 512)")
    parser.add_argument("--classes", type=int, default=90)
    parser.add_argument(
        "--plain-bn", action="store_true", help="ours without sync BN, as configs for one device; theirs can't"
    )
    parser.add_argument("--alone", action="store_true", help="one process after the other, where memory is short")
    parser.add_argument("--repeats", type=int, default=5)
    flags = parser.parse_args()
    for part, precision, batch, boxes in product(flags.part, flags.precision, flags.batch, flags.boxes):
        what = {"part": part, "precision": precision, "batch": batch, "boxes": boxes}
        what |= {"model": flags.model, "size": flags.size, "classes": flags.classes}
        cases = [
            what | {"side": side, "xla": xla == "on", "sync_bn": not (side == "ours" and flags.plain_bn)}
            for side, xla in product(flags.side, flags.xla)
        ]
        found = measure(cases, flags)
        name = "targets + losses with gradient" if part == "losses" else f"whole step, {flags.model}"
        print(
            f"\n{name}: {flags.size} x {flags.size}, {flags.classes} classes, batch {batch}, {boxes} boxes an image, "
            f"{precision}, {found[0][0]['device']}; median of {flags.repeats}"
        )
        report(cases, found)


if __name__ == "__main__":
    main()
