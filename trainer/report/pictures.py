"""Pictures of the report: an image with boxes on it as a data URI, and rows of pictures of equal height."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from beam_preprocess.base.storage import file_system
from beam_preprocess.format.image_entries import inside_folder
from trainer.shared.draw import Colour, Edge, draw_detections

LONGER_SIDE = 560
"""Pixels of a picture's longer side: sharp in a column of 300 on a dense screen, about 50 kB."""
PAGE_WIDTH, GAP = 992, 16
"""CSS pixels of a full row, and of the space between two pictures."""
ROW_HEIGHT, MAX_HEIGHT = 300, 400
"""CSS pixels that rows come close to, and that they don't exceed."""
JPEG_QUALITY = 85


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """One figure."""

    file_name: str
    image_id: int
    caption: str
    data_uri: str
    """A JPEG; "" if the image could not be read."""
    problem: str
    """Why the image could not be read, or ""."""
    aspect: float = 1.0
    """Width by height."""
    objects: int = 0
    """Ground truth objects without crowd regions."""
    detections: int = 0
    """Detections that are drawn."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """Pictures next to each other."""

    pictures: tuple[Picture, ...]
    max_width: int
    """CSS pixels; narrower than the page where a full row would be too high."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """One box on a picture."""

    box: tuple[float, float, float, float]
    """[x, y, width, height] in pixels of the image file."""
    label: str
    colour: Colour
    score: float | None = None
    edge: Edge = "top"


def rows_of(pictures: Sequence[Picture]) -> tuple[Row, ...]:
    """Pictures in their order, in rows of about ROW_HEIGHT that fill the page's width."""
    total = sum(picture.aspect for picture in pictures)
    count = max(1, min(len(pictures), round(total * ROW_HEIGHT / PAGE_WIDTH)))
    groups: list[list[Picture]] = [[] for _ in range(count)]
    before = 0.0
    for picture in pictures:
        groups[min(count - 1, int((before + picture.aspect / 2) / total * count))].append(picture)
        before += picture.aspect
    return tuple(
        Row(
            pictures=tuple(group),
            max_width=round(sum(picture.aspect for picture in group) * MAX_HEIGHT) + GAP * (len(group) - 1),
        )
        for group in groups
        if group
    )


def drawn(
    folder: str, file_name: str, marks: Sequence[Mark], part: tuple[float, float, float, float] | None = None
) -> tuple[str, float]:
    """(data URI, width by height) of an image with boxes, or of a part of it.

    Args:
      folder: URI of the image folder.
      file_name: the image, below the folder.
      marks: the boxes.
      part: [x, y, width, height] to cut out, in pixels of the image file; None takes all of it.

    Raises:
      OSError, ValueError: the image can't be read, or is not below the folder.
    """
    pixels, zoom, corner = _read(folder, file_name, part)
    moved = np.array([mark.box for mark in marks], np.float64).reshape(-1, 4)
    moved[:, :2] -= corner
    x, y, width, height = (moved * zoom).T
    pixels = draw_detections(
        pixels,
        np.stack([y, x, y + height, x + width], axis=1),
        [mark.label for mark in marks],
        [mark.score for mark in marks],
        colour=[mark.colour for mark in marks],
        label_at=[mark.edge for mark in marks],
    )
    return _data_uri(pixels), pixels.shape[1] / pixels.shape[0]


def around(boxes: Sequence[Sequence[float]], *, width: int, height: int) -> tuple[float, float, float, float]:
    """The part of an image around boxes, with enough of the surroundings to judge them."""
    array = np.array(boxes, np.float64)
    low, high = array[:, :2].min(axis=0), (array[:, :2] + array[:, 2:]).max(axis=0)
    centre, size = (low + high) / 2, np.array([width, height], np.float64)
    side = np.maximum(2.5 * (high - low), np.minimum(0.35 * size, 200))
    # Not narrower than 3 to 4 or 4 to 3, so that rows of parts look even.
    side = np.minimum(np.maximum(side, side[::-1] * 0.75), size)
    start = np.clip(centre - side / 2, 0, size - side)
    return (*start.tolist(), *side.tolist())


def _read(
    folder: str, file_name: str, part: tuple[float, float, float, float] | None
) -> tuple[np.ndarray, float, np.ndarray]:
    """(uint8 [H, W, 3], its pixels per original pixel, left upper corner), in the stored orientation, as everywhere."""
    from PIL import Image

    if not inside_folder(file_name):
        raise ValueError("not a path below the image folder")
    files, root = file_system(folder)
    with files.open(f"{root.rstrip('/')}/{file_name}", "rb") as file, Image.open(file) as image:
        if part is None:
            zoom = LONGER_SIDE / max(image.size)  # small images are enlarged: labels are as large on all of them
            # Draft mode decodes a JPEG at a fraction of its size; other formats ignore it.
            original = image.size
            image.draft("RGB", (LONGER_SIDE, LONGER_SIDE))
            size = max(1, round(original[0] * zoom)), max(1, round(original[1] * zoom))
            return np.asarray(image.convert("RGB").resize(size)), zoom, np.zeros(2)
        x, y, width, height = part
        left, top = int(x), int(y)
        cut = image.convert("RGB").crop((left, top, max(left + 1, int(x + width)), max(top + 1, int(y + height))))
        zoom = LONGER_SIDE / max(cut.size)
        size = max(1, round(cut.size[0] * zoom)), max(1, round(cut.size[1] * zoom))
        return np.asarray(cut.resize(size)), zoom, np.array([left, top], np.float64)


def _data_uri(pixels: np.ndarray) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
