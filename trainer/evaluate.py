"""Scores an exported model on original images, through its own serving signature.

    python -m trainer.evaluate --model saved_model --images val2017 \\
        --annotations annotations/instances_val2017.json --output evaluation

What is measured is what ships: the SavedModel gets the image files' bytes, and every image of the annotation
file goes through it exactly once. Writes `predictions.json` (COCO results format), `analysis.json` (where AP is
lost), `matches.npz` (what the gate's bootstrap needs) and, last, `evaluation.json`.
"""

import argparse
import hashlib
import json
import math
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

if __name__ == "__main__":
    # Before TensorFlow is imported: it speaks of missing drivers on every start.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import tensorflow as tf

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.files import parse_json
from trainer.coco import match_table
from trainer.coco import metrics as coco_metrics
from trainer.coco.error_kinds import analyse
from trainer.export import read_label_map
from trainer.promotion.evaluation import ANALYSIS, EVALUATION, MATCHES, PREDICTIONS, Evaluation
from trainer.registry.digest import model_digest

PARITY = "assets.extra/parity.json"
PROGRESS_SECONDS = 5.0
LATENCY_CALLS = 10

SERVED = "serving_default"

Signature = Callable[..., dict[str, tf.Tensor]]


def load_signature(model: str, name: str = SERVED) -> Signature:
    """A signature of an exported model that takes `image_bytes`.

    Raises:
      InputError: not a model of ours, one that can't be loaded, or one without this signature.
    """
    read_label_map(model)
    try:
        loaded = tf.saved_model.load(model)
    except (OSError, ValueError, tf.errors.OpError) as error:
        raise InputError(f"{model}: can't be loaded: {' '.join(str(error).split())[:300]}") from error
    if name not in loaded.signatures:
        raise InputError(f"{model}: has no signature {name}; it has {', '.join(sorted(loaded.signatures))}")
    signature = loaded.signatures[name]
    # A signature holds its variables weakly: it must keep the model alive.
    signature._keep_alive = loaded
    return signature


def evaluate(
    *,
    model: str,
    images: str,
    annotations: str,
    output: str,
    data_digest: str = "",
    batch_size: int = 8,
    signature_name: str = SERVED,
    latency_calls: int = LATENCY_CALLS,
) -> Evaluation:
    """Runs the model over all images of an annotation file and scores it as pycocotools does.

    Args:
      model: SavedModel folder.
      images: folder of the images.
      annotations: COCO annotation file.
      output: folder for PREDICTIONS, ANALYSIS, MATCHES and EVALUATION.
      data_digest: identifies images and annotations; the gate compares it.
      batch_size: images per call of the signature.
      signature_name: another one is for experiments; the gate is given the served one's numbers.
      latency_calls: so many single-image calls are timed besides; 0 measures no latency.

    Raises:
      InputError: an image is missing, unreadable or of another size than the annotation file says: the metric
        would be another one.
    """
    started = time.monotonic()
    entries = coco_metrics.read_coco(annotations)["images"]
    signature = load_signature(model, signature_name)
    predictions: list[dict[str, Any]] = []
    scored: list[int] = []
    announced = time.monotonic()
    for batch in _batches(entries, batch_size):
        for entry, detections in zip(batch, detect(signature, [_path(images, e) for e in batch]), strict=True):
            _check_size(entry, detections, images)
            predictions += to_coco(entry["id"], detections)
            scored.append(entry["id"])
        if time.monotonic() - announced > PROGRESS_SECONDS:
            announced = time.monotonic()
            rate = len(scored) / (announced - started)
            left = (len(entries) - len(scored)) / rate
            print(
                f"progress: evaluate {len(scored)}/{len(entries)} images  {rate:.1f} img/s  ETA {left:.0f} s",
                flush=True,
            )
    known = {c["id"] for c in coco_metrics.read_coco(annotations)["categories"]}
    foreign = [p for p in predictions if p["category_id"] not in known]
    if foreign:
        print(f"{len(foreign)} detections of categories that {annotations} doesn't have are not scored", flush=True)
        predictions = [p for p in predictions if p["category_id"] in known]
    result = coco_metrics.score_arrays(annotations, predictions, scored)
    files = {
        PREDICTIONS: json.dumps(predictions).encode(),
        ANALYSIS: analyse(result).to_json().encode(),
        MATCHES: match_table.to_bytes(match_table.from_scored(result)),
    }
    evaluation = replace(
        Evaluation.from_metrics(
            result.metrics, model=model, data_digest=data_digest, seconds=round(time.monotonic() - started, 3)
        ),
        model_digest=model_digest(model),
        latency_ms=_latency_ms(signature, [_path(images, e) for e in entries], latency_calls),
        parity=_parity(model),
        files={name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    )
    for name, content in files.items():
        _write(output, name, content)
    _write(output, EVALUATION, evaluation.to_json().encode())  # last: whoever finds it finds the others
    ap, ap50 = evaluation.metrics["ap"], evaluation.metrics["ap50"]
    print(f"result: AP {_number(ap)}, AP50 {_number(ap50)} on {len(scored)} of {len(entries)} images", flush=True)
    return evaluation


def detect(signature: Signature, paths: Sequence[str]) -> list[dict[str, Any]]:
    """Detections of image files, one entry a file, numpy arrays without the batch axis.

    Raises:
      InputError: a file is missing or isn't an image; the message names it.
    """
    encoded = [_read(path) for path in paths]
    try:
        outputs = signature(image_bytes=tf.constant(encoded))
    except tf.errors.InvalidArgumentError as error:
        if len(paths) == 1:
            raise InputError(f"{paths[0]}: not an image that can be decoded ({_reason(error)}); repair it") from error
        # Find out which one it was.
        for path in paths:
            detect(signature, [path])
        raise
    arrays = {name: tensor.numpy() for name, tensor in outputs.items()}
    return [{name: array[i] for name, array in arrays.items()} for i in range(len(paths))]


def to_coco(image_id: int, detections: dict[str, Any]) -> list[dict[str, Any]]:
    """One image's detections in COCO results format, [x, y, width, height] in original pixels.

    Peaks that the decoder masked (score 0) are no detections.
    """
    height, width = (int(v) for v in detections["image_size"])
    found = []
    for box, score, category in zip(
        detections["detection_boxes"].tolist(),
        detections["detection_scores"].tolist(),
        detections["detection_classes"].tolist(),
        strict=True,
    ):
        if score <= 0:
            continue
        ymin, xmin, ymax, xmax = box[0] * height, box[1] * width, box[2] * height, box[3] * width
        found.append(
            {
                "image_id": image_id,
                "category_id": category,
                "bbox": [xmin, ymin, xmax - xmin, ymax - ymin],
                "score": score,
            }
        )
    return found


def _latency_ms(signature: Signature, paths: Sequence[str], calls: int) -> float | None:
    """Median milliseconds of a call with one image; files are read and the shape is warmed up beforehand."""
    if calls < 1:
        return None
    encoded = [tf.constant([_read(path)]) for path in paths[:calls]]
    signature(image_bytes=encoded[0])
    seconds = []
    for call in range(calls):
        started = time.perf_counter()
        outputs = signature(image_bytes=encoded[call % len(encoded)])
        outputs["detection_scores"].numpy()  # an accelerator answers before it is done
        seconds.append(time.perf_counter() - started)
    return round(statistics.median(seconds) * 1000, 3)


def _parity(model: str) -> dict[str, Any] | None:
    """What the export measured against its checkpoint; None when the model does not hold it."""
    path = os.path.join(model, PARITY)
    if not tf.io.gfile.exists(path):
        return None
    with tf.io.gfile.GFile(path, "r") as file:
        found = parse_json(file.read(), path, "export the model again")
    if not isinstance(found, dict):
        raise InputError(f"{path}: is a {type(found).__name__}, not an object; export the model again")
    return found


def _batches(entries: Sequence[dict[str, Any]], size: int) -> Iterator[Sequence[dict[str, Any]]]:
    for start in range(0, len(entries), size):
        yield entries[start : start + size]


def _path(images: str, entry: dict[str, Any]) -> str:
    return os.path.join(images, entry["file_name"])


def _read(path: str) -> bytes:
    try:
        with tf.io.gfile.GFile(path, "rb") as file:
            return bytes(file.read())
    except tf.errors.NotFoundError as error:
        raise InputError(f"{path}: no such image; every image of the annotation file is needed") from error


def _reason(error: tf.errors.OpError) -> str:
    """The innermost sentence of a TensorFlow error."""
    return str(error.message).split("[[")[0].strip().splitlines()[-1][:160]


def _check_size(entry: dict[str, Any], detections: dict[str, Any], images: str) -> None:
    height, width = (int(v) for v in detections["image_size"])
    if (entry.get("height"), entry.get("width")) != (height, width):
        raise InputError(
            f"{_path(images, entry)}: is {width}x{height}, but the annotation file says "
            f"{entry.get('width')}x{entry.get('height')}; repair the one that is wrong"
        )


def _number(value: float | None) -> str:
    return "n/a" if value is None or not math.isfinite(value) else f"{value:.4f}"


def _write(folder: str, name: str, content: bytes) -> None:
    tf.io.gfile.makedirs(folder)
    path = os.path.join(folder, name)
    with tf.io.gfile.GFile(f"{path}.tmp", "wb") as file:
        file.write(content)
    tf.io.gfile.rename(f"{path}.tmp", path, overwrite=True)


def main(argv: list[str] | None = None) -> int:
    """Exit code 0, or 2 for bad input."""
    parser = argparse.ArgumentParser(
        prog="python -m trainer.evaluate",
        description="Score an exported model on the images of a COCO annotation file.",
        epilog="example: python -m trainer.evaluate --model runs/latest/saved_model --images val2017 "
        "--annotations annotations/instances_val2017.json --output evaluation",
    )
    parser.add_argument("--model", required=True, help="SavedModel folder of trainer.export")
    parser.add_argument("--images", required=True, help="folder of the images")
    parser.add_argument("--annotations", required=True, help="COCO annotation file")
    parser.add_argument("--output", required=True, help=f"folder for {EVALUATION}, {ANALYSIS}, {PREDICTIONS}, …")
    parser.add_argument("--batch_size", type=int, default=8, help="images per call (default: %(default)s)")
    parser.add_argument(
        "--latency_calls",
        type=int,
        default=LATENCY_CALLS,
        help="single-image calls to time, 0 for none (default: %(default)s)",
    )
    parser.add_argument(
        "--signature",
        default=SERVED,
        help="image_bytes_augmented scores the test-time augmentation of a model that serves without it "
        "(export.augmented_apart; default: %(default)s)",
    )
    flags = parser.parse_args(argv)
    try:
        if flags.batch_size < 1:
            raise InputError(f"--batch_size {flags.batch_size}: use 1 or more")
        if flags.latency_calls < 0:
            raise InputError(f"--latency_calls {flags.latency_calls}: use 0 or more")
        evaluation = evaluate(
            model=flags.model,
            images=flags.images,
            annotations=flags.annotations,
            output=flags.output,
            batch_size=flags.batch_size,
            signature_name=flags.signature,
        )
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for name, value in evaluation.metrics.items():
        print(f"{name:10s} {_number(value)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
