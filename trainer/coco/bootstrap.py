"""Paired bootstrap over images: how much of an AP, or of a difference of two, is due to the choice of images?

A resample draws as many images as there are, with replacement; trainer.coco.resampling computes its AP. Both models are
scored on the same resamples: what makes an image easy for both cancels in the difference.

Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13 (percentile interval).
"""

from dataclasses import dataclass

import numpy as np

from beam_preprocess.base.errors import InputError
from trainer.coco.match_table import MatchTable
from trainer.coco.overlaps import Floats
from trainer.coco.resampling import Weights

CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """The middle 95 % of the resamples."""

    low: float
    high: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """AP of one model minus AP of another one on the same images."""

    delta: float
    """Difference on the images as they are."""
    low: float
    high: float
    """The middle 95 % of the resampled differences."""
    probability_better: float
    """Fraction of the resamples in which the first model is better; ties count half."""
    resamples: int


def draw(images: int, resamples: int, seed: int = 0) -> Weights:
    """[resamples, images] how often each image was drawn. The same arguments give the same draws."""
    random = np.random.default_rng(seed)
    return np.stack(
        [np.bincount(random.integers(0, images, images), minlength=images).astype(np.int32) for _ in range(resamples)]
    )


def draw_for(table: MatchTable, resamples: int) -> Weights:
    """`draw` for the images of a table, by their names: another numbering of the same images gives the same draws."""
    return draw(len(table.image_ids), resamples)[:, table.image_order]


def interval(aps: Floats) -> Interval | None:
    """The interval of resampled APs; None if no resample had any object."""
    present = aps[~np.isnan(aps)]
    if not len(present):
        return None
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(present, [tail, 1 - tail])
    return Interval(low=float(low), high=float(high))


def compare(delta: float, first: Floats, second: Floats) -> Comparison | None:
    """Compares resampled APs of two models, from the same weights; None if no resample had any object."""
    differences = first - second
    middle = interval(differences)
    if middle is None:
        return None
    present = differences[~np.isnan(differences)]
    better = np.count_nonzero(present > 0) + 0.5 * np.count_nonzero(present == 0)
    return Comparison(
        delta=delta,
        low=middle.low,
        high=middle.high,
        probability_better=float(better / len(present)),
        resamples=len(present),
    )


def check_paired(first: MatchTable, second: MatchTable) -> None:
    """Checks that two tables are of the same images and objects.

    Raises:
      InputError: they are not.
    """
    for name in ("image_ids", "image_order", "category_ids", "object_image", "object_category", "object_areas"):
        if not np.array_equal(getattr(first, name), getattr(second, name)):
            raise InputError(f"matches: {name} differ; evaluate both models on the same annotation file")
