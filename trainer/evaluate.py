"""Scores an exported model on original images, through its own serving signature.

    python -m trainer.evaluate --model saved_model --images val2017 \\
        --annotations annotations/instances_val2017.json --output evaluation

What is measured is what ships: the SavedModel gets the image files' bytes, and every image of the annotation
file goes through it exactly once. Writes `predictions.json` (COCO results format) and `evaluation.json`.
"""

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tensorflow as tf

from beam_preprocess.errors import InputError
from trainer import coco_metrics
from trainer.evaluation import Evaluation
from trainer.export import read_label_map

PREDICTIONS = "predictions.json"
EVALUATION = "evaluation.json"
PROGRESS_SECONDS = 5.0

Signature = Callable[..., dict[str, tf.Tensor]]


def load_signature(model: str) -> Signature:
    """The `serving_default` signature of an exported model.

    Raises:
      InputError: not a model of ours, or one that can't be loaded.
    """
    read_label_map(model)
    try:
        loaded = tf.saved_model.load(model)
    except (OSError, ValueError, tf.errors.OpError) as error:
        raise InputError(f"{model}: can't be loaded: {' '.join(str(error).split())[:300]}") from error
    signature = loaded.signatures["serving_default"]
    # A signature holds its variables weakly: it must keep the model alive.
    signature._keep_alive = loaded
    return signature


def evaluate(
    *, model: str, images: str, annotations: str, output: str, data_digest: str = "", batch_size: int = 8
) -> Evaluation:
    """Runs the model over all images of an annotation file and scores it with pycocotools.

    Args:
      model: SavedModel folder.
      images: folder of the images.
      annotations: COCO annotation file.
      output: folder for `predictions.json` and `evaluation.json`.
      data_digest: identifies images and annotations; the gate compares it.
      batch_size: images per call of the signature.

    Raises:
      InputError: an image is missing, unreadable or of another size than the annotation file says: the metric
        would be another one.
    """
    started = time.monotonic()
    entries = coco_metrics.read_coco(annotations)["images"]
    signature = load_signature(model)
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
    metrics = coco_metrics.score(annotations, predictions, scored)
    evaluation = Evaluation.from_metrics(
        metrics, model=model, data_digest=data_digest, seconds=round(time.monotonic() - started, 3)
    )
    _write(output, PREDICTIONS, json.dumps(predictions))
    _write(output, EVALUATION, evaluation.to_json())
    ap, ap50 = metrics.values["ap"], metrics.values["ap50"]
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


def _write(folder: str, name: str, text: str) -> None:
    tf.io.gfile.makedirs(folder)
    path = os.path.join(folder, name)
    with tf.io.gfile.GFile(f"{path}.tmp", "w") as file:
        file.write(text)
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
    parser.add_argument("--output", required=True, help=f"folder for {PREDICTIONS} and {EVALUATION}")
    parser.add_argument("--batch_size", type=int, default=8, help="images per call (default: %(default)s)")
    flags = parser.parse_args(argv)
    try:
        if flags.batch_size < 1:
            raise InputError(f"--batch_size {flags.batch_size}: use 1 or more")
        evaluation = evaluate(
            model=flags.model,
            images=flags.images,
            annotations=flags.annotations,
            output=flags.output,
            batch_size=flags.batch_size,
        )
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for name, value in evaluation.metrics.items():
        print(f"{name:10s} {_number(value)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
