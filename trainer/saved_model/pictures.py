"""Prints an exported model's detections on image files and draws them."""

import os

import numpy as np
import tensorflow as tf

from beam_preprocess.base.errors import InputError
from trainer.saved_model.inference import detect, load_signature, read_image, read_label_map
from trainer.saved_model.signatures import decode_image
from trainer.shared.draw import draw_detections


def predict(*, model: str, images: list[str], output: str, threshold: float | None = None) -> list[str]:
    """Prints one line per detection and writes one picture per image.

    Args:
      model: SavedModel folder.
      images: image files.
      output: folder for the pictures (PNG, named after the image); "" draws none.
      threshold: minimum score shown; None takes the export's.

    Returns:
      One message for each file that could not be read.

    Raises:
      InputError: the model can't be loaded, or the threshold is out of range.
    """
    if threshold is not None and not 0 <= threshold <= 1:
        raise InputError(f"--threshold {threshold}: use 0 to 1")
    label_map = read_label_map(model)
    names = {c["id"]: c["name"] for c in label_map["categories"]}
    minimum = label_map["score_threshold"] if threshold is None else threshold
    signature = load_signature(model)
    failures = []
    for path in images:
        try:
            (detections,) = detect(signature, [path])
        except InputError as error:
            failures.append(str(error))
            continue
        shown = detections["detection_scores"] >= max(minimum, np.finfo(np.float32).tiny)
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
    image = decode_image(tf.constant(read_image(path))).numpy()
    drawn = draw_detections(image, boxes, labels, scores.tolist())
    name = f"{os.path.splitext(os.path.basename(path))[0]}.detections.png"
    tf.io.gfile.makedirs(output)
    with tf.io.gfile.GFile(os.path.join(output, name), "wb") as file:
        file.write(tf.io.encode_png(drawn).numpy())
    print(f"  drawn: {os.path.join(output, name)}")
