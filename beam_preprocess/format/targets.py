"""CenterNet's centre targets: radius, sigma, Gaussian, offset, size. NumPy only.

The definition is Model Garden's `assign_centernet_targets` (target_assigner.py), in float32 and with the same order of
operations. It follows "Objects as Points" (Zhou et al. 2019), equation 1 and section 3, with the radius formula of the
original code. (Its roots divide by 2, not by 2a. We keep that, because every published result has it.)

A heatmap value depends only on the object's integer radius and on the integer squared distance d² to its centre cell.
So it is stored as a *code*: an index into the table of exp(-d² / 2σ²) over all (radius, d²) above the cut-off. That is
lossless, and 16 bits are enough for a 128 × 128 map.

The variant "original" follows the original implementation (xingyizhou/CenterNet, src/lib/datasets/sample/ctdet.py and
utils/image.py): it computes the radius from the sides rounded up to whole cells, and cuts off a Gaussian at its radius.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, TypeAlias

import numpy as np

Variant: TypeAlias = Literal["model-garden", "original"]


@dataclass(frozen=True, kw_only=True)
class SparseTargets:
    """Targets of one view. Cells are row-major indices, y * map width + x."""

    cell_index: np.ndarray
    """uint32 [M]: indices of the heatmap cells above the cut-off, sorted by (crowd, class, cell)."""

    cell_class: np.ndarray
    """int32 [M]: class index of each stored cell."""

    cell_code: np.ndarray
    """uint32 [M]: index into `code_table(...).values`."""

    cell_crowd: np.ndarray
    """bool [M]: the value comes from crowd regions, which are stored separately from the objects' heatmap."""

    object_cell: np.ndarray
    """int32 [N]: index of the centre cell."""

    object_class: np.ndarray
    """int32 [N]."""

    object_offset: np.ndarray
    """float32 [N, 2]: (y, x) of the centre within its cell, in cells."""

    object_size: np.ndarray
    """float32 [N, 2]: (height, width) in cells."""

    object_crowd: np.ndarray
    """bool [N]: it is a crowd region (COCO's iscrowd), not an object."""


def gaussian_radius(height: np.ndarray, width: np.ndarray, min_iou: float = 0.7) -> np.ndarray:
    """The distance by which both corners may move while the IoU stays above `min_iou`.

    This is Model Garden's `max_distance_for_overlap`: the smallest of three roots, in float32.

    Args:
      height: float32 [N], in cells.
      width: float32 [N], in cells.
      min_iou: minimum overlap.

    Returns:
      float32 [N], in cells.
    """
    height, width = np.asarray(height, np.float32), np.asarray(width, np.float32)
    iou = float(min_iou)

    def root(a: float, b: np.ndarray, c: np.ndarray) -> np.ndarray:
        return (-b + np.sqrt(b**2 - np.float32(4 * a) * c)) / np.float32(2.0)

    offset = root(1, -(height + width), width * height * np.float32((1 - iou) / (1 + iou)))
    inside = root(4, np.float32(-2) * (height + width), np.float32(1 - iou) * width * height)
    outside = root(4 * iou, np.float32(2 * iou) * (width + height), np.float32(iou - 1) * width * height)
    return np.minimum(np.minimum(offset, outside), inside)


def integer_radius(height: np.ndarray, width: np.ndarray, min_iou: float = 0.7) -> np.ndarray:
    """floor(radius), at least 0; sigma is (2 * radius + 1) / 6. int64 [N]."""
    return np.maximum(np.floor(gaussian_radius(height, width, min_iou)), 0).astype(np.int64)


def sigma_of(radius: int) -> np.float32:
    """The Gaussian's standard deviation in cells, float32."""
    return np.float32(2 * radius + 1) / np.float32(6.0)


@dataclass(frozen=True, kw_only=True)
class CodeTable:
    """Heatmap values by code, and a stamp of codes for every radius."""

    values: np.ndarray
    """float32 [K]: heatmap value of each code."""

    stamps: tuple[np.ndarray, ...]
    """By radius: int32 [2w + 1, 2w + 1] codes around the centre, -1 below the cut-off."""

    cells: tuple[tuple[np.ndarray, np.ndarray], ...]
    """By radius: (int64 [S] index offsets of the stored cells from the centre cell, ascending; int32 [S] codes)."""


@lru_cache(maxsize=8)
def code_table(
    map_size: tuple[int, int], cutoff: float, min_iou: float = 0.7, variant: Variant = "model-garden"
) -> CodeTable:
    """The table for maps of (height, width) cells. It depends only on the arguments.

    exp is computed in float64 and rounded once, so the table does not depend on a machine's float32 exp. The variant
    "original" cuts off a Gaussian at its radius, in a square window. Otherwise only the cut-off limits it.
    """
    whole = np.float32(map_size[0]), np.float32(map_size[1])
    largest = int(integer_radius(np.array([whole[0]]), np.array([whole[1]]), min_iou)[0])
    values: list[np.ndarray] = []
    stamps: list[np.ndarray] = []
    cells: list[tuple[np.ndarray, np.ndarray]] = []
    first = 0
    for radius in range(largest + 1):
        variance = np.float32(2) * sigma_of(radius) * sigma_of(radius)
        reach = min(int(math.sqrt(float(variance) * -math.log(cutoff))), max(map_size) - 1)
        if variant == "original":
            reach = min(reach, radius)
        steps = np.arange(-reach, reach + 1)
        distances = steps[:, None] ** 2 + steps[None, :] ** 2
        unique, ranks = np.unique(distances, return_inverse=True)
        exponents = (-unique.astype(np.float32) / variance).astype(np.float64)
        gaussian = np.exp(exponents).astype(np.float32)
        kept = gaussian >= np.float32(cutoff)
        codes = np.where(kept, first + np.cumsum(kept) - 1, -1)
        stamp = codes[ranks.reshape(distances.shape)].astype(np.int32)
        rows, columns = np.nonzero(stamp >= 0)
        stamps.append(stamp)
        cells.append(((rows - reach) * map_size[1] + columns - reach, stamp[rows, columns]))
        values.append(gaussian[kept])
        first += int(kept.sum())
    return CodeTable(values=np.concatenate(values), stamps=tuple(stamps), cells=tuple(cells))


def manifest_code_table(parameters: Mapping[str, Any]) -> CodeTable:
    """The table for records whose manifest has these parameters, or for a configuration as a mapping."""
    (height, width), stride = parameters["image_size"], parameters["stride"]
    variant = parameters.get("target_variant", "model-garden")  # older records had no choice
    return code_table(
        (height // stride, width // stride), parameters["heatmap_cutoff"], parameters["gaussian_iou"], variant
    )


def assign_targets(
    boxes: np.ndarray,
    classes: np.ndarray,
    crowd: np.ndarray,
    *,
    image_size: tuple[int, int],
    stride: int,
    cutoff: float,
    min_iou: float = 0.7,
    variant: Variant = "model-garden",
) -> SparseTargets:
    """Computes the sparse targets of one view.

    Args:
      boxes: float [N, 4], [ymin, xmin, ymax, xmax] in input pixels, inside the input.
      classes: int [N], class indices.
      crowd: bool [N], whether each box is a crowd region.
      image_size: (height, width) of the input in pixels, multiples of the stride.
      stride: input pixels per cell.
      cutoff: heatmap values below this are not stored.
      min_iou: see `gaussian_radius`.
      variant: see this module's docstring.
    """
    map_size = image_size[0] // stride, image_size[1] // stride
    boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
    classes = np.asarray(classes, np.int32).reshape(-1)
    crowd = np.asarray(crowd, bool).reshape(-1)
    ratio = np.float32(1 / stride)
    centre = (boxes[:, :2] + boxes[:, 2:]) / np.float32(2) * ratio
    size = (boxes[:, 2:] - boxes[:, :2]) * ratio
    # A centre on the far edge belongs to the last cell; Model Garden would write it outside the map.
    cell = np.minimum(np.floor(centre).astype(np.int64), np.array(map_size) - 1)
    sides = np.ceil(size) if variant == "original" else size
    radius = integer_radius(sides[:, 0], sides[:, 1], min_iou)
    table = code_table(map_size, cutoff, min_iou, variant)
    index, cell_class, code, cell_crowd = _splat(cell, radius, classes, crowd, map_size, table)
    return SparseTargets(
        cell_index=index,
        cell_class=cell_class,
        cell_code=code,
        cell_crowd=cell_crowd,
        object_cell=(cell[:, 0] * map_size[1] + cell[:, 1]).astype(np.int32),
        object_class=classes,
        object_offset=centre - cell.astype(np.float32),
        object_size=size,
        object_crowd=crowd,
    )


def _splat(
    cell: np.ndarray,
    radius: np.ndarray,
    classes: np.ndarray,
    crowd: np.ndarray,
    map_size: tuple[int, int],
    table: CodeTable,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Takes the maximum over each (crowd, class): indices, classes, codes and crowd flags of the cells."""
    parts: list[tuple[np.ndarray, int, np.ndarray, bool]] = []
    groups: dict[tuple[bool, int], list[tuple[int, int, int]]] = {}
    centres, radii = cell.tolist(), radius.tolist()
    for (y, x), r, key in zip(centres, radii, zip(crowd.tolist(), classes.tolist(), strict=True), strict=True):
        groups.setdefault(key, []).append((y, x, r))
    for (is_crowd, class_index), members in sorted(groups.items()):
        cells, codes = _maximum(members, map_size, table)
        parts.append((cells, class_index, codes, is_crowd))
    if not parts:
        nothing = np.zeros(0, np.uint32)
        return nothing, np.zeros(0, np.int32), nothing.copy(), np.zeros(0, bool)
    return (
        np.concatenate([cells for cells, _, _, _ in parts]).astype(np.uint32),
        np.concatenate([np.full(len(cells), c, np.int32) for cells, c, _, _ in parts]),
        np.concatenate([codes for _, _, codes, _ in parts]).astype(np.uint32),
        np.concatenate([np.full(len(cells), flag, bool) for cells, _, _, flag in parts]),
    )


def _maximum(
    members: list[tuple[int, int, int]], map_size: tuple[int, int], table: CodeTable
) -> tuple[np.ndarray, np.ndarray]:
    """(indices, ascending; codes) of the stored cells of one class, whose Gaussians are given as (y, x, radius)."""
    height, width = map_size
    if len(members) == 1:
        ((y, x, radius),) = members
        reach = table.stamps[radius].shape[0] // 2
        if reach <= y < height - reach and reach <= x < width - reach:  # almost always: nothing to clip or compare
            steps, codes = table.cells[radius]
            return steps + (y * width + x), codes
    # One extra entry: code -1 (below the cut-off) reads value 0.
    values = np.append(table.values, np.float32(0))
    largest = np.full(map_size, -1, np.int32)
    top, bottom = height, 0
    for y, x, radius in members:
        stamp = table.stamps[radius]
        reach = stamp.shape[0] // 2
        y0, y1, x0, x1 = max(y - reach, 0), min(y + reach + 1, height), max(x - reach, 0), min(x + reach + 1, width)
        top, bottom = min(top, y0), max(bottom, y1)
        window = largest[y0:y1, x0:x1]
        part = stamp[y0 - y + reach : y1 - y + reach, x0 - x + reach : x1 - x + reach]
        np.copyto(window, part, where=values[part] > values[window])
    touched = largest[top:bottom].reshape(-1)
    cells = np.flatnonzero(touched >= 0)
    return cells + top * width, touched[cells]


def dense_heatmap(
    targets: SparseTargets,
    map_size: tuple[int, int],
    num_classes: int,
    cutoff: float,
    min_iou: float = 0.7,
    variant: Variant = "model-garden",
) -> np.ndarray:
    """The objects' heatmap, without crowd regions: float32 [height, width, num_classes]."""
    heatmap = np.zeros((map_size[0] * map_size[1], num_classes), np.float32)
    own = ~targets.cell_crowd
    table = code_table(map_size, cutoff, min_iou, variant)
    heatmap[targets.cell_index[own], targets.cell_class[own]] = table.values[targets.cell_code[own]]
    return heatmap.reshape(*map_size, num_classes)
