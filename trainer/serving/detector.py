"""A batch of encoded images through the served signature; an image that can't be decoded fails alone."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from trainer.saved_model.inference import load_signature

Found = dict[str, np.ndarray]
"""The signature's outputs for one image, without the batch axis."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Why an image has no detections."""

    reason: str


class Detector:
    """The served signature of an exported model.

    Args:
      model: SavedModel folder.

    Raises:
      InputError: the folder isn't one of our models, or can't be loaded.
    """

    def __init__(self, model: str) -> None:
        self._signature = load_signature(model)

    def warm_up(self, sizes: Sequence[int]) -> None:
        """Computes a batch of each size: first calls are slow, and the first client should not wait for them."""
        image = tf.io.encode_png(tf.zeros([32, 32, 3], tf.uint8)).numpy()
        for size in sizes:
            self([image] * size)

    def __call__(self, images: Sequence[bytes]) -> list[Found | Refused]:
        """One answer per image, in their order."""
        try:
            outputs = self._signature(image_bytes=tf.constant(images, tf.string))
        except tf.errors.InvalidArgumentError as error:
            if len(images) == 1:
                return [Refused(_reason(error))]
            # One of them is broken, and fails the whole batch: each half is tried without the other.
            middle = len(images) // 2
            return [*self(images[:middle]), *self(images[middle:])]
        arrays = {name: tensor.numpy() for name, tensor in outputs.items()}
        return [{name: array[i] for name, array in arrays.items()} for i in range(len(images))]


def _reason(error: tf.errors.OpError) -> str:
    """The signature's sentence about its only image, without the position and the advice for batches."""
    found = re.search(
        r"image_bytes\[0\]: (.+?)(?:; send the others without (?:them|it))?(?:\]|\n|$)", str(error.message)
    )
    return found[1].strip(" '\"b") if found else "the model can't read it as an image"
