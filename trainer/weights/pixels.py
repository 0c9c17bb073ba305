"""What a network's input means, and how a first convolution is moved from one meaning to another. No TensorFlow."""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, kw_only=True, slots=True)
class Pixels:
    """From grey levels 0..255 to the network's input: (level - mean) / deviation per channel, in an order of channels.

    Means and deviations are those of red, green and blue, whatever the order.
    """

    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]
    bgr: bool = False


def moved_kernel(kernel: np.ndarray, theirs: Pixels, ours: Pixels) -> tuple[np.ndarray, np.ndarray]:
    """The kernel of a first convolution, for our input instead of theirs, and what it then lacks.

    Where the convolution pads with zeros, theirs is the level of their mean and ours that of our mean: at the border
    the results differ by that, elsewhere they are equal.

    Args:
      kernel: [height, width, 3, filters].
      theirs: the input that it was trained with.
      ours: the input that it will get.

    Returns:
      (kernel for our input, what to add to its result, [filters]).
    """
    rgb = kernel[:, :, ::-1] if theirs.bgr else kernel
    per_level = rgb / np.array(theirs.deviation, kernel.dtype)[:, None]
    difference = np.array(ours.mean, np.float64) - np.array(theirs.mean, np.float64)
    constant = np.einsum("hwcf,c->f", per_level.astype(np.float64), difference).astype(kernel.dtype)
    moved = per_level * np.array(ours.deviation, kernel.dtype)[:, None]
    return (moved[:, :, ::-1] if ours.bgr else moved), constant


def pixels_of(model: Any) -> Pixels:
    """The input of the Hourglass, the only network so far."""
    return Pixels(
        mean=(119.9165958, 114.03422265, 104.01362025), deviation=(70.9150767, 69.89082075, 73.6027665), bgr=True
    )
