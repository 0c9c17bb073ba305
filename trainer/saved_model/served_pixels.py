"""The pixels that a network gets of an image file: as the records have them, and as an exported model makes them.

The record's come from Pillow, libjpeg and OpenCV (`beam_preprocess.format.images`), the export's from TensorFlow. They
may differ by rounding, no more.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from beam_preprocess.base.errors import InputError
from beam_preprocess.format import geometry
from beam_preprocess.format.images import ImageProblem, decode, render_view

MAX_PIXEL_DELTA = 2
"""Grey levels: one by the resize, and one by the decoder where a file isn't RGB (CMYK)."""

Pixels = Callable[[Sequence[bytes], Sequence[tuple[int, int]]], list[np.ndarray]]
"""From encoded images and their (height, width) to the network's input, [B, H, W, 3] in 0..255 for each scale."""


def record_pixels(input_sizes: Sequence[tuple[int, int]]) -> Pixels:
    """Pixels as the records have them, at these (height, width)."""

    def make(encoded: Sequence[bytes], declared: Sequence[tuple[int, int]]) -> list[np.ndarray]:
        images = [_decode(data, size) for data, size in zip(encoded, declared, strict=True)]
        return [
            np.stack([render_view(image, geometry.letterbox(image.shape[:2], size), size) for image in images])
            for size in input_sizes
        ]

    return make


class ServedPixels:
    """Pixels as a SavedModel makes them for its network; each call compares them with the records'.

    Args:
      model: the SavedModel, loaded from its files.
      input_sizes: (height, width) at each scale that it serves.
    """

    def __init__(self, model: Any, input_sizes: Sequence[tuple[int, int]]) -> None:
        self._network_input = model.network_input
        self._expected = record_pixels(input_sizes)
        self.max_delta = 0.0
        """Largest difference so far, in grey levels."""

    def __call__(self, encoded: Sequence[bytes], declared: Sequence[tuple[int, int]]) -> list[np.ndarray]:
        """See `Pixels`."""
        scales = zip(*(self._network_input(tf.constant(data)) for data in encoded), strict=True)
        served = [np.stack(images) for images in scales]
        for own, expected in zip(served, self._expected(encoded, declared), strict=True):
            # max() of Python would lose a NaN.
            self.max_delta = float(np.maximum(self.max_delta, np.abs(own - expected).max()))
        return served


def _decode(data: bytes, declared: tuple[int, int]) -> np.ndarray:
    try:
        return decode(data, declared).pixels
    except ImageProblem as error:
        raise InputError(f"a validation image can't be used: {error}; repair it, or run `centernet check`") from error
