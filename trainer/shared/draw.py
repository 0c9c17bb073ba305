"""Boxes drawn on an image, with Pillow."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

Colour = tuple[int, int, int]

TRUTH_COLOUR: Colour = (34, 160, 80)
DETECTION_COLOUR: Colour = (232, 106, 16)


def draw_detections(
    image: np.ndarray,
    boxes: np.ndarray,
    labels: Sequence[str],
    scores: Sequence[float] | np.ndarray | None = None,
    colour: Colour = DETECTION_COLOUR,
    label_at: Literal["top", "bottom"] = "top",
) -> np.ndarray:
    """A copy of the image with boxes and labels.

    Boxes may extend beyond the image; a higher score is drawn over a lower one. Lines and letters grow with the image,
    so that a picture stays readable when it is scaled down.

    Args:
      image: uint8 [H, W, 3], RGB.
      boxes: float [N, 4], [ymin, xmin, ymax, xmax] in pixels of the image.
      labels: N texts, "" for none.
      scores: N numbers, or None for none.
      colour: RGB, 0 to 255.
      label_at: the edge of the box with the label; if ground truth and detections use different edges, both labels of
        one object are readable.

    Returns:
      uint8 [H, W, 3].

    Raises:
      ValueError: the image is of another type or shape, or the counts differ.
    """
    from PIL import Image, ImageDraw

    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"image is {image.dtype} {list(image.shape)}; uint8 [H, W, 3] is needed")
    if len(labels) != len(boxes) or (scores is not None and len(scores) != len(boxes)):
        raise ValueError(
            f"{len(boxes)} boxes, {len(labels)} labels, scores {scores!r}; one label and one score per box are needed"
        )
    picture = Image.fromarray(image)
    canvas = ImageDraw.Draw(picture)
    line = max(1, round(max(image.shape[:2]) / 220))
    order = range(len(boxes)) if scores is None else np.argsort(np.asarray(scores), kind="stable").tolist()
    for i in order:
        ymin, xmin, ymax, xmax = boxes[i].tolist()
        # The line is inside the box; a box narrower than its line is still drawn.
        corners = (xmin, ymin, max(xmin, xmax - 1), max(ymin, ymax - 1))
        canvas.rectangle(corners, outline=colour, width=line)
        text = labels[i] if scores is None else f"{labels[i]} {scores[i]:.2f}".strip()
        if text:
            _label(canvas, text, (xmin, ymin if label_at == "top" else ymax), label_at, image.shape[:2], colour)
    return np.asarray(picture).copy()


def _label(
    canvas: Any, text: str, corner: tuple[float, float], label_at: str, image_size: tuple[int, ...], colour: Colour
) -> None:
    """A filled tag outside the box at its left corner, moved into the image where it would extend beyond it."""
    from PIL import ImageFont

    font = ImageFont.load_default(size=max(10, round(max(image_size) / 28)))
    left, top, right, bottom = canvas.textbbox((0, 0), text, font=font)
    width, height = right - left + 4, bottom - top + 4
    x = min(max(corner[0], 0), max(image_size[1] - width, 0))
    y = corner[1] - height if label_at == "top" else corner[1]
    y = min(max(y, 0), max(image_size[0] - height, 0))
    canvas.rectangle((x, y, x + width, y + height), fill=colour)
    canvas.text((x + 2 - left, y + 2 - top), text, fill=_ink(colour), font=font)


def _ink(background: Colour) -> Colour:
    """Black on light colours, white on dark ones (ITU-R BT.601 luma)."""
    red, green, blue = background
    return (0, 0, 0) if 0.299 * red + 0.587 * green + 0.114 * blue > 150 else (255, 255, 255)
