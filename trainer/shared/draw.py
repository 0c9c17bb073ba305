"""Boxes drawn on an image, with Pillow."""

import colorsys
from collections.abc import Sequence
from typing import Literal, cast

import numpy as np

Colour = tuple[int, int, int]
Edge = Literal["top", "bottom"]
Place = tuple[float, float, float, float]
"""Left, top, right, bottom."""

TRUTH_COLOUR: Colour = (34, 160, 80)
DETECTION_COLOUR: Colour = (232, 106, 16)


def class_colours(count: int) -> list[Colour]:
    """That many colours, of which neighbours differ clearly: each next hue is a golden angle away."""
    colours = []
    for i in range(count):
        hue, value = (0.07 + i * 0.618034) % 1, (0.95, 0.75)[i // 5 % 2]
        red, green, blue = colorsys.hsv_to_rgb(hue, (0.9, 0.65)[i // 10 % 2], value)
        colours.append((round(255 * red), round(255 * green), round(255 * blue)))
    return colours


def draw_detections(
    image: np.ndarray,
    boxes: np.ndarray,
    labels: Sequence[str],
    scores: Sequence[float | None] | np.ndarray | None = None,
    colour: Colour | Sequence[Colour] = DETECTION_COLOUR,
    label_at: Edge | Sequence[Edge] = "top",
) -> np.ndarray:
    """A copy of the image with boxes and labels.

    Boxes may extend beyond the image; a higher score is drawn over a lower one. Lines and letters grow with the image,
    so that a picture stays readable when it is scaled down. A label takes the place around its box where it covers the
    least of other boxes and labels, and all outlines are drawn over all labels.

    Args:
      image: uint8 [H, W, 3], RGB.
      boxes: float [N, 4], [ymin, xmin, ymax, xmax] in pixels of the image.
      labels: N texts, "" for none.
      scores: N numbers or None for a box without one, or None for no scores at all.
      colour: RGB, 0 to 255; one for all boxes, or N.
      label_at: the edge of the box where the label is tried first; one for all boxes, or N. If ground truth and
        detections use different edges, both labels of one object are readable.

    Returns:
      uint8 [H, W, 3].

    Raises:
      ValueError: the image is of another type or shape, or the counts differ.
    """
    from PIL import Image, ImageDraw, ImageFont

    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"image is {image.dtype} {list(image.shape)}; uint8 [H, W, 3] is needed")
    if len(labels) != len(boxes) or (scores is not None and len(scores) != len(boxes)):
        raise ValueError(
            f"{len(boxes)} boxes, {len(labels)} labels, scores {scores!r}; one label and one score per box are needed"
        )
    given: list[float | None] = [None] * len(boxes)
    if scores is not None:
        given = [None if score is None else float(score) for score in scores]
    texts = [label if s is None else f"{label} {s:.2f}".strip() for label, s in zip(labels, given, strict=True)]
    colours = _per_box(colour, len(boxes))
    edges = [label_at] * len(boxes) if isinstance(label_at, str) else list(label_at)
    picture = Image.fromarray(image)
    canvas = ImageDraw.Draw(picture)
    font = ImageFont.load_default(size=max(10, round(max(image.shape[:2]) / 28)))
    line = max(1, round(max(image.shape[:2]) / 220))
    # Boxes without a score first, then by ascending score; the most important label chooses its place first.
    ranks = [-1.0 if score is None else score for score in given]
    order = sorted(range(len(boxes)), key=ranks.__getitem__)
    tags: list[Place] = []
    for i in reversed(order):
        if texts[i]:
            left, top, right, bottom = canvas.textbbox((0, 0), texts[i], font=font)
            size = right - left + 4, bottom - top + 4
            place = _best_place(_places(boxes[i], size, edges[i], image.shape), np.delete(boxes, i, axis=0), tags)
            tags.append(place)
            canvas.rectangle(place, fill=colours[i])
            canvas.text((place[0] + 2 - left, place[1] + 2 - top), texts[i], fill=_ink(colours[i]), font=font)
    for i in order:
        ymin, xmin, ymax, xmax = boxes[i].tolist()
        # The line is inside the box; a box narrower than its line is still drawn.
        corners = (xmin, ymin, max(xmin, xmax - 1), max(ymin, ymax - 1))
        canvas.rectangle(corners, outline=colours[i], width=line)
    return np.asarray(picture).copy()


def _per_box(colour: Colour | Sequence[Colour], count: int) -> list[Colour]:
    if len(colour) == 3 and isinstance(colour[0], int):
        return [cast(Colour, colour)] * count
    return [cast(Colour, entry) for entry in colour]


def _places(box: np.ndarray, size: tuple[float, float], edge: Edge, image: tuple[int, ...]) -> list[Place]:
    """Where a label may be, the best first: outside the box at its corners, then inside; always within the image."""
    ymin, xmin, ymax, xmax = box.tolist()
    width, height = size
    above, below = ymin - height, ymax
    rows = (above, below) if edge == "top" else (below, above)
    inside = (ymin, ymax - height) if edge == "top" else (ymax - height, ymin)
    places = []
    for y in (*rows, *inside):
        for x in (xmin, xmax - width):
            left = min(max(x, 0), max(image[1] - width, 0))
            top = min(max(y, 0), max(image[0] - height, 0))
            places.append((left, top, left + width, top + height))
    return places


def _best_place(places: list[Place], boxes: np.ndarray, tags: list[Place]) -> Place:
    """The place that covers the least of other boxes and, above all, of other labels."""
    others = boxes[:, [1, 0, 3, 2]]
    labels = np.array(tags).reshape(-1, 4)
    return min(places, key=lambda place: _shared(place, others) + 4 * _shared(place, labels))


def _shared(place: Place, others: np.ndarray) -> float:
    """Pixels of a rectangle that others cover, each counted on its own."""
    low = np.maximum(others[:, :2], place[:2])
    high = np.minimum(others[:, 2:], place[2:])
    return float(np.clip(high - low, 0, None).prod(axis=1).sum())


def _ink(background: Colour) -> Colour:
    """Black on light colours, white on dark ones (ITU-R BT.601 luma)."""
    red, green, blue = background
    return (0, 0, 0) if 0.299 * red + 0.587 * green + 0.114 * blue > 150 else (255, 255, 255)
