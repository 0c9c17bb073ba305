"""Paired bootstrap over images: how much of an AP, or of a difference of two, is due to the choice of images?

A resample draws as many images as there are, with replacement. Its AP is what pycocotools gives on the drawn images
(each copy under its own id; tests/trainer/coco/test_bootstrap.py). Matches on one image do not depend on other images,
so a resample only gives every detection the weight of its image, and precision and recall are running sums of weights.
Both models are scored on the same resamples: what makes an image easy for both cancels in the difference.

Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13 (percentile interval).
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from beam_preprocess.base.cores import usable_cores
from beam_preprocess.base.errors import InputError
from trainer.coco.match_table import MatchTable
from trainer.coco.matching import IOU_THRESHOLDS, RECALL_THRESHOLDS

CONFIDENCE = 0.95
CHUNK = 250_000
"""Number of weights that are processed at a time: they fit into a core's cache."""

Weights = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]


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


def resampled_ap(table: MatchTable, weights: Weights) -> Floats:
    """AP (all areas, 100 detections) of each resample; NaN where no object was drawn.

    Args:
      table: a model's matches.
      weights: [B, images] how often each image was drawn.
    """
    classes = range(len(table.category_ids))
    drawn = np.ascontiguousarray(weights.T)
    with ThreadPoolExecutor(usable_cores()) as pool:
        parts = list(pool.map(lambda k: _class_ap(table, k, drawn), classes))
    present = np.stack([part[1] for part in parts])
    sums = np.stack([part[0] for part in parts]).sum(axis=0, where=present)
    count = present.sum(axis=0)
    return np.divide(sums, count, out=np.full(len(weights), np.nan), where=count > 0)


def _class_ap(table: MatchTable, k: int, drawn: Weights) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """AP of one class in each resample, and whether the resample had an object of it; drawn: [images, B]."""
    objects = drawn[table.object_image[table.counted & (table.object_category == k)]].sum(axis=0)
    first, last = np.searchsorted(table.category, [k, k + 1])
    aps = np.zeros(len(objects))
    if objects.any():
        rows = _Rows.of(table, int(first), int(last), int(drawn.max()))
        if len(rows.marked):
            weight, seen = rows.weights(drawn)
            step = max(1, CHUNK // len(rows.marked))
            for start in range(0, len(aps), step):
                chunk = slice(start, start + step)
                aps[chunk] = rows.ap(weight[chunk], seen[chunk], objects[chunk])
    return aps, objects > 0


@dataclass(frozen=True, kw_only=True, slots=True)
class _Rows:
    """Detections of one class by descending score. [D], or [M] for those marked: true or ignored at any threshold."""

    image: npt.NDArray[np.int64]
    copies: Sequence[tuple[int, int]]
    """(row, copy): this row counts once if its image was drawn more than `copy` times. See `_unfold`."""
    marked: npt.NDArray[np.int64]
    true: tuple[npt.NDArray[np.int64], ...]
    """For each threshold, positions among the marked ones."""
    ignored: tuple[npt.NDArray[np.int64], ...]

    @classmethod
    def of(cls, table: MatchTable, first: int, last: int, most: int) -> "_Rows":
        """Rows first to last of the table; `most`: the maximum number of times that an image was drawn."""
        order, copies = _unfold(table, first, last, most)
        true, ignored = table.true[order], table.ignored[order]
        marked = np.flatnonzero(true | ignored)
        thresholds = range(len(IOU_THRESHOLDS))
        return cls(
            image=table.image[order],
            copies=copies,
            marked=marked,
            true=tuple(np.flatnonzero(true[marked] >> t & 1) for t in thresholds),
            ignored=tuple(np.flatnonzero(ignored[marked] >> t & 1) for t in thresholds),
        )

    def weights(self, drawn: Weights) -> tuple[Weights, Weights]:
        """[B, M] how often each marked detection counts, and how many detections count up to it, for [images, B]."""
        from scipy import sparse

        # Detections are summed between the marked ones, as a product with a sparse matrix; then the sums are.
        between = np.searchsorted(self.marked, np.arange(len(self.image)))
        once = np.isin(np.arange(len(self.image)), [row for row, _ in self.copies])
        plain = ~once & (between < len(self.marked))
        cells = between[plain], self.image[plain]
        shape = len(self.marked), len(drawn)
        sums = sparse.csr_array((np.ones(len(cells[0]), np.int32), cells), shape=shape) @ drawn
        weight = drawn[self.image[self.marked]]
        place = {row: m for m, row in enumerate(self.marked.tolist())}
        for row, copy in self.copies:
            counts = drawn[self.image[row]] > copy
            if between[row] < len(self.marked):
                sums[between[row]] += counts
            if row in place:
                weight[place[row]] = counts
        return np.ascontiguousarray(weight.T), np.cumsum(np.ascontiguousarray(sums.T), axis=1, dtype=np.int32)

    def ap(self, weight: Weights, seen: Weights, objects: npt.NDArray[np.int64]) -> Floats:
        """Mean AP over the thresholds of each resample from its `weights`, with [B] objects."""
        points_of = _recall_points(objects)
        row = (np.arange(len(objects)) * points_of.shape[1])[:, None]
        total = np.zeros(len(objects))
        for true, ignored in zip(self.true, self.ignored, strict=True):
            if not len(true):
                continue
            found = np.cumsum(weight[:, true], axis=1, dtype=np.int32)
            counted = seen[:, true]
            if len(ignored):
                skipped = np.zeros((len(weight), len(ignored) + 1), np.int32)
                np.cumsum(weight[:, ignored], axis=1, out=skipped[:, 1:])
                counted -= skipped[:, np.searchsorted(ignored, true)]
            precision = found / (counted + np.spacing(1))
            envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
            points = points_of.take(found + row)
            points[:, 1:] -= points[:, :-1].copy()
            total += np.einsum("bd,bd->b", envelope, points)
        return total / (len(IOU_THRESHOLDS) * len(RECALL_THRESHOLDS))


_HUNDREDTHS = len(RECALL_THRESHOLDS) - 1
_ABOVE = (np.arange(_HUNDREDTHS + 1) / _HUNDREDTHS < RECALL_THRESHOLDS).astype(float)
"""1 where pycocotools' threshold r is rounded up above r / 100, so that a recall of exactly r / 100 misses it."""


def _recall_points(objects: npt.NDArray[np.int64]) -> Floats:
    """[B, most objects + 1] how many of the 101 recall thresholds are reached by finding 0, 1, 2, … of [B] objects.

    None by finding none. found / objects >= r / 100 is decided on integers, except for exact equality, which
    pycocotools' floats decide.
    """
    found = np.arange(objects.max() + 1)
    scaled = found * (_HUNDREDTHS / np.maximum(objects, 1))[:, None]
    reached = np.minimum(np.floor(scaled + 1e-7), _HUNDREDTHS)  # at most 1e7 objects: steps of `scaled` are larger
    exact = np.abs(scaled - reached)
    missed = _ABOVE.take(reached.astype(np.int32)) * (exact < 1e-7)
    return (reached + 1 - missed) * (found > 0)


def _unfold(table: MatchTable, first: int, last: int, most: int) -> tuple[npt.NDArray[np.int64], list[tuple[int, int]]]:
    """The order of the rows in which weights can replace copies.

    An image that was drawn w times has w copies of its detections. Those of equal score are in sequence, image copy by
    image copy; with weights, detection by detection. The result is the same unless one image has several detections of
    this class with exactly the same score and different fates: such a sequence is written out, `most` times.
    """
    order = np.arange(first, last)
    starts = np.flatnonzero(table.tied[first:last] == 0)
    if len(starts) == len(order):
        return order, []
    fate = table.true[first:last] << len(IOU_THRESHOLDS) | table.ignored[first:last]
    ends = np.append(starts[1:], len(order))
    mixed = np.minimum.reduceat(fate, starts) != np.maximum.reduceat(fate, starts)
    pieces: list[npt.NDArray[np.int64]] = []
    copies: list[tuple[int, int]] = []
    done = length = 0
    for low, high in zip(starts[mixed].tolist(), ends[mixed].tolist(), strict=True):
        pieces.append(order[done:low])
        length += low - done
        for copy in range(most):
            pieces.append(order[low:high])
            copies += [(length + i, copy) for i in range(high - low)]
            length += high - low
        done = high
    pieces.append(order[done:])
    return np.concatenate(pieces), copies
