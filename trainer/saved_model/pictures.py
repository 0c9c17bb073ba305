"""Prints an exported model's detections on image files, draws them, and writes them as JSON."""

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.files import write_text
from trainer.saved_model.image_files import find_images, picture_names
from trainer.saved_model.inference import Signature, detect, load_signature, read_image, read_label_map
from trainer.saved_model.signatures import decode_image
from trainer.saved_model.thresholds import Thresholds, thresholds_of
from trainer.shared.draw import class_colours, draw_detections

PREDICTIONS_SCHEMA = 1
PROGRESS_SECONDS = 5.0


def predict(
    *, model: str, images: Sequence[str], output: str, threshold: float | None = None, json_file: str = ""
) -> list[str]:
    """Prints one line per detection, and writes one picture per image and one JSON file.

    Args:
      model: SavedModel folder.
      images: image files, folders and glob patterns.
      output: folder for the pictures (PNG, named after the image); "" draws none.
      threshold: minimum score shown; None takes the model's own (see `thresholds_of`).
      json_file: file for all detections; "" writes none.

    Returns:
      One message for each argument and file that could not be read.

    Raises:
      InputError: the model can't be loaded, the threshold is out of range, or the output can't be written.
    """
    if threshold is not None:
        thresholds_of(model, {}, threshold)  # a bad one is refused before the model is read
    label_map = read_label_map(model)
    minimum = thresholds_of(model, label_map, threshold)
    named = find_images(images)
    if output:
        _make_folder(output)
    categories = {c["id"]: c["name"] for c in label_map["categories"]}
    colours = dict(zip(categories, class_colours(len(categories)), strict=True))
    signature = load_signature(model)
    for note in named.notes:
        print(note)
    print(f"score threshold: {_described(minimum)}", flush=True)
    failures, found = list(named.problems), []
    progress = _Progress(len(named.files))
    for path, name in zip(named.files, picture_names(named.files), strict=True):
        try:
            entry = _detections(signature, path, minimum, categories)
        except InputError as error:
            failures.append(str(error))
        else:
            _print(entry)
            if output:
                _draw(entry, os.path.join(output, name), colours)
            found.append(entry)
        progress.show()
    if json_file:
        _write_json(json_file, model, minimum, found, failures)
    return failures


def _described(minimum: Thresholds) -> str:
    values = sorted({*minimum.classes.values()})
    if len(values) > 1:
        return f"{values[0]:.3f} to {values[-1]:.3f} by class ({minimum.source})"
    return f"{(values or [minimum.default])[0]:.3f} ({minimum.source})"


def _detections(signature: Signature, path: str, minimum: Thresholds, categories: Mapping[int, str]) -> dict[str, Any]:
    """The entry of one image in the JSON file.

    Raises:
      InputError: not an image that can be read.
    """
    (detections,) = detect(signature, [path])
    shown = minimum.shown(detections["detection_scores"], detections["detection_classes"])
    height, width = (int(v) for v in detections["image_size"])
    boxes = detections["detection_boxes"][shown].astype(np.float64) * [height, width, height, width]
    return {
        "file": path,
        "width": width,
        "height": height,
        "detections": [
            {
                "category_id": int(category),
                "category": categories.get(int(category), str(int(category))),
                "score": float(score),
                "bbox": [xmin, ymin, xmax - xmin, ymax - ymin],
            }
            for (ymin, xmin, ymax, xmax), category, score in zip(
                boxes.tolist(),
                detections["detection_classes"][shown],
                detections["detection_scores"][shown],
                strict=True,
            )
        ],
    }


def _print(entry: Mapping[str, Any]) -> None:
    print(f"{entry['file']}: {entry['width']}x{entry['height']}, {len(entry['detections'])} detection(s)")
    for found in entry["detections"]:
        x, y, width, height = found["bbox"]
        place = f"x {x:.0f}..{x + width:.0f}  y {y:.0f}..{y + height:.0f}"
        print(f"  {found['score']:.3f}  {found['category']:16s} {place}")


def _draw(entry: Mapping[str, Any], path: str, colours: Mapping[int, tuple[int, int, int]]) -> None:
    image = decode_image(tf.constant(read_image(entry["file"]))).numpy()
    found = entry["detections"]
    boxes = np.array([[y, x, y + h, x + w] for x, y, w, h in (d["bbox"] for d in found)]).reshape(-1, 4)
    drawn = draw_detections(
        image,
        boxes,
        [d["category"] for d in found],
        [d["score"] for d in found],
        colour=[colours.get(d["category_id"], (128, 128, 128)) for d in found],
    )
    try:
        with tf.io.gfile.GFile(path, "wb") as file:
            file.write(tf.io.encode_png(drawn).numpy())
    except tf.errors.OpError as error:
        raise InputError(f"--output {path}: can't be written ({error.message}); give another folder") from error
    print(f"  drawn: {path}")


def _make_folder(output: str) -> None:
    try:
        tf.io.gfile.makedirs(output)
    except tf.errors.OpError as error:
        raise InputError(f"--output {output}: can't be created ({error.message}); give another folder") from error


def _write_json(
    path: str, model: str, minimum: Thresholds, found: Sequence[Mapping[str, Any]], failures: Sequence[str]
) -> None:
    content = {
        "schema_version": PREDICTIONS_SCHEMA,
        "model": model,
        "score_threshold": minimum.default,
        "class_thresholds": {str(category): value for category, value in minimum.classes.items()},
        "images": found,
        "failures": failures,
    }
    try:
        write_text(path, json.dumps(content, indent=1) + "\n")
    except OSError as error:
        raise InputError(f"--json {path}: can't be written ({error.strerror}); give another file") from error
    print(f"written: {path}")


class _Progress:
    """One line every few seconds, on standard error: standard output holds the detections.

    Args:
      total: number of files.
    """

    def __init__(self, total: int) -> None:
        self._total, self._done = total, 0
        self._started = self._shown = time.monotonic()

    def show(self) -> None:
        """Counts a file, and prints the line if it is time."""
        self._done += 1
        now = time.monotonic()
        if now - self._shown < PROGRESS_SECONDS:
            return
        self._shown = now
        rate = self._done / (now - self._started)
        left = (self._total - self._done) / rate
        line = f"progress: predict {self._done}/{self._total} images  {rate:.1f} img/s  ETA {left:.0f} s"
        print(line, file=sys.stderr, flush=True)
