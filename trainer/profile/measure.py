"""The statistics of one image. OpenCV and simplejpeg; no TensorFlow.

brightness, contrast   mean and standard deviation of the grey values, 0 to 255
sharpness              standard deviation of the Laplacian of the grey values
saturation             mean of (max - min) of a pixel's colours, 0 to 255
red - green, yellow - blue
                       mean differences of the colours
image size, shape      square root of width x height in pixels, and width / height
detections             number from the threshold on; doubtful: from half of it up to it
best, mean score       of all, and of those that count
box size, shape        mean of sqrt(share of the image), and geometric mean of width / height
box x, y               mean place of the centres, 0 to 1
per class              number of detections, and the best score of any

A mean over nothing is NaN: it is missing, not 0.
"""

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
import simplejpeg

from beam_preprocess.format.fingerprints import fingerprint
from beam_preprocess.format.geometry import letterbox, shrinks
from beam_preprocess.format.images import ImageProblem, decode
from trainer.profile.columns import PICTURE, Measures
from trainer.profile.rows import Row


def measured(number: int, name: str, encoded: bytes, found: Mapping[str, Any], measures: Measures) -> Row:
    """An image's row.

    Args:
      number: its id.
      name: its file name.
      encoded: its content.
      found: the signature's outputs for it; "features" may be missing.
      measures: the settings.
    """
    values, code = measure(encoded, found, measures)
    features = np.asarray(found.get("features", ()), np.float32)
    return Row(id=number, name=name, values=values, features=features, fingerprint=code)


def measure(encoded: bytes, found: Mapping[str, Any], measures: Measures) -> tuple[np.ndarray, str]:
    """(float32 [M] in the order of `columns`, fingerprint of the picture).

    Args:
      encoded: the image file.
      found: the signature's outputs for it.
      measures: the settings.
    """
    height, width = (int(side) for side in found["image_size"])
    values = [np.sqrt(width * height), width / height, *_detections(found, measures)]
    try:
        pixels = network_pixels(encoded, (height, width), measures.input_size)
    except ImageProblem:  # the model's decoder forgives more than ours: the picture's statistics are missing
        return np.array([*[np.nan] * len(PICTURE), *values], np.float32), ""
    return np.array([*_picture(pixels), *values], np.float32), fingerprint(pixels)


def network_pixels(encoded: bytes, size: tuple[int, int], input_size: tuple[int, int]) -> np.ndarray:
    """The image as the network sees it, uint8 [H, W, 3] RGB without padding, within a few grey levels.

    A JPEG is decoded at a fraction of its size where that is enough.

    Raises:
      ImageProblem: it can't be decoded.
    """
    view = letterbox(size, input_size)
    height, width = view.valid[2:]
    try:
        pixels = simplejpeg.decode_jpeg(encoded, "RGB", min_height=height, min_width=width)
    except ValueError:
        pixels = decode(encoded, size).pixels
    method = cv2.INTER_AREA if shrinks(view.source, view.valid) else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=method))


def _picture(pixels: np.ndarray) -> list[float]:
    gray = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    red, green, blue = pixels.reshape(-1, 3).mean(axis=0).tolist()
    spread = np.ptp(pixels.reshape(-1, 3), axis=1).mean()
    return [
        float(gray.mean()),
        float(gray.std()),
        float(cv2.Laplacian(gray, cv2.CV_32F).std()),
        float(spread),
        red - green,
        (red + green) / 2 - blue,
    ]


def _detections(found: Mapping[str, Any], measures: Measures) -> list[float]:
    scores = np.asarray(found["detection_scores"], np.float64)
    boxes = np.asarray(found["detection_boxes"], np.float64)
    categories = np.asarray(found["detection_classes"])
    counted = scores >= measures.threshold
    doubtful = (scores >= measures.threshold / 2) & ~counted
    place = _boxes(boxes[counted], found["image_size"]) if counted.any() else [np.nan] * 4
    values = [
        float(counted.sum()),
        float(doubtful.sum()),
        float(scores.max(initial=0.0)),
        float(scores[counted].mean()) if counted.any() else np.nan,
        *place,
    ]
    for entry in measures.classes:
        own = scores[categories == entry.id]
        values += [float((own >= measures.threshold).sum()), float(own.max(initial=0.0))]
    return values


def _boxes(boxes: np.ndarray, image_size: Any) -> list[float]:
    """Size, shape, x and y; boxes are [N, 4] ymin, xmin, ymax, xmax as fractions of the image."""
    height, width = (float(side) for side in image_size)
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 1e-6)
    shape = np.log(sides[:, 1] * width) - np.log(sides[:, 0] * height)
    y, x = ((boxes[:, :2] + boxes[:, 2:]) / 2).mean(axis=0).tolist()
    return [float(np.sqrt(sides.prod(axis=1)).mean()), float(np.exp(shape.mean())), x, y]
