"""Prints an exported model's detections on image files and draws them.

    python -m trainer.predict --model runs/latest/saved_model photo.jpg other.png
    python -m trainer.predict --model saved_model --threshold 0.5 --output drawn *.jpg

A file that can't be decoded is named, and the others are done; the exit code is then 2.
"""

import argparse
import os
import sys
from typing import Any

if __name__ == "__main__":
    # Before TensorFlow is imported: it speaks of missing drivers on every start.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf

from beam_preprocess.base.errors import InputError
from trainer import evaluate
from trainer.export import read_label_map
from trainer.saved_model.signatures import decode_image
from trainer.shared.draw import draw_detections


def predict(*, model: str, images: list[str], output: str, threshold: float | None = None) -> list[str]:
    """Prints one line a detection and writes one picture an image.

    Args:
      model: SavedModel folder.
      images: image files.
      output: folder of the pictures (PNG, named after the image); "" draws none.
      threshold: scores below it are left out; None takes the export's.

    Returns:
      One message for every file that could not be read.
    """
    label_map = read_label_map(model)
    names = {c["id"]: c["name"] for c in label_map["categories"]}
    least = label_map["score_threshold"] if threshold is None else threshold
    signature = evaluate.load_signature(model)
    failures = []
    for path in images:
        try:
            (detections,) = evaluate.detect(signature, [path])
        except InputError as error:
            failures.append(str(error))
            continue
        shown = detections["detection_scores"] >= max(least, np.finfo(np.float32).tiny)
        height, width = (int(v) for v in detections["image_size"])
        boxes = detections["detection_boxes"][shown] * np.array([height, width, height, width], np.float32)
        labels = [names.get(int(c), str(int(c))) for c in detections["detection_classes"][shown]]
        scores = detections["detection_scores"][shown]
        _print(path, (height, width), boxes, labels, scores)
        if output:
            _draw(path, output, boxes, labels, scores)
    return failures


def _print(path: str, size: tuple[int, int], boxes: np.ndarray, labels: list[str], scores: np.ndarray) -> None:
    print(f"{path}: {size[1]}x{size[0]}, {len(labels)} detection(s)")
    for box, label, score in zip(boxes, labels, scores, strict=True):
        ymin, xmin, ymax, xmax = box
        print(f"  {score:.3f}  {label:16s} x {xmin:.0f}..{xmax:.0f}  y {ymin:.0f}..{ymax:.0f}")


def _draw(path: str, output: str, boxes: np.ndarray, labels: list[str], scores: np.ndarray) -> None:
    with tf.io.gfile.GFile(path, "rb") as file:
        image = decode_image(tf.constant(file.read())).numpy()
    drawn = draw_detections(image, boxes, labels, scores.tolist())
    name = f"{os.path.splitext(os.path.basename(path))[0]}.detections.png"
    tf.io.gfile.makedirs(output)
    with tf.io.gfile.GFile(os.path.join(output, name), "wb") as file:
        file.write(tf.io.encode_png(drawn).numpy())
    print(f"  drawn: {os.path.join(output, name)}")


def main(argv: list[str] | None = None) -> int:
    """Exit code 0, or 2 when a file or the model can't be read."""
    parser = argparse.ArgumentParser(
        prog="python -m trainer.predict",
        description="Print an exported model's detections on image files and draw them.",
        epilog=(__doc__ or "").split("\n\n", 1)[1],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", required=True, help="SavedModel folder of trainer.export")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="image files")
    parser.add_argument("--output", default="predictions", help="folder of the pictures (default: %(default)s)")
    parser.add_argument("--threshold", type=float, help="smallest score shown (default: the export's)")
    flags = parser.parse_args(argv)
    failures: list[Any] = []
    try:
        if flags.threshold is not None and not 0 <= flags.threshold <= 1:
            raise InputError(f"--threshold {flags.threshold}: use 0 to 1")
        failures = predict(model=flags.model, images=flags.images, output=flags.output, threshold=flags.threshold)
    except InputError as error:
        failures = [error]
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    return 2 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
