"""Views: which part of an image is drawn where in the network's input. NumPy only.

A view resizes an integer source rectangle of the original image to an integer valid rectangle of the input canvas. The
rest of the canvas is black. Boxes follow the resized pixels exactly, so there is no rounding between image and targets.
This is the only definition of resizing and padding: Beam, the trainer and the exported model all use it.
"""

from dataclasses import dataclass

import numpy as np

Rectangle = tuple[int, int, int, int]
"""[ymin, xmin, ymax, xmax] in whole pixels, upper ends excluded."""

CENTRE_BORDER = 0.2
"""Minimum distance of a random crop's centre from the border, as a fraction of the longer side: 128 of COCO's 640
pixels, as in the original CenterNet (datasets/sample/ctdet.py, `_get_border(128, …)`). 0.5 centres every window."""


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """One view of one image."""

    source: Rectangle
    """Pixels taken from the original image."""

    valid: Rectangle
    """Where they are drawn in the input. The rest of the input is padding."""

    @property
    def scale(self) -> tuple[float, float]:
        """Input pixels per original pixel: (y, x)."""
        (sy0, sx0, sy1, sx1), (vy0, vx0, vy1, vx1) = self.source, self.valid
        return (vy1 - vy0) / (sy1 - sy0), (vx1 - vx0) / (sx1 - sx0)


def letterbox(image_size: tuple[int, int], input_size: tuple[int, int]) -> View:
    """The plain view: the whole image with its aspect ratio, at the top left, padded at the bottom or right.

    Args:
      image_size: (height, width) of the original in pixels.
      input_size: (height, width) of the network's input in pixels.
    """
    height, width = image_size
    zoom = min(input_size[0] / height, input_size[1] / width)
    valid = (0, 0, max(1, round(height * zoom)), max(1, round(width * zoom)))
    return View(source=(0, 0, height, width), valid=valid)


def random_view(
    rng: np.random.Generator,
    image_size: tuple[int, int],
    input_size: tuple[int, int],
    scale_range: tuple[float, float],
    border: float = CENTRE_BORDER,
) -> View:
    """A random crop window with the input's aspect ratio. For a square input, it is the reference's
    `random_square_crop_by_scale` with a side of max(height, width) × scale.

    A window that extends beyond the image is padded there.
    """
    height, width = image_size
    plain_zoom = min(input_size[0] / height, input_size[1] / width)
    zoom = plain_zoom / rng.uniform(*scale_range)
    window = (max(1, round(input_size[0] / zoom)), max(1, round(input_size[1] / zoom)))
    spans = [
        _random_span(rng, size, side, target, border * max(image_size))
        for size, side, target in zip(image_size, window, input_size, strict=True)
    ]
    (sy0, sy1, vy0, vy1), (sx0, sx1, vx0, vx1) = spans
    return View(source=(sy0, sx0, sy1, sx1), valid=(vy0, vx0, vy1, vx1))


def _random_span(
    rng: np.random.Generator, size: int, window: int, target: int, border: float
) -> tuple[int, int, int, int]:
    """One axis of a random window: (source start, source end, valid start, valid end)."""
    border = min(border, size / 2)
    start = round(rng.uniform(border, size - border) - window / 2)
    source_start, source_end = max(start, 0), min(start + window, size)
    valid_start = min(round((source_start - start) * target / window), target - 1)
    valid_end = max(round((source_end - start) * target / window), valid_start + 1)
    return source_start, source_end, valid_start, valid_end


def view_rng(seed: int, image_id: int, view: int) -> np.random.Generator:
    """The random generator of one view, which does not depend on the runner, the worker or the order."""
    entropy = [seed, image_id & 0xFFFFFFFF, (image_id >> 32) & 0xFFFFFFFF, view]
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(entropy)))


def make_view(
    *,
    seed: int,
    image_id: int,
    view: int,
    image_size: tuple[int, int],
    input_size: tuple[int, int],
    scale_range: tuple[float, float],
    border: float = CENTRE_BORDER,
) -> View:
    """View 0 is the plain view. The others are random crops, seeded by (seed, image id, view)."""
    if view == 0:
        return letterbox(image_size, input_size)
    return random_view(view_rng(seed, image_id, view), image_size, input_size, scale_range, border)


def shrinks(source: Rectangle, valid: Rectangle) -> bool:
    """Whether resizing a view makes it smaller on either axis. If so, pixels are averaged over their area (to avoid
    aliasing), else interpolated linearly. cv2 and tf.image agree on both within rounding."""
    return valid[2] - valid[0] < source[2] - source[0] or valid[3] - valid[1] < source[3] - source[1]


def to_input(view: View, boxes: np.ndarray) -> np.ndarray:
    """Converts boxes from original pixels to input pixels, without clipping.

    Args:
      boxes: float [N, 4], [ymin, xmin, ymax, xmax].

    Returns:
      float64 [N, 4].
    """
    (scale_y, scale_x), source, valid = view.scale, view.source, view.valid
    scale = np.array([scale_y, scale_x, scale_y, scale_x])
    return (np.asarray(boxes, np.float64) - _corner(source)) * scale + _corner(valid)


def to_original(view: View, boxes: np.ndarray) -> np.ndarray:
    """Converts boxes from input pixels back to original pixels: the inverse of `to_input`. float64 [N, 4]."""
    (scale_y, scale_x), source, valid = view.scale, view.source, view.valid
    scale = np.array([scale_y, scale_x, scale_y, scale_x])
    return (np.asarray(boxes, np.float64) - _corner(valid)) / scale + _corner(source)


def _corner(rectangle: Rectangle) -> np.ndarray:
    return np.array([rectangle[0], rectangle[1], rectangle[0], rectangle[1]], np.float64)


def clip_to_valid(view: View, boxes: np.ndarray, min_visible: float) -> tuple[np.ndarray, np.ndarray]:
    """Clips boxes in input pixels to the valid rectangle, and decides which to keep.

    A box is kept if at least `min_visible` of its area is inside and both clipped sides are positive.

    Returns:
      (clipped float64 [N, 4], keep bool [N]).
    """
    boxes = np.asarray(boxes, np.float64)
    low = np.array([view.valid[0], view.valid[1]] * 2, np.float64)
    high = np.array([view.valid[2], view.valid[3]] * 2, np.float64)
    clipped = np.clip(boxes, low, high)
    sides, inside = boxes[:, 2:] - boxes[:, :2], clipped[:, 2:] - clipped[:, :2]
    keep = (inside > 0).all(axis=1) & (inside.prod(axis=1) >= min_visible * sides.prod(axis=1))
    return clipped, keep
