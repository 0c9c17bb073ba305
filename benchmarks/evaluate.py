"""Scoring as many detections as for val2017: trainer.coco.metrics against its peers, CPU seconds and peak memory.

    python -m benchmarks.evaluate

The peers are pycocotools and, where they are installed (`pip install hotcoco faster-coco-eval`), hotcoco and
faster-coco-eval. Each side is a separate process that reads the same two files and computes the twelve numbers, as its
documentation says. CPU seconds of all threads: `read` until both files are in memory as the library wants them, `score`
until the numbers. Our arrays must be equal to pycocotools' bit for bit, or the benchmark fails; for the others it says
whether theirs are.
"""

import argparse
import contextlib
import hashlib
import importlib.util
import io
import json
import multiprocessing
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from beam_preprocess.base.command import Parser, run
from benchmarks import synthetic_coco

ARRAYS = ("precision", "recall", "scores")
Steps = tuple[Callable[[], Any], Callable[[Any], list[Any]]]
"""What reads the files, and what scores them: the twelve numbers, then ARRAYS."""


def ours(annotations: str, predictions: str) -> Steps:
    """The arrays of trainer.coco.metrics."""
    from beam_preprocess.format.annotations import load_annotations
    from trainer.coco.metrics import score_arrays
    from trainer.coco.results import read_results

    def score(read: Any) -> list[Any]:
        curves = score_arrays(*read, read[0].image_ids.tolist()).curves
        return [curves.stats, curves.precision, curves.recall, curves.scores]

    return lambda: (load_annotations(annotations), read_results(predictions, "write it again")), score


def pycocotools(annotations: str, predictions: str) -> Steps:
    """COCOeval, as its documentation calls it."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    return _as_pycocotools(COCO, lambda truths: truths.loadRes(predictions), COCOeval, annotations)


def hotcoco(annotations: str, predictions: str) -> Steps:
    """The same in Rust."""
    from hotcoco import COCO, COCOeval

    return _as_pycocotools(COCO, lambda truths: truths.load_res(predictions), COCOeval, annotations)


def faster_coco_eval(annotations: str, predictions: str) -> Steps:
    """The same in C++."""
    from faster_coco_eval import COCO, COCOeval_faster

    return _as_pycocotools(COCO, lambda truths: truths.loadRes(predictions), COCOeval_faster, annotations)


def _as_pycocotools(truths_of: Any, detections_of: Callable[[Any], Any], evaluator_of: Any, annotations: str) -> Steps:
    def read() -> Any:
        truths = truths_of(annotations)
        return truths, detections_of(truths)

    def score(read: Any) -> list[Any]:
        evaluator = evaluator_of(*read, "bbox")
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
        return [list(evaluator.stats)[:12], *(np.asarray(evaluator.eval[name]) for name in ARRAYS)]

    return read, score


SIDES = {"ours": ours, "pycocotools": pycocotools, "hotcoco": hotcoco, "faster_coco_eval": faster_coco_eval}


def _child(side: str, files: tuple[str, str]) -> None:
    read, score = SIDES[side](*files)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with contextlib.redirect_stdout(io.StringIO()):
        started = time.process_time()
        loaded = read()
        between = time.process_time()
        stats, *arrays = score(loaded)
        done = time.process_time()
    digest = hashlib.sha256(b"".join(np.ascontiguousarray(array, float).tobytes() for array in arrays)).hexdigest()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = {"read": between - started, "score": done - between, "peak": peak, "before": before, "digest": digest}
    print(json.dumps(result | {"ap": stats[0]}))


def _run(side: str, files: tuple[str, str]) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.evaluate", "--side", side, *files]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(
        f"{side:17s} read {result['read']:6.2f}  score {result['score']:6.2f} CPU s   peak memory "
        f"{result['peak'] / 2**20:.2f} GiB ({result['before'] / 2**20:.2f} GiB after the imports)   "
        f"AP {result['ap']:.6f}",
        flush=True,
    )
    return result


def parser() -> Parser:
    """The parser of the command."""
    made = Parser(
        prog="python -m benchmarks.evaluate",
        description="CPU seconds and memory for scoring 5,000 images with 100 detections each: ours against its peers.",
        epilog="example: python -m benchmarks.evaluate --images 500 --repeats 1",
    )
    made.add_argument(
        "--images", type=int, default=synthetic_coco.IMAGES, help="number of images (default: %(default)s, as val2017)"
    )
    made.add_argument(
        "--repeats", type=int, default=3, help="repeats, but pycocotools runs once (default: %(default)s)"
    )
    made.add_argument("--side", choices=sorted(SIDES), help=argparse.SUPPRESS)
    made.add_argument("files", nargs="*", help=argparse.SUPPRESS)
    return made


def _call(flags: argparse.Namespace) -> int:
    """Exit code 0, or 1 when the arrays differ."""
    if flags.side:
        _child(flags.side, flags.files)
        return 0
    sides = {side: 1 if side == "pycocotools" else flags.repeats for side in SIDES if importlib.util.find_spec(side)}
    sides["ours"] = flags.repeats
    for side in SIDES.keys() - sides.keys():
        print(f"{side} is not installed: pip install {side.replace('_', '-')}")
    results: dict[str, list[dict[str, Any]]] = {side: [] for side in sides}
    with tempfile.TemporaryDirectory() as folder:
        print(f"generating {synthetic_coco.DETECTIONS} detections for each of {flags.images} images", flush=True)
        # Elsewhere: the peak memory of a process counts that of the one that started it.
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as elsewhere:
            files = elsewhere.submit(synthetic_coco.write, Path(folder), flags.images).result()
        for repeat in range(flags.repeats):
            for side in (side for side, repeats in sides.items() if repeat < repeats):
                results[side].append(_run(side, files))
    middle = {
        side: {name: statistics.median(result[name] for result in rows) for name in ("read", "score", "peak")}
        for side, rows in results.items()
    }
    ours, digest = middle.pop("ours"), results["pycocotools"][0]["digest"]
    for side, peer in middle.items():
        whole = (peer["read"] + peer["score"]) / (ours["read"] + ours["score"])
        print(
            f"{side} / ours (medians): score {peer['score'] / ours['score']:.2f}, read and score {whole:.2f}, "
            f"memory {peer['peak'] / ours['peak']:.2f}"
        )
    for side, rows in results.items():
        equal = {result["digest"] for result in rows} == {digest}
        print(f"{side}: arrays equal to pycocotools' bit for bit: {'yes' if equal else 'NO'}")
    return 0 if {result["digest"] for result in results["ours"]} == {digest} else 1


if __name__ == "__main__":
    sys.exit(run(parser(), None, _call))
