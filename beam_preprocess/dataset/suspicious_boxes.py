"""Boxes that are numbers of another convention: fractions of the image, corners, centres, another resolution."""

from collections.abc import Iterator

import numpy as np

from beam_preprocess.format.annotations import CocoAnnotations

FRACTIONS = 0.9
"""Minimum fraction of boxes below a pixel, to take all for fractions of the image. Fewer are single rejects."""
MIN_BOXES = 10
"""With fewer boxes, chance could explain what is outside the image: a warning, not an error."""
ROUNDING = 1.0
"""Boxes that extend beyond their image by at most this many pixels were rounded, or count pixels from 1."""
CORNERS_CLIPPED = 0.1
"""Minimum fraction of clipped boxes, for boxes that would be valid as corners, to be taken for corners."""
FIT_AS_CORNERS = 0.95
"""Minimum fraction of boxes that must be valid as [x1, y1, x2, y2]."""
CUT_AREA = 0.1
"""A box counts as cut if at least this fraction of its area is outside its image. Rounding cuts less."""
WARN_CUT, REFUSE_CUT = 0.1, 0.5
"""Fractions of cut boxes above which the check warns and refuses."""


def found(coco: CocoAnnotations) -> Iterator[tuple[str, str, bool]]:
    """(code, message, whether it is an error) of what is suspicious about the boxes."""
    total = len(coco.annotation_ids)
    if total and (coco.bbox_lengths == -1).all():
        yield (
            "no_bbox",
            f"{coco.uri}: none of the {total} annotations has a bbox, a list of four numbers; write "
            "[x, y, width, height] in pixels for each, from the polygon or mask if you have those",
            True,
        )
        return
    boxes, sizes = _usable(coco)
    if not len(boxes):
        return
    x, y, w, h = boxes.T
    height, width = sizes.T
    below = (w <= 1) & (h <= 1)
    if below.mean() >= FRACTIONS:
        yield "below_a_pixel", _fractions(coco, boxes, int(below.sum())), True
        return
    right, bottom = x + w, y + h
    clipped = (x < -ROUNDING) | (y < -ROUNDING) | (right > width + ROUNDING) | (bottom > height + ROUNDING)
    inside = np.maximum(np.minimum(right, width) - np.maximum(x, 0), 0)
    inside *= np.maximum(np.minimum(bottom, height) - np.maximum(y, 0), 0)
    cut = clipped & (inside < (1 - CUT_AREA) * w * h)
    as_corners = (w > x) & (h > y) & (x >= 0) & (y >= 0) & (w <= width + 1) & (h <= height + 1)
    enough = len(boxes) >= MIN_BOXES
    if clipped.mean() >= CORNERS_CLIPPED and as_corners.mean() >= FIT_AS_CORNERS:
        yield "corners", _outside(coco, boxes, sizes, clipped, "are these x1, y1, x2, y2?"), enough
    elif cut.mean() > WARN_CUT:
        question = "are these x1, y1, x2, y2, centres, or boxes of another resolution?"
        yield "clipped_boxes", _outside(coco, boxes, sizes, cut, question), enough and bool(cut.mean() > REFUSE_CUT)


def image_rows(coco: CocoAnnotations) -> np.ndarray:
    """int64 [A]: each annotation's position in the images, -1 where its image is missing."""
    order = np.argsort(coco.image_ids, kind="stable")
    ids = coco.image_ids[order]
    at = np.minimum(np.searchsorted(ids, coco.annotation_image_ids), len(ids) - 1)
    return np.where(ids[at] == coco.annotation_image_ids, order[at], -1)


def _usable(coco: CocoAnnotations) -> tuple[np.ndarray, np.ndarray]:
    """Objects with four finite numbers, positive sides and an image of known size: (boxes, (height, width))."""
    rows = image_rows(coco)
    sizes = coco.image_sizes[rows].astype(np.float64)
    keep = (coco.bbox_lengths == 4) & np.isfinite(coco.bboxes).all(axis=1) & (rows >= 0) & ~coco.crowd
    keep &= (coco.bboxes[:, 2:] > 0).all(axis=1) & (sizes > 0).all(axis=1)
    return coco.bboxes[keep], sizes[keep]


def _fractions(coco: CocoAnnotations, boxes: np.ndarray, count: int) -> str:
    return (
        f"{coco.uri}: {count} of {len(boxes)} boxes are smaller than a pixel (first: {_shown(boxes[0])}); are these "
        "fractions of the image? COCO's [x, y, width, height] is in pixels: multiply x and width by the image's width, "
        "y and height by its height (YOLO's numbers are centres: subtract half the size from x and y)"
    )


def _outside(coco: CocoAnnotations, boxes: np.ndarray, sizes: np.ndarray, hit: np.ndarray, question: str) -> str:
    first = int(np.argmax(hit))
    height, width = sizes[first].astype(int).tolist()
    return (
        f"{coco.uri}: {int(hit.sum())} of {len(boxes)} boxes extend beyond their image (first: {_shown(boxes[first])} "
        f"in {width} x {height}, width x height); {question} COCO's bbox is [x, y, width, height] in pixels of the "
        "image's declared size"
    )


def _shown(box: np.ndarray) -> str:
    return f"[{', '.join(f'{value:.4g}' for value in box.tolist())}]"
