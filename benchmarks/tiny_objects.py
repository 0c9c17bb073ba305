"""2,000 objects of 4 to 12 pixels in images of 430 x 1764: what a configuration written from the data finds of them.

    python -m benchmarks.tiny_objects                         the written configuration, ten minutes of training
    python -m benchmarks.tiny_objects --config custom-cpu     a square of 192 pixels, for comparison

Generates the data (40 training and 10 validation images, 50 objects each, two classes), runs `centernet run`, and
prints AP with wall and CPU seconds.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np

from beam_preprocess.base.command import Parser, run
from pipeline.preflight.processes import child_environment

SIZE = 430, 1764
OBJECTS, SIDES, GAP = 50, (4, 12), 3
IMAGES = {"train": 40, "val": 10}
CLASSES = "grain", "fleck"
"""Bright ellipses and dark rectangles."""


def generate(folder: Path) -> None:
    """Writes the data in COCO 2017's layout."""
    for split, count in IMAGES.items():
        images, annotations = [], []
        (folder / f"{split}2017").mkdir(parents=True, exist_ok=True)
        (folder / "annotations").mkdir(exist_ok=True)
        for i in range(count):
            draw = np.random.default_rng([len(split), i])
            pixels, boxes = _image(draw)
            cv2.imwrite(str(folder / f"{split}2017" / f"{i}.jpg"), pixels, [cv2.IMWRITE_JPEG_QUALITY, 95])
            images.append({"id": i + 1, "file_name": f"{i}.jpg", "height": SIZE[0], "width": SIZE[1]})
            for kind, box in boxes:
                number = len(annotations) + 1
                entry = {"id": number, "image_id": i + 1, "category_id": kind + 1, "bbox": box, "iscrowd": 0}
                annotations.append({**entry, "area": box[2] * box[3]})
        categories = [{"id": i + 1, "name": name} for i, name in enumerate(CLASSES)]
        content = {"images": images, "annotations": annotations, "categories": categories}
        (folder / "annotations" / f"instances_{split}2017.json").write_text(json.dumps(content))


def _image(draw: np.random.Generator) -> tuple[np.ndarray, list[tuple[int, list[int]]]]:
    """(BGR pixels, class and [x, y, width, height] of each object). Objects don't touch."""
    height, width = SIZE
    coarse = draw.uniform(70, 170, (6, 20, 3)).astype(np.float32)
    pixels = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) + draw.normal(0, 8, (height, width, 3))
    taken = np.zeros(SIZE, bool)
    boxes: list[tuple[int, list[int]]] = []
    while len(boxes) < OBJECTS:
        w, h = draw.integers(SIDES[0], SIDES[1] + 1, 2).tolist()
        x, y = int(draw.integers(0, width - w)), int(draw.integers(0, height - h))
        around = taken[max(0, y - GAP) : y + h + GAP, max(0, x - GAP) : x + w + GAP]
        if around.any():
            continue
        kind = len(boxes) % len(CLASSES)
        shape = np.ones((h, w), bool)
        if kind == 0:
            down, across = np.mgrid[:h, :w]
            shape = ((across - (w - 1) / 2) / (w / 2)) ** 2 + ((down - (h - 1) / 2) / (h / 2)) ** 2 <= 1
        pixels[y : y + h, x : x + w][shape] += (1 - 2 * kind) * draw.uniform(50, 80)
        taken[y : y + h, x : x + w] = True
        boxes.append((kind, [x, y, w, h]))
    return pixels.clip(0, 255).astype(np.uint8), boxes


def parser() -> Parser:
    """The command's flags."""
    made = Parser(prog="python -m benchmarks.tiny_objects", description=__doc__)
    made.add_argument("--folder", default=".tiny-objects", help="for data and runs (default: %(default)s)")
    made.add_argument("--config", default="", help="instead of the one written from the data")
    made.add_argument("--minutes", type=float, help="of training, for the written configuration; default: 10")
    made.add_argument("--train-steps", type=int, help="instead of the minutes")
    return made


def _call(flags: argparse.Namespace) -> None:
    folder = Path(flags.folder).absolute()
    generate(folder / "coco")
    given = {"config": flags.config, "minutes": flags.minutes, "train-steps": flags.train_steps}
    arguments = [f"--{name}={value}" for name, value in given.items() if value]
    if flags.train_steps and flags.config:
        decay = "trainer.optimizer_config.learning_rate.cosine.decay_steps"
        arguments += ["--set", f"{decay}={flags.train_steps}"]
    started = time.monotonic()
    command = [sys.executable, "-m", "pipeline", "run", "--coco-dir", "coco", "--set", "gate.min_ap=0.0", *arguments]
    code = subprocess.run(command, cwd=folder, env=child_environment(), check=False).returncode
    if code:
        raise SystemExit(code)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    summary = json.loads((folder / "runs" / "latest" / "summary.json").read_text())
    result = {
        "config": flags.config or "written from the data",
        "ap": summary["ap"],
        "seconds": round(time.monotonic() - started),
        "cpu_seconds": round(used.ru_utime + used.ru_stime),
        "processors": os.cpu_count(),
    }
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    sys.exit(run(parser(), None, _call))
