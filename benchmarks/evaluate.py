"""Scoring as many detections as for val2017: trainer.coco.metrics against plain pycocotools, seconds and peak memory.

    python -m benchmarks.evaluate

Each side is a separate process that reads the same two files and computes the twelve numbers. The clock runs from the
parsed predictions to the numbers. The arrays of both sides must be equal bit for bit, or the benchmark fails.
"""

import argparse
import hashlib
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from beam_preprocess.base.command import Parser, run
from benchmarks import synthetic_coco


def ours(annotations: str, predictions: list[dict[str, Any]]) -> list[Any]:
    """Precision, recall and scores by trainer.coco.metrics."""
    from trainer.coco.metrics import score_arrays

    with open(annotations) as file:
        images = [image["id"] for image in json.load(file)["images"]]
    started = time.perf_counter()
    scored = score_arrays(annotations, predictions, images)
    seconds = time.perf_counter() - started
    return [seconds, scored.curves.stats, scored.curves.precision, scored.curves.recall, scored.curves.scores]


def pycocotools(annotations: str, predictions: list[dict[str, Any]]) -> list[Any]:
    """The same by COCOeval, as its documentation calls it."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    started = time.perf_counter()
    truths = COCO(annotations)
    evaluator = COCOeval(truths, truths.loadRes(predictions), "bbox")
    evaluator.evaluate()
    evaluator.accumulate()
    evaluator.summarize()
    seconds = time.perf_counter() - started
    return [seconds, evaluator.stats.tolist(), *(evaluator.eval[name] for name in ("precision", "recall", "scores"))]


SIDES = {"ours": ours, "pycocotools": pycocotools}


def _child(side: str, annotations: str, predictions: str) -> None:
    import pycocotools.cocoeval  # noqa: F401 - imports are not measured

    import trainer.coco.metrics  # noqa: F401

    with open(predictions) as file:
        detections = json.load(file)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds, stats, *arrays = SIDES[side](annotations, detections)
    digest = hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"seconds": seconds, "peak": peak, "before": before, "digest": digest, "stats": stats}))


def _run(side: str, files: tuple[str, str]) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.evaluate", "--side", side, *files]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(
        f"{side:12s} {result['seconds']:7.2f} s   peak memory {result['peak'] / 2**20:.2f} GiB "
        f"({result['before'] / 2**20:.2f} GiB for the parsed predictions)   AP {result['stats'][0]:.6f}",
        flush=True,
    )
    return result


def parser() -> Parser:
    """The parser of the command."""
    made = Parser(
        prog="python -m benchmarks.evaluate",
        description="Seconds and memory for scoring 5,000 images with 100 detections each: ours against pycocotools.",
        epilog="example: python -m benchmarks.evaluate --images 500 --repeats 1",
    )
    made.add_argument(
        "--images", type=int, default=synthetic_coco.IMAGES, help="number of images (default: %(default)s, as val2017)"
    )
    made.add_argument(
        "--repeats", type=int, default=3, help="repeats of our side; pycocotools runs once (default: %(default)s)"
    )
    made.add_argument("--side", choices=sorted(SIDES), help=argparse.SUPPRESS)
    made.add_argument("files", nargs="*", help=argparse.SUPPRESS)
    return made


def _call(flags: argparse.Namespace) -> int:
    """Exit code 0, or 1 when the arrays differ."""
    if flags.side:
        _child(flags.side, *flags.files)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        print(f"generating {synthetic_coco.DETECTIONS} detections for each of {flags.images} images", flush=True)
        files = synthetic_coco.write(Path(folder), flags.images)
        results = [_run("ours", files) for _ in range(flags.repeats)]
        reference = _run("pycocotools", files)
    seconds = statistics.median(result["seconds"] for result in results)
    equal = {result["digest"] for result in results} == {reference["digest"]}
    print(f"arrays equal bit for bit: {'yes' if equal else 'NO'}")
    print(f"ratio: {reference['seconds'] / seconds:.1f} x faster (median of {flags.repeats})")
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(run(parser(), None, _call))
