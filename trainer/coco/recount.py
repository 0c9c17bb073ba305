"""The metrics of an evaluation, computed again from its table of matches: exactly those that were computed with it.

The gate compares them with those that evaluation.json states, and computes them over some of the classes.
"""

from dataclasses import dataclass

import numpy as np

from trainer.coco.accumulate import curves, images_with, mean, objects_by_class
from trainer.coco.match_table import THRESHOLDS, Column, MatchTable
from trainer.coco.matching import AREA_RANGES, unpack
from trainer.coco.metrics import METRIC_NAMES, SIZES


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassCount:
    """One class; see `metrics.ClassMetrics`."""

    category_id: int
    ap: float | None
    ap50: float | None
    images: int
    objects: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Recount:
    """What a table of matches proves."""

    metrics: dict[str, float | None]
    """METRIC_NAMES to fractions; None: the images have no such ground truth."""
    per_class: tuple[ClassCount, ...]
    """Sorted by category id."""
    images: int
    objects: int
    """Objects without crowd regions."""
    objects_by_size: dict[str, int]


def recount(table: MatchTable) -> Recount:
    """The metrics of a table."""
    classes = len(table.category_ids)
    areas = unpack(table.object_areas, len(AREA_RANGES))
    found = curves(
        category=table.category,
        score=np.zeros(len(table.category)),  # the order is that of the scores; the table doesn't have them
        rank=_rank(table),
        true=table.true | table.true_by_size << THRESHOLDS,
        ignored=table.ignored | table.ignored_by_size << THRESHOLDS,
        counted=objects_by_class(table.object_category, areas, classes),
    )
    objects = np.bincount(table.object_category, minlength=classes)
    images = images_with(table.object_image, table.object_category, classes)
    whole = found.precision[:, :, :, 0, -1]
    return Recount(
        metrics={name: _present(value) for name, value in zip(METRIC_NAMES, found.stats, strict=True)},
        per_class=tuple(
            ClassCount(
                category_id=category,
                ap=_present(mean(whole[:, :, k])),
                ap50=_present(mean(whole[0, :, k])),
                images=int(images[k]),
                objects=int(objects[k]),
            )
            for k, category in enumerate(table.category_ids.tolist())
        ),
        images=len(table.image_ids),
        objects=len(table.object_image),
        objects_by_size={size: int(areas[:, 1 + i].sum()) for i, size in enumerate(SIZES)},
    )


def _rank(table: MatchTable) -> Column:
    """[D] how many detections of the same image and class are before each one."""
    group = table.category * max(len(table.image_ids), 1) + table.image
    order = np.argsort(group, kind="stable")
    sorted_group = group[order]
    first = np.flatnonzero(np.r_[True, sorted_group[1:] != sorted_group[:-1]]) if len(group) else np.zeros(0, int)
    rank = np.zeros(len(group), np.int64)
    rank[order] = np.arange(len(group)) - np.repeat(first, np.diff(np.r_[first, len(group)]))
    return rank


def _present(value: float) -> float | None:
    return None if value == -1 else float(value)
