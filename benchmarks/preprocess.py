"""Preprocessing against a bare loop of decode, resize and encode on the same images; its scaling, bytes and memory.

    python -m benchmarks.preprocess                             speed, 2 threads and 2 processes, bytes, COCO arithmetic
    python -m benchmarks.preprocess --image-folder photos       on your own JPEGs instead of generated ones
    python -m benchmarks.preprocess --images 3000 --sides processes           only 1 and 2 processes, a run of minutes
    python -m benchmarks.preprocess --memory 1000 10000 50000   peak memory by number of images (64 x 64 pixels)

All sides take turns in one process. On a busy machine, the ratio of CPU seconds is more stable than that of wall time.
Two threads or processes are faster in wall time only if two cores are free: then at most 2 / their CPU seconds, as a
multiple of one worker's, times as fast.
The bare loop uses simplejpeg (accurate DCT) and OpenCV, the fastest pair measured, and renders the same views.
"""

import argparse
import contextlib
import io
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from beam_preprocess.base.command import Parser, run
from beam_preprocess.format.config import PreprocessConfig
from beam_preprocess.format.geometry import make_view
from beam_preprocess.format.images import decode, encode_jpeg, render_view

CATEGORIES = 80
COCO_IMAGES, COCO_VIEWS = 118_287, 8
VCPU_HOUR, GIB_HOUR = 0.056, 0.003557
"""Dollars for Dataflow batch in us-central1 (list prices from memory, not looked up; override with --vcpu-hour)."""

_MEASURE = """
import sys
from beam_preprocess.format.config import PreprocessConfig
from beam_preprocess.job.pipeline import preprocess
preprocess(images=sys.argv[1], annotations=sys.argv[2], split="train", output=sys.argv[3],
           config=PreprocessConfig(image_size=(64, 64), train_views=1))
from benchmarks.growth import peak_mib
print("peak", round(peak_mib()))
"""


def make_data(folder: Path, count: int, size: tuple[int, int], distinct: int, boxes: int = 7) -> Path:
    """JPEGs, see `write_images`, and their annotations."""
    write_images(folder / "images", count, size, distinct)
    return annotate(folder, [(f"{i}.jpg", *size) for i in range(count)], boxes)


def write_images(folder: Path, count: int, size: tuple[int, int], distinct: int) -> None:
    """JPEGs of smooth noise with edges: hard links to a few distinct files."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    height, width = size
    for i in range(distinct):
        coarse = rng.integers(0, 256, (max(2, height // 16), max(2, width // 16), 3), np.uint8)
        picture = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.int16)
        picture += rng.integers(-12, 13, picture.shape, np.int16)
        (folder / f"{i}.jpg").write_bytes(encode_jpeg(picture.clip(0, 255).astype(np.uint8), 93))
    for i in range(distinct, count):
        (folder / f"{i}.jpg").hardlink_to(folder / f"{i % distinct}.jpg")


def annotate(folder: Path, images: list[tuple[str, int, int]], boxes: int) -> Path:
    """Random boxes for images of (name, height, width)."""
    rng = np.random.default_rng(1)
    entries, annotations = [], []
    for i, (name, height, width) in enumerate(images):
        entries.append({"id": i, "file_name": name, "height": height, "width": width})
        corner = rng.uniform(0, 0.6, (boxes, 2)) * (width, height)
        side = rng.uniform(0.05, 0.4, (boxes, 2)) * (width, height)
        for box in np.concatenate([corner, side], axis=1).round(2).tolist():
            category = int(rng.integers(1, CATEGORIES + 1))
            annotations.append({"id": len(annotations), "image_id": i, "category_id": category, "bbox": box})
    categories = [{"id": i, "name": f"class {i}"} for i in range(1, CATEGORIES + 1)]
    path = folder / "annotations.json"
    path.write_text(json.dumps({"images": entries, "annotations": annotations, "categories": categories}))
    return path


def bare_loop(images: Path, annotations: Path, config: PreprocessConfig) -> tuple[float, float]:
    """(wall, CPU) seconds to decode each image once, and to resize and encode each of its views."""
    entries = json.loads(annotations.read_text())["images"]
    cv2.setNumThreads(1)
    start, cpu = time.perf_counter(), time.process_time()
    for entry in entries:
        size = entry["height"], entry["width"]
        pixels = decode((images / entry["file_name"]).read_bytes(), size).pixels
        for number in range(config.train_views):
            view = make_view(
                seed=0,
                image_id=entry["id"],
                view=number,
                image_size=size,
                input_size=config.image_size,
                scale_range=(config.scale_min, config.scale_max),
            )
            encode_jpeg(render_view(pixels, view, config.image_size), config.jpeg_quality)
    return time.perf_counter() - start, time.process_time() - cpu


def cpu_seconds() -> float:
    """CPU seconds of this process and of its child processes that have ended."""
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


def speed(flags: argparse.Namespace, folder: Path) -> None:
    """Both sides in turn. The library's side is a whole run, including plans, validation, digests and manifest."""
    from beam_preprocess.format.records import decode as decode_record
    from beam_preprocess.format.targets import code_table
    from beam_preprocess.format.tfrecord import read_records
    from beam_preprocess.job.pipeline import preprocess

    config = PreprocessConfig(train_views=flags.views)
    if flags.image_folder:
        images, found = Path(flags.image_folder), []
        for path in sorted(images.glob("*.[jJ][pP]*"))[: flags.images]:
            height, width = cv2.imread(str(path), cv2.IMREAD_IGNORE_ORIENTATION | cv2.IMREAD_COLOR).shape[:2]
            found.append((path.name, height, width))
        annotations, count = annotate(folder, found, 7), len(found)
    else:
        annotations, count = make_data(folder, flags.images, (480, 640), min(flags.images, 100)), flags.images
        images = folder / "images"

    def library(output: Path, **parallel: int) -> tuple[float, float]:
        start, cpu = time.perf_counter(), cpu_seconds()
        with contextlib.redirect_stdout(io.StringIO()):
            preprocess(
                images=str(images),
                annotations=str(annotations),
                split="train",
                output=str(output),
                config=config,
                force=True,
                **parallel,
            )
        return time.perf_counter() - start, cpu_seconds() - cpu

    output = folder / "out"
    calls: dict[str, Callable[[], tuple[float, float]]] = {
        "bare": lambda: bare_loop(images, annotations, config),
        "one": lambda: library(output),
        "threads": lambda: library(output, num_threads=2),
        "processes": lambda: library(output, num_workers=2),
    }
    calls = {name: call for name, call in calls.items() if name == "one" or name in flags.sides}
    bare_loop(images, annotations, config)  # warm-up: page cache, code
    sides: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for repeat in range(flags.repeats):
        for name, call in calls.items():
            sides[name].append(call())
            seconds, used = sides[name][-1]
            print(f"repeat {repeat + 1}, {name}: {seconds:.1f} s, {used:.1f} CPU s", file=sys.stderr, flush=True)
    wall, cpu = ({name: statistics.median(run[i] for run in runs) for name, runs in sides.items()} for i in (0, 1))
    one, one_cpu = wall["one"], cpu["one"]
    views = flags.views
    print(f"{count} images x {views} views of 512 x 512, median of {flags.repeats} runs")
    print(f"whole run, 1 worker    {count / one:8.1f} images/s  {count * views / one:8.1f} views/s")
    if "bare" in sides:
        loop = wall["bare"]
        print(f"bare loop, 1 core      {count / loop:8.1f} images/s  {count * views / loop:8.1f} views/s")
        print(f"ratio                  {loop / one:8.2f} in wall time, {cpu['bare'] / one_cpu:.2f} in CPU seconds")
    for name in (name for name in ("threads", "processes") if name in sides):
        pairs = list(zip(sides["one"], sides[name], strict=True))
        best = max(before[0] / after[0] for before, after in pairs)
        used = statistics.median(after[1] / before[1] for before, after in pairs)
        print(
            f"whole run, {f'2 {name}':<11} {count / wall[name]:8.1f} images/s, {one / wall[name]:.2f} x as fast (best "
            f"repeat {best:.2f}); {used:.2f} x the CPU seconds, including start-up: at most {2 / used:.2f} x as fast"
        )

    codes = len(code_table(config.map_size, config.heatmap_cutoff).values)
    total = jpeg = 0
    for path in sorted(output.glob("*.tfrecord")):
        with path.open("rb") as file:
            for data in read_records(file):
                total += len(data)
                jpeg += len(decode_record(data, config.map_size, codes).image)
    records = count * views
    print(f"bytes per record       {total / records:8.0f} ({total / jpeg:.3f} x its JPEG's {jpeg / records:.0f})")
    hours = one_cpu / count / views * COCO_IMAGES * COCO_VIEWS / 3600
    dollars = hours * (flags.vcpu_hour + 4 * GIB_HOUR)
    print(
        f"COCO train2017 x {COCO_VIEWS}   {hours:.1f} CPU hours; {hours / 100 * 60:.0f} min at 100 workers of 1 vCPU, "
        f"without start-up; about ${dollars:.2f} at ${flags.vcpu_hour} per vCPU hour (from memory) and 4 GiB each; "
        f"{total / records * COCO_IMAGES * COCO_VIEWS / 1e9:.0f} GB stored (arithmetic, not measured)"
    )


def memory(counts: list[int], folder: Path) -> None:
    """Peak resident memory of a whole run, each in a separate process."""
    print("images   peak MiB   seconds")
    for count in counts:
        data = folder / str(count)
        annotations = make_data(data, count, (64, 64), 50, boxes=3)
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", _MEASURE, str(data / "images"), str(annotations), str(data / "out")],
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).parents[1],
        )
        peak = done.stdout.split()[-1]
        print(f"{count:>6} {peak:>10} {time.perf_counter() - start:>9.1f}", flush=True)


def parser() -> Parser:
    """The parser of the command."""
    made = Parser(prog="python -m benchmarks.preprocess", description=__doc__)
    made.add_argument("--images", type=int, default=300, help="number of images (default: %(default)s)")
    made.add_argument("--image-folder", metavar="DIR", help="JPEGs to use instead of generated ones")
    made.add_argument("--views", type=int, default=8, help="views per image (default: %(default)s)")
    made.add_argument(
        "--sides",
        nargs="+",
        choices=("bare", "threads", "processes"),
        default=["bare", "threads", "processes"],
        help="what to compare with a run of one worker (default: all)",
    )
    made.add_argument("--repeats", type=int, default=3, help="repeats; the median counts (default: %(default)s)")
    made.add_argument("--vcpu-hour", type=float, default=VCPU_HOUR, help="price in dollars (default: %(default)s)")
    made.add_argument("--memory", type=int, nargs="+", metavar="IMAGES", help="measure peak memory instead")
    return made


def _call(flags: argparse.Namespace) -> None:
    """Runs one of the two measurements."""
    with tempfile.TemporaryDirectory() as folder:
        if flags.memory:
            memory(flags.memory, Path(folder))
        else:
            speed(flags, Path(folder))


if __name__ == "__main__":
    sys.exit(run(parser(), None, _call))
