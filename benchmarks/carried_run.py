"""Runs what `benchmarks.carried` wrote, on this machine's GPU: times the steps, then trains.

    python run.py . --output results --seconds 600
    python run.py . --output results --only ours-bfloat16-16 model-garden-bfloat16-16 cards

Needs JAX 0.11.2, NumPy and OpenCV, and none of our packages; xla.py lies next to it. Programs are compiled and run one
after the other: choosing kernels uses the GPU. Each result is written at once, and what has one is not run again.
Nothing begins after --seconds.
"""

import argparse
import gzip
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xla

LABELS = (
    "image_id",
    "image_weight",
    "valid",
    "cell_index",
    "cell_class",
    "cell_value",
    "object_cell",
    "object_class",
    "object_offset",
    "object_size",
    "object_mask",
    "ignore_mask",
)
"""The step's inputs after the image, in order."""
DONE, PARTS = "done", ("step", "predict")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=400.0)
    parser.add_argument("--repeats", type=int, default=5, help="the median counts (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=10, help="steps per repeat")
    parser.add_argument("--only", nargs="*", default=[], help="parts of names")
    parser.add_argument("--trace", nargs="*", default=[], help="names of steps whose kernels are also written")
    parser.add_argument("--limit", type=int, default=0, help="at most this many training steps; 0: all")
    flags = parser.parse_args()
    end = time.monotonic() + flags.seconds
    jax.config.update("jax_enable_x64", True)
    print(f"progress: {jax.devices()[0].device_kind}", flush=True)
    records: dict[Path, dict[str, np.ndarray]] = {}
    folders = chosen_folders(flags.folder, flags.only)
    names = [folder.name for folder in folders]
    if unknown := set(flags.trace).difference(names):
        parser.error(f"--trace {' '.join(sorted(unknown))}: not among the chosen: {' '.join(names)}")
    for folder in folders:
        if time.monotonic() > end:
            print(f"progress: {folder.name}: no time left", flush=True)
        elif folder.parent.name == "steps":
            time_step(flags, folder)
        else:
            train_all(flags, folder, records, end)


def chosen_folders(folder: Path, only: list[str]) -> list[Path]:
    """Steps, then trainings; with `only`, those whose names contain one of its words, in the order of the words."""
    folders = [path.parent for kind in ("steps", "trainings") for path in sorted((folder / kind).glob(f"*/{DONE}"))]
    if not only:
        return folders
    return list(dict.fromkeys(place for word in only for place in folders if word in place.name))


def compiled(folder: Path) -> tuple[Any, float]:
    """(the executable, or None where the compiler refuses; seconds)."""
    started = time.monotonic()
    name = f"{folder.parent.name}/{folder.name}"
    try:
        executable = xla.load(folder / xla.STABLEHLO)
    except jax.errors.JaxRuntimeError as error:
        print(f"progress: {name}: {' '.join(str(error).split())[:300]}", flush=True)
        return None, 0.0
    seconds = time.monotonic() - started
    print(f"progress: {name} compiled in {seconds:.0f} s", flush=True)
    return executable, seconds


def time_step(flags: argparse.Namespace, folder: Path) -> None:
    """Compiles a step, times it, and writes what was measured."""
    place = flags.output / "steps" / f"{folder.name}.json"
    if place.exists():
        return
    executable, seconds = compiled(folder)
    if executable is None:
        return
    try:
        trace = flags.output / "traces" / folder.name if folder.name in flags.trace else None
        measured = xla.time_step(folder, executable, steps=flags.steps, repeats=flags.repeats, warm_up=3, trace=trace)
    except jax.errors.JaxRuntimeError as error:
        print(f"progress: {folder.name}: {' '.join(str(error).split())[:300]}", flush=True)
        return
    plan = executable.get_compiled_memory_stats()
    planned = plan.argument_size_in_bytes + plan.output_size_in_bytes - plan.alias_size_in_bytes
    measured |= {
        "side": json.loads((folder / xla.DESCRIPTION).read_text())["side"],
        "compile_seconds": seconds,
        "planned_bytes": planned + plan.temp_size_in_bytes,
    }
    if trace:
        (module,) = executable.hlo_modules()
        with gzip.open(trace / "program.txt.gz", "wt") as file:
            file.write(module.to_string())
        (trace / "kernels.json").write_text(json.dumps(kernels(trace)))
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps(measured))
    print(f"progress: {folder.name}: {measured}", flush=True)


def kernels(trace: Path) -> list[dict[str, Any]]:
    """What the device did, longest first: the instruction of the program, the kernel, its number and ms per step."""
    found: dict[tuple[str, str], list[float]] = {}
    for file in trace.rglob("*.xplane.pb"):
        for plane in jax.profiler.ProfileData.from_file(str(file)).planes:
            if not plane.name.startswith("/device:"):
                continue
            for line in plane.lines:
                for event in line.events if line.name.startswith("Stream") else ():
                    op = str(dict(event.stats).get("hlo_op", ""))
                    row = found.setdefault((op, event.name), [0, 0.0])
                    row[0] += 1 / xla.TRACED
                    row[1] += event.duration_ns / 1e6 / xla.TRACED
    rows = [{"op": op, "kernel": name, "count": n, "milliseconds": ms} for (op, name), (n, ms) in found.items()]
    return sorted(rows, key=lambda row: -row["milliseconds"])


def train_all(flags: argparse.Namespace, folder: Path, records: dict[Path, dict[str, np.ndarray]], end: float) -> None:
    """A training with each seed; none begins after the end."""
    training = json.loads((folder / "training.json").read_text())
    runs = [
        (flags.output / "trainings" / f"{folder.name}__{seed}.npz", int(seed), values)
        for seed, values in training["values"].items()
    ]
    runs = [run for run in runs if not run[0].exists()]
    (step, _), (predict, _) = (compiled(folder / part) for part in PARTS) if runs else ((None, 0), (None, 0))
    if step is None or predict is None:
        return
    training["updates"] = json.loads((folder / "step" / xla.DESCRIPTION).read_text())["updates"]
    places = [flags.folder / "records" / f"{training[split]}-{split}" for split in ("train", "val")]
    for place in places:
        if place not in records:
            records[place] = read(place)
    train_data, val_data = (records[place] for place in places)
    for result, seed, values in runs:
        if time.monotonic() > end:
            print(f"progress: {result.stem}: no time left", flush=True)
            continue
        stored = [load(flags.folder, name) for name in values]
        steps = flags.limit or training["steps"]
        variables, measured = train(step, training, steps, stored, train_data, seed)
        given = [variables[p] if isinstance(p, int) else load(flags.folder, p) for p in training["predict"]]
        outputs = run(predict, [jax.device_put(value) for value in (val_data["image"], *given)])
        boxes, scores, classes = (np.asarray(value) for value in outputs)
        result.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(result, boxes=boxes, scores=scores, classes=classes, **measured)
        print(
            f"progress: {result.stem}: {measured['milliseconds']:.1f} ms per step, "
            f"last loss {measured['losses'][-1]:.3f}",
            flush=True,
        )


def load(folder: Path, name: str) -> np.ndarray:
    with np.load(folder / "values" / f"{name}.npz") as file:
        return file["arr_0"]


def read(folder: Path) -> dict[str, np.ndarray]:
    """Decoded images and targets; `rows` [views, images] are the records of each view, in one order of the images."""
    import cv2

    found = dict(np.load(folder / "targets.npz"))
    encoded = np.fromfile(folder / "images.bin", np.uint8)
    ends = np.cumsum(found["sizes"])
    parts = [encoded[end - size : end] for end, size in zip(ends, found["sizes"], strict=True)]
    with ThreadPoolExecutor(8) as pool:
        images = list(pool.map(lambda part: cv2.imdecode(part, cv2.IMREAD_COLOR)[..., ::-1], parts))
    found["image"] = np.ascontiguousarray(np.stack(images))
    order = np.lexsort([found["image_id"], found["view"]])
    found["rows"] = order.reshape(found["view"].max() + 1, -1)
    return found


def run(executable: Any, arguments: list[Any]) -> list[Any]:
    return [parts[0] for parts in executable.execute_sharded(arguments).disassemble_into_single_device_arrays()]


def train(
    executable: Any,
    training: dict[str, Any],
    steps: int,
    values: list[np.ndarray],
    data: dict[str, np.ndarray],
    seed: int,
) -> tuple[list[Any], dict[str, np.ndarray]]:
    """(the step's variables after training, the loss of every fiftieth step and the milliseconds per step).

    Epochs are shuffled; epoch e reads view e mod K.
    """
    inputs = 1 + len(LABELS)
    variables = [jax.device_put(value) for value in values]
    random, rows = np.random.default_rng(seed), data["rows"]
    waiting, epoch = np.zeros(0, np.int64), 0
    losses = []
    started = time.monotonic()
    for number in range(steps):
        while len(waiting) < training["batch"]:
            waiting = np.concatenate([waiting, random.permutation(rows[epoch % len(rows)])])
            epoch += 1
        chosen, waiting = waiting[: training["batch"]], waiting[training["batch"] :]
        batch = [jax.device_put(data[name][chosen]) for name in ("image", *LABELS)]
        outputs = run(executable, [*batch, *variables])
        for output, parameter in training["updates"]:
            variables[parameter - inputs] = outputs[output]
        if number % 50 == 0 or number == steps - 1:
            losses.append(outputs[0])
    jax.block_until_ready(losses)
    return variables, {
        "losses": np.array([float(loss) for loss in losses]),
        "milliseconds": np.array(1e3 * (time.monotonic() - started) / steps),
    }


if __name__ == "__main__":
    main()
