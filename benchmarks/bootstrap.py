"""1,000 paired bootstrap resamples of AP at val2017's size: ours, against scoring each resample with pycocotools.

    python -m benchmarks.bootstrap

Ours matches once and sums weights for every resample. The other side is measured on one resample and multiplied; only
its accumulation is counted, since the matching of the images can be kept. COCOeval can do no less.
"""

import argparse
import contextlib
import io
import os
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from beam_preprocess.base.command import Parser, run
from benchmarks import synthetic_coco
from trainer.coco.bootstrap import compare, draw
from trainer.coco.match_table import MatchTable, from_scored
from trainer.coco.metrics import score_arrays
from trainer.coco.resampling import resampled_ap


def _table(folder: Path, dataset: dict[str, Any], seed: int, noise: float) -> MatchTable:
    path = str(folder / "instances.json")
    images = [image["id"] for image in dataset["images"]]
    return from_scored(score_arrays(path, synthetic_coco.predictions(dataset, seed, noise), images))


def _pycocotools_seconds(path: str, dataset: dict[str, Any]) -> float:
    """Seconds of one COCOeval.accumulate for the one limit and area range that AP needs."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truths = COCO(path)
        evaluator = COCOeval(truths, truths.loadRes(synthetic_coco.predictions(dataset)), "bbox")
        evaluator.params.maxDets = [100]
        evaluator.params.areaRng = evaluator.params.areaRng[:1]
        evaluator.evaluate()
        started = time.perf_counter()
        evaluator.accumulate()
    return time.perf_counter() - started


def parser() -> Parser:
    """The parser of the command."""
    made = Parser(
        prog="python -m benchmarks.bootstrap",
        description="Seconds for paired bootstrap resamples of AP at val2017's size.",
        epilog="example: python -m benchmarks.bootstrap --images 500 --resamples 100",
    )
    made.add_argument(
        "--images", type=int, default=synthetic_coco.IMAGES, help="number of images (default: %(default)s, as val2017)"
    )
    made.add_argument("--resamples", type=int, default=1000, help="number of resamples (default: %(default)s)")
    made.add_argument("--repeats", type=int, default=3, help="repeats; the median counts (default: %(default)s)")
    return made


def _call(flags: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as name:
        print(
            f"generating and matching {synthetic_coco.DETECTIONS} detections per image for two models",
            flush=True,
        )
        path, _ = synthetic_coco.write(Path(name), flags.images)
        dataset = synthetic_coco.annotations(flags.images)
        tables = [_table(Path(name), dataset, seed, noise) for seed, noise in ((1, 0.12), (2, 0.121))]
        weights = draw(flags.images, flags.resamples)
        resampled_ap(tables[0], weights[:20])  # warm-up
        seconds, cpu_seconds = [], []
        for _ in range(flags.repeats):
            started, cpu_started = time.perf_counter(), time.process_time()
            aps = [resampled_ap(table, draw(flags.images, flags.resamples)) for table in tables]
            seconds.append(time.perf_counter() - started)
            cpu_seconds.append(time.process_time() - cpu_started)
            text = f"ours         {seconds[-1]:7.2f} s, {cpu_seconds[-1]:6.2f} CPU s"
            print(f"{text} for {flags.resamples} resamples of two models", flush=True)
        one = _pycocotools_seconds(path, dataset)
    whole = np.ones((1, flags.images), np.int32)
    first, second = (float(resampled_ap(table, whole)[0]) for table in tables)
    print(f"pycocotools  {one:7.2f} s for one accumulation of one model", flush=True)
    print(f"AP {first:.4f} and {second:.4f}: {compare(first - second, *aps)}")
    median = statistics.median(seconds)
    print(
        f"median {median:.2f} s, {statistics.median(cpu_seconds):.2f} CPU s on {os.cpu_count()} cores, peak memory "
        f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB (including the predictions); "
        f"ratio {one * 2 * flags.resamples / median:.0f} x"
    )


if __name__ == "__main__":
    sys.exit(run(parser(), None, _call))
