"""How each stage grows with the data: CPU seconds and memory against the number of images, classes and objects.

    python -m benchmarks.growth
    python -m benchmarks.growth --images 1000 10000 100000 --classes 10 --objects 7 --only check preprocess

One number changes at a time; the others stay at the first of their list. Every number is a process of its own, so that
its peak memory is its own; what it imports and reads before it begins is in its memory, and not in its seconds. Images
are JPEGs of 64 x 64 pixels, hard links to 50 files: what an image costs whatever its size. Larger ones add their
decoding, see benchmarks.preprocess. A training step and a prediction don't depend on the number of images;
benchmarks.train_step has flags for classes and boxes. docs/benchmarks.md#growth has the results.
"""

import argparse
import contextlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from beam_preprocess.base.command import Parser, run
from beam_preprocess.base.errors import Failure

SIDE = 64
DISTINCT = 50
DETECTIONS = 100
"""Detections per image, as CenterNet returns."""
RESAMPLES = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """The size of a data set."""

    images: int
    classes: int
    objects: int
    """Per image."""


def write_data(folder: Path, size: Size) -> None:
    """Images and annotations; every class occurs if there are objects enough."""
    from benchmarks.preprocess import write_images

    write_images(folder / "images", size.images, (SIDE, SIDE), DISTINCT)
    random = np.random.default_rng(0)
    images = np.repeat(np.arange(size.images), size.objects)
    classes = 1 + np.arange(len(images)) % size.classes
    boxes = _boxes(random, len(images))
    rows = zip(images.tolist(), classes.tolist(), boxes.tolist(), strict=True)
    found = [
        {"id": i, "image_id": image, "category_id": category, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
        for i, (image, category, box) in enumerate(rows, 1)
    ]
    data = {
        "images": [{"id": i, "file_name": f"{i}.jpg", "height": SIDE, "width": SIDE} for i in range(size.images)],
        "categories": [{"id": i, "name": f"class {i}"} for i in range(1, size.classes + 1)],
        "annotations": found,
    }
    (folder / "instances.json").write_text(json.dumps(data))


def _boxes(random: np.random.Generator, count: int) -> np.ndarray:
    corner = random.uniform(0, 0.6, (count, 2)) * SIDE
    return np.concatenate([corner, random.uniform(0.05, 0.4, (count, 2)) * SIDE], axis=1).round(2)


def _detections(size: Size) -> list[dict[str, Any]]:
    """100 an image: its objects, moved a little, and others."""
    random = np.random.default_rng(1)
    truths = _boxes(np.random.default_rng(0), size.images * size.objects).reshape(size.images, size.objects, 4)
    near = min(size.objects, DETECTIONS)
    found = []
    for image in range(size.images):
        moved = truths[image, :near] + random.normal(0, 1.5, (near, 4))
        boxes = np.concatenate([moved, _boxes(random, DETECTIONS - near)]).clip(0.5).tolist()
        classes = [1 + (image * size.objects + k) % size.classes for k in range(near)]
        classes += random.integers(1, size.classes + 1, DETECTIONS - near).tolist()
        found += [
            {"image_id": image, "category_id": category, "bbox": box, "score": score}
            for category, box, score in zip(classes, boxes, random.random(DETECTIONS).tolist(), strict=True)
        ]
    return found


# A stage gets the folder of its data and the data's size, prepares, and returns the call that is measured.


def _check(folder: Path, size: Size) -> Callable[[], object]:
    """One split, every image decoded."""
    from beam_preprocess.dataset.check import examine
    from beam_preprocess.format.config import PreprocessConfig

    split = (str(folder / "images"), str(folder / "instances.json"))
    return lambda: examine({"val": split}, PreprocessConfig(image_size=(SIDE, SIDE)))


def _preprocess(folder: Path, size: Size) -> Callable[[], object]:
    """One view of each image."""
    from beam_preprocess.format.config import PreprocessConfig
    from beam_preprocess.job.pipeline import preprocess

    images, annotations, output = str(folder / "images"), str(folder / "instances.json"), str(folder / "records")
    config = PreprocessConfig(image_size=(SIDE, SIDE), train_views=1)
    return lambda: preprocess(images=images, annotations=annotations, split="train", output=output, config=config)


def _score(folder: Path, size: Size) -> Callable[[], object]:
    """Matching and COCO's metrics of 100 detections per image, the annotations' reading included."""
    from trainer.coco.metrics import score_arrays

    found = _detections(size)
    return lambda: score_arrays(str(folder / "instances.json"), found, range(size.images))


def _bootstrap(folder: Path, size: Size) -> Callable[[], object]:
    """Resamples of one model's AP."""
    from trainer.coco.bootstrap import draw
    from trainer.coco.match_table import from_scored
    from trainer.coco.metrics import score_arrays
    from trainer.coco.resampling import resampled_ap

    table = from_scored(score_arrays(str(folder / "instances.json"), _detections(size), range(size.images)))
    return lambda: resampled_ap(table, draw(size.images, RESAMPLES))


def _analyse(folder: Path, size: Size) -> Callable[[], object]:
    """The evaluation's error analysis, as the text of its file."""
    from trainer.coco.error_kinds import analyse
    from trainer.coco.metrics import score_arrays

    scored = score_arrays(str(folder / "instances.json"), _detections(size), range(size.images))
    return lambda: analyse(scored).to_json()


def _labels(folder: Path, size: Size) -> Callable[[], object]:
    """The report's search for label errors."""
    from beam_preprocess.format.annotations import load_annotations
    from trainer.coco.label_errors import label_errors

    coco, found = load_annotations(str(folder / "instances.json")), _detections(size)
    return lambda: label_errors(coco, found)


def _export(folder: Path, size: Size) -> Callable[[], object]:
    """The demo's network, untrained, as a SavedModel; parity on 64 images included."""
    from beam_preprocess.base.config_text import resolve
    from trainer.config.experiment import build_experiment
    from trainer.config.sections import parse_config
    from trainer.model import network
    from trainer.saved_model.building import export
    from trainer.training import checkpoints

    text = resolve("demo").text
    task = build_experiment(parse_config(text)).task
    task.model.override({"num_classes": size.classes, "input_size": [128, 128, 3]})
    summary = {
        "num_classes": size.classes,
        "categories": [{"index": i, "id": i + 1, "name": f"class {i + 1}"} for i in range(size.classes)],
        "input_size": [128, 128],
        **dict.fromkeys(("train_digest", "records_digest", "data_digest"), "none"),
    }
    checkpoint, output = str(folder / "checkpoint"), str(folder / "saved_model")
    checkpoints.finish(checkpoint, network.build_model(task), task, text, summary)
    images, annotations = str(folder / "images"), str(folder / "instances.json")
    return lambda: export(checkpoint=checkpoint, output=output, images=images, annotations=annotations)


STAGES: dict[str, Callable[[Path, Size], Callable[[], object]]] = {
    "check": _check,
    "preprocess": _preprocess,
    "export": _export,
    "score": _score,
    "bootstrap": _bootstrap,
    "analyse": _analyse,
    "label errors": _labels,
}


def _child(stage: str, folder: Path, size: Size) -> None:
    call = STAGES[stage](folder, size)
    started = time.process_time()
    with contextlib.redirect_stdout(sys.stderr):
        call()
    seconds = time.process_time() - started
    print(json.dumps({"cpu": seconds, "peak": peak_mib()}))


def peak_mib() -> float:
    """Peak resident memory of this process. `ru_maxrss` has the parent's too, which a process has until it execs."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 2**10


def _measure(stage: str, folder: Path, size: Size) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.growth", "--child", stage, str(folder), json.dumps(asdict(size))]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise Failure(f"{stage}, {size}: {done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def sizes(images: Sequence[int], classes: Sequence[int], objects: Sequence[int]) -> list[Size]:
    """The first of all, then one number changed at a time."""
    first = Size(images=images[0], classes=classes[0], objects=objects[0])
    changed = [replace(first, images=n) for n in images[1:]] + [replace(first, classes=n) for n in classes[1:]]
    return [first, *changed, *(replace(first, objects=n) for n in objects[1:])]


def parser() -> Parser:
    """The benchmark's flags."""
    made = Parser(description=__doc__)
    made.add_argument("--images", type=int, nargs="+", default=[1000, 10_000], metavar="N", help="default: 1000 10000")
    made.add_argument("--classes", type=int, nargs="+", default=[10, 100, 1000], metavar="N", help="10 100 1000")
    made.add_argument("--objects", type=int, nargs="+", default=[7, 100, 1000], metavar="N", help="7 100 1000")
    made.add_argument("--only", nargs="+", default=list(STAGES), choices=list(STAGES), help="stages; default: all")
    made.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    return made


def _call(flags: argparse.Namespace) -> None:
    if flags.child:
        stage, folder, size = flags.child
        _child(stage, Path(folder), Size(**json.loads(size)))
        return
    print("| images | classes | objects per image | " + " | ".join(f"{s}, CPU s | MiB" for s in flags.only) + " |")
    print("|---|---|---|" + "---|---|" * len(flags.only), flush=True)
    for size in sizes(flags.images, flags.classes, flags.objects):
        with tempfile.TemporaryDirectory() as folder:
            write_data(Path(folder), size)
            found = [_measure(stage, Path(folder), size) for stage in flags.only]
        cells = [f"{row['cpu']:.1f} | {row['peak']:.0f}" for row in found]
        print(f"| {size.images:,} | {size.classes:,} | {size.objects:,} | {' | '.join(cells)} |", flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0, or 1 for a stage that failed."""
    return run(parser(), argv, _call)


if __name__ == "__main__":
    sys.exit(main())
