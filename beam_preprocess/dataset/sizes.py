"""How large the objects are at the network's input, which of them it cannot tell apart, and the size it would take."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from beam_preprocess.dataset.suspicious_boxes import image_rows
from beam_preprocess.format.annotations import CocoAnnotations
from beam_preprocess.format.config import PreprocessConfig

QUANTILES = (5, 25, 50, 75, 95)
"""Percentiles of the object sides that the report shows."""
MULTIPLE = 128
"""Sides of a suggested input: Hourglass 52 and 104 need multiples of it, and it suits every smaller Hourglass."""
LARGEST = 2048
"""Longest side that is suggested. Beyond, images are better cut into tiles."""
MAX_BELOW_CELL = 0.1
"""Maximum fraction of objects with a side shorter than a cell before the check warns."""
MAX_SHARED = 0.01
"""Maximum fraction of objects whose centre shares a cell with another of its class before the check warns."""
_SAMPLE = 200_000
"""Number of objects that suggestions are tried on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizes:
    """Objects of one split in the plain view of the configured input."""

    input_size: tuple[int, int]
    """(height, width) in pixels."""
    stride: int
    objects: int
    sides: dict[str, float]
    """Percentile to the shorter side of an object in input pixels."""
    below_cell: int
    """Number of objects whose shorter side is below one cell (the stride)."""
    shared_cells: int
    """Number of objects whose centre is in the cell of another object of the same class: only one of them is learned
    there."""
    suggested: tuple[int, int] | None
    """Smallest (height, width) at which neither would be a warning; None if there is no need, or none is large
    enough."""

    @property
    def suspicious(self) -> bool:
        """Whether either fraction is above its limit."""
        return too_small(self.below_cell, self.shared_cells, self.objects)

    def to_mapping(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)

    def warning(self, split: str) -> str:
        """What to do about it."""
        height, width = self.input_size
        if self.suggested:
            fix = f"input it would take: --image-size {self.suggested[0]} {self.suggested[1]} (preprocess.image_size)"
        else:
            fix = f"even {LARGEST} pixels would not be enough: cut the images into tiles"
        return (
            f"{split}: at the input of {height} x {width}, {self.below_cell} of {self.objects} objects are smaller "
            f"than one cell ({self.stride} px; median side {self.sides['50']:.1f} px) and {self.shared_cells} centres "
            f"share a cell with another object of their class, which only one of them can win; {fix}"
        )


def measure(coco: CocoAnnotations, keep: np.ndarray, boxes: np.ndarray, config: PreprocessConfig) -> Sizes | None:
    """Measures the objects of one split.

    Args:
      coco: the parsed file.
      keep: bool [A], the objects that are used, without crowd regions.
      boxes: float64 [A, 4], [ymin, xmin, ymax, xmax], clipped.
      config: input size and stride.

    Returns:
      None without objects in images of known size. The others are among the rejects already: no plain view shows them.
    """
    objects = objects_of(coco, keep, boxes, config.stride)
    if objects is None:
        return None
    sides = objects.sides(config.image_size)
    below, shared = objects.counts(config.image_size)
    needed = too_small(below, shared, len(objects))
    return Sizes(
        input_size=config.image_size,
        stride=config.stride,
        objects=len(objects),
        sides={str(q): round(float(np.percentile(sides, q)), 2) for q in QUANTILES},
        below_cell=below,
        shared_cells=shared,
        suggested=_suggested(objects.sample(), config.image_size) if needed else None,
    )


def objects_of(coco: CocoAnnotations, keep: np.ndarray, boxes: np.ndarray, stride: int) -> "Objects | None":
    """The objects of one split; None without objects in images of known size. See `measure` for the arguments."""
    rows = image_rows(coco)
    keep = keep & (coco.image_sizes[rows] > 0).all(axis=1)
    if not keep.any():
        return None
    rows = rows[keep]
    classes = np.unique(coco.annotation_category_ids[keep], return_inverse=True)[1]
    return Objects(rows, coco.image_sizes[rows].astype(np.float64), classes, boxes[keep], stride)


class Objects:
    """Objects in original pixels, and what becomes of them in an input of any size."""

    def __init__(
        self, rows: np.ndarray, image_sizes: np.ndarray, classes: np.ndarray, boxes: np.ndarray, stride: int
    ) -> None:
        self._rows, self.image_sizes, self._classes, self._boxes, self._stride = (
            rows,
            image_sizes,
            classes,
            boxes,
            stride,
        )

    def sides(self, input_size: tuple[int, int]) -> np.ndarray:
        """The shorter side of each, in input pixels."""
        shorter: np.ndarray = (self._boxes[:, 2:] - self._boxes[:, :2]).min(axis=1) * self._zoom(input_size)
        return shorter

    def counts(self, input_size: tuple[int, int]) -> tuple[int, int]:
        """(objects below one cell, objects in the cell of another of their class)."""
        below = int((self.sides(input_size) < self._stride).sum())
        centres = (self._boxes[:, :2] + self._boxes[:, 2:]) / 2 * self._zoom(input_size)[:, None]
        cells = (centres // self._stride).astype(np.int64)
        keys = np.column_stack([self._rows, self._classes, cells])
        order = np.lexsort(keys.T)
        ordered = keys[order]
        return below, int((ordered[1:] == ordered[:-1]).all(axis=1).sum())

    def sample(self) -> "Objects":
        """The objects of the first images: whole images, because neighbours share cells."""
        last = np.sort(self._rows)[min(_SAMPLE, len(self._rows)) - 1]
        chosen = self._rows <= last
        return Objects(
            self._rows[chosen], self.image_sizes[chosen], self._classes[chosen], self._boxes[chosen], self._stride
        )

    def __len__(self) -> int:
        return len(self._rows)

    def _zoom(self, input_size: tuple[int, int]) -> np.ndarray:
        """Input pixels per original pixel in the plain view (`geometry.letterbox`, without its rounding)."""
        zoom: np.ndarray = (np.array(input_size) / self.image_sizes).min(axis=1)
        return zoom


def _suggested(objects: Objects, configured: tuple[int, int]) -> tuple[int, int] | None:
    """The smallest input with the images' aspect ratio at which neither fraction is above its limit."""
    height, width = np.median(objects.image_sizes, axis=0)
    for longer in range(MULTIPLE, LARGEST + 1, MULTIPLE):
        zoom = longer / max(height, width)
        sides = [max(MULTIPLE, -(-round(side * zoom) // MULTIPLE) * MULTIPLE) for side in (height, width)]
        candidate = (int(sides[0]), int(sides[1]))
        if candidate != configured and not too_small(*objects.counts(candidate), len(objects)):
            return candidate
    return None


def too_small(below: int, shared: int, objects: int) -> bool:
    """Whether more objects than allowed are smaller than a cell, or share one."""
    return below > MAX_BELOW_CELL * objects or shared > MAX_SHARED * objects
