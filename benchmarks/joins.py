"""Ways to join images and their boxes in Beam: seconds and peak memory of each, on FnApiRunner.

    python -m benchmarks.joins                      20,000 images with 7.3 boxes each
    python -m benchmarks.joins --images 118287      as many as COCO train2017

Each way begins with the parsed annotations in memory and ends when a DoFn has received every image with its boxes. Each
runs in a separate process. The number of boxes received is checked.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np

from beam_preprocess.base.command import Parser, run
from beam_preprocess.dataset.validate import validate_boxes, validate_images
from beam_preprocess.format.annotations import CocoAnnotations, class_map
from beam_preprocess.job.output import Plans
from beam_preprocess.job.shards import ImageEntry, number_of_shards, plan_shards, read_plan

BOXES_PER_IMAGE = 7.27
CATEGORIES = 80


def annotations(images: int) -> CocoAnnotations:
    """COCO's density, in random order."""
    rng = np.random.default_rng(0)
    boxes = round(images * BOXES_PER_IMAGE)
    corner, side = rng.uniform(0, 300, (boxes, 2)), rng.uniform(2, 160, (boxes, 2))
    return CocoAnnotations(
        uri="synthetic",
        content_digest="",
        image_ids=np.arange(images) * 5 + 9,
        file_names=[f"{i:012d}.jpg" for i in range(images)],
        image_sizes=np.tile([480, 640], (images, 1)),
        annotation_ids=np.arange(boxes),
        annotation_image_ids=rng.integers(0, images, boxes) * 5 + 9,
        annotation_category_ids=rng.integers(1, CATEGORIES + 1, boxes),
        bboxes=np.concatenate([corner, side], axis=1).round(2),
        bbox_lengths=np.full(boxes, 4),
        areas=np.full(boxes, np.nan),
        crowd=np.zeros(boxes, bool),
        categories=tuple((i, f"class {i}") for i in range(1, CATEGORIES + 1)),
    )


def by_image(coco: CocoAnnotations) -> dict[int, list[list[float]]]:
    """The boxes of each image: what all ways but ours join."""
    found: dict[int, list[list[float]]] = {image_id: [] for image_id in coco.image_ids.tolist()}
    for image_id, box in zip(coco.annotation_image_ids.tolist(), coco.bboxes.tolist(), strict=True):
        found[image_id].append(box)
    return found


class CountPlan(beam.DoFn):
    """Reads a plan, as `WriteShard` does."""

    def process(self, plan: str) -> Iterator[int]:
        """Boxes of each image."""
        with open(plan, encoding="utf-8") as lines:
            for entry in read_plan(lines):
                if isinstance(entry, ImageEntry):
                    yield len(entry.labels.boxes)


class CountIndexed(beam.DoFn):
    """Holds the boxes of all images: one copy per worker process."""

    def __init__(self, path: str) -> None:
        self._path = path

    def setup(self) -> None:
        """Loads the index."""
        self._boxes = json.loads(Path(self._path).read_text())

    def process(self, image_id: int) -> Iterator[int]:
        """Boxes of the image."""
        yield len(self._boxes[str(image_id)])


def plan_files(pipeline: beam.Pipeline, coco: CocoAnnotations, folder: Path) -> Any:
    """Ours: the driver joins with numpy and writes one plan per shard; only paths enter the graph."""
    keep, image_rejects = validate_images(coco)
    keep_boxes, boxes, rejects = validate_boxes(coco, keep, 0.0)
    plans = Plans(
        str(folder / "plans"),
        plan_shards(
            coco,
            class_map(coco.categories, "rank")[0],
            keep_images=keep,
            keep_boxes=keep_boxes,
            boxes=boxes,
            rejects=[*image_rejects, *rejects],
            num_shards=number_of_shards(len(coco.image_ids)),
        ),
    )
    return pipeline | beam.Create(plans.uris) | beam.Reshuffle() | beam.ParDo(CountPlan())


def index_file(pipeline: beam.Pipeline, coco: CocoAnnotations, folder: Path) -> Any:
    """One file with all boxes, read by every worker."""
    path = folder / "index.json"
    path.write_text(json.dumps(by_image(coco)))
    ids = pipeline | beam.Create(coco.image_ids.tolist()) | beam.Reshuffle()
    return ids | beam.ParDo(CountIndexed(str(path)))


def create_of_bytes(pipeline: beam.Pipeline, coco: CocoAnnotations, folder: Path) -> Any:
    """The boxes in the graph itself: one byte string per image."""
    lines = [json.dumps(boxes).encode() for boxes in by_image(coco).values()]
    return pipeline | beam.Create(lines) | beam.Reshuffle() | beam.Map(lambda line: len(json.loads(line)))


def side_input(pipeline: beam.Pipeline, coco: CocoAnnotations, folder: Path) -> Any:
    """AsDict of all boxes."""
    pairs = pipeline | "Boxes" >> beam.Create(list(by_image(coco).items()))
    ids = pipeline | "Images" >> beam.Create(coco.image_ids.tolist()) | beam.Reshuffle()
    return ids | beam.Map(lambda image_id, boxes: len(boxes[image_id]), beam.pvalue.AsDict(pairs))


def group_by_key(pipeline: beam.Pipeline, coco: CocoAnnotations, folder: Path) -> Any:
    """CoGroupByKey of images and boxes."""
    rows = list(zip(coco.annotation_image_ids.tolist(), coco.bboxes.tolist(), strict=True))
    boxes = pipeline | "Boxes" >> beam.Create(rows)
    images = pipeline | "Images" >> beam.Create(list(zip(coco.image_ids.tolist(), coco.file_names, strict=True)))
    joined = {"boxes": boxes, "images": images} | beam.CoGroupByKey()
    return joined | beam.Map(lambda pair: len(pair[1]["boxes"]))


WAYS: dict[str, Callable[[beam.Pipeline, CocoAnnotations, Path], Any]] = {
    "plan files (ours)": plan_files,
    "index file in setup()": index_file,
    "Create of bytes": create_of_bytes,
    "side input AsDict": side_input,
    "CoGroupByKey": group_by_key,
}


def _note(path: str, number: int) -> None:
    Path(path).write_text(str(number))


def measure(way: str, images: int) -> None:
    """Measures one way in this process; prints boxes, seconds, peak MiB."""
    coco = annotations(images)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        with beam.Pipeline(runner="FnApiRunner") as pipeline:
            counts = WAYS[way](pipeline, coco, Path(folder))
            _ = (
                counts
                | "Sum" >> beam.CombineGlobally(sum)
                | "Total" >> beam.Map(lambda number: _note(f"{folder}/n", number))
            )
        seconds = time.perf_counter() - start
        boxes = int(Path(folder, "n").read_text())
    if boxes != len(coco.annotation_ids):
        raise RuntimeError(f"{way} received {boxes} of {len(coco.annotation_ids)} boxes")
    print(boxes, seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)


def parser() -> Parser:
    """The parser of the command."""
    made = Parser(prog="python -m benchmarks.joins", description=__doc__)
    made.add_argument("--images", type=int, default=20_000, help="number of images (default: %(default)s)")
    made.add_argument("--way", choices=WAYS, help="measure only this one, in this process")
    return made


def _call(flags: argparse.Namespace) -> None:
    """Prints one line per way."""
    if flags.way:
        measure(flags.way, flags.images)
        return
    print(f"{flags.images} images, {round(flags.images * BOXES_PER_IMAGE)} boxes; seconds and peak MiB of the process")
    for way in WAYS:
        command = [sys.executable, "-m", "benchmarks.joins", "--way", way, "--images", str(flags.images)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1])
        _, seconds, peak = done.stdout.split()
        print(f"{way:<24}{float(seconds):>8.1f}{int(peak):>8}", flush=True)


if __name__ == "__main__":
    sys.exit(run(parser(), None, _call))
