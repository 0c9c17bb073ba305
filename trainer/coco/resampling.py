"""AP of resamples of the images: what pycocotools gives on the drawn images (tests/trainer/coco/test_bootstrap.py).

An image that was drawn twice counts twice, as if each copy had its own id. Matches on one image do not depend on other
images, so a resample only gives every detection the weight of its image, and precision and recall are running sums of
weights. Nothing is sorted again. Most detections are false at every threshold: what they add to the sums is a product
of a sparse matrix with the weights.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from beam_preprocess.base.cores import usable_cores
from trainer.coco.accumulate import objects_needed
from trainer.coco.match_table import MatchTable
from trainer.coco.matching import IOU_THRESHOLDS, RECALL_THRESHOLDS
from trainer.coco.overlaps import Bools, Floats, Ints

CHUNK, CELLS = 200, 2_000_000
"""Maximum numbers of resamples that are computed together, and of resamples times marked detections of a class.

A power of two takes twice as long: sums over detections then jump between addresses that share a line of the cache.
"""

Weights = npt.NDArray[np.int32]


def resampled_ap(table: MatchTable, weights: Weights) -> Floats:
    """AP (all areas, 100 detections) of each resample; NaN where no object was drawn.

    Args:
      table: a model's matches.
      weights: [B, images] how often each image was drawn.
    """
    most = int(weights.max(initial=0))
    unfolded = _Unfolded.of(table, most)
    classes = [_Rows.of(unfolded, k) for k in range(len(table.category_ids))]
    # Additions of 16 bits are twice as fast as those of 32, and no sum is larger than this.
    narrow = np.min_scalar_type(-1 - most * max((rows.longest for rows in classes), default=0))
    size = max(1, min(CHUNK, CELLS // max((len(rows.image) or 1 for rows in classes), default=1)))
    by_class = np.flatnonzero(table.counted)[np.argsort(table.object_category[table.counted], kind="stable")]
    objects_of = _ones(
        table.object_category[by_class], table.object_image[by_class], (len(classes), len(table.image_ids))
    )

    def chunk_ap(first: int) -> Floats:
        drawn = np.ascontiguousarray(weights[first : first + size].T)
        objects = objects_of @ drawn
        copies = unfolded.drawn(drawn).astype(narrow)
        total = np.zeros(len(drawn[0]))
        for rows, count in zip(classes, objects, strict=True):
            if count.any():
                total += np.where(count > 0, rows.ap(copies, count), 0)
        present = np.count_nonzero(objects, axis=0)
        return np.divide(total, present, out=np.full(len(total), np.nan), where=present > 0)

    with ThreadPoolExecutor(usable_cores()) as pool:
        return np.concatenate([np.zeros(0), *pool.map(chunk_ap, range(0, len(weights), size))])


@dataclass(frozen=True, kw_only=True, slots=True)
class _Unfolded:
    """The detections of a table in an order in which weights can replace copies.

    An image that was drawn w times has w copies of its detections. Those of equal score are in sequence, image copy by
    image copy; with weights, detection by detection. The result is the same unless one image has several detections of
    a class with exactly the same score and different fates: such a sequence is written out as often as any image was
    drawn. Each of these copies has an image of its own, which is drawn once if the real one was drawn often enough.
    """

    category: Ints
    """[D]"""
    image: Ints
    """[D] the real images, then those of the copies."""
    true: Ints
    """[D]"""
    ignored: Ints
    """[D]"""
    images: int
    """Number of real images and copies."""
    copied: Ints
    """[C] the real image of each copy."""
    copy: Ints
    """[C] 0 for the first copy of its image, 1 for the second, …"""

    @classmethod
    def of(cls, table: MatchTable, most: int) -> "_Unfolded":
        """The detections of a table; `most`: the maximum number of times that an image was drawn."""
        order = np.arange(len(table.image))
        starts = np.flatnonzero(table.tied == 0)
        ends = np.append(starts[1:], len(order))
        fate = table.true << len(IOU_THRESHOLDS) | table.ignored
        mixed = (np.minimum.reduceat(fate, starts) != np.maximum.reduceat(fate, starts)) if len(starts) else starts > 0
        pieces, numbers = [], []
        done = 0
        for low, high in zip(starts[mixed].tolist(), ends[mixed].tolist(), strict=True):
            pieces += [order[done:low], *[order[low:high]] * most]
            numbers += [np.full(low - done, -1), np.repeat(np.arange(most), high - low)]
            done = high
        order = np.concatenate([*pieces, order[done:]])
        number = np.concatenate([*numbers, np.full(len(table.image) - done, -1)])
        image, copies = table.image[order], np.flatnonzero(number >= 0)
        copied = image[copies]
        image[copies] = len(table.image_ids) + np.arange(len(copies))
        return cls(
            category=table.category[order],
            image=image,
            true=table.true[order],
            ignored=table.ignored[order],
            images=len(table.image_ids) + len(copies),
            copied=copied,
            copy=number[copies],
        )

    def drawn(self, drawn: Weights) -> Weights:
        """[images, B] how often each image was drawn, for [images, B] of the real ones."""
        return np.concatenate([drawn, drawn[self.copied] > self.copy[:, None]])


@dataclass(frozen=True, kw_only=True, slots=True)
class _Rows:
    """The M detections of one class that are true or ignored at any threshold, by descending score."""

    image: Ints
    """[M]"""
    steps: Any
    """Sparse [M, images]: how many detections of each image lie after the previous one of the M, up to this one."""
    thresholds: tuple["_Runs", ...]

    @classmethod
    def of(cls, unfolded: _Unfolded, k: int) -> "_Rows":
        """The rows of class k."""
        rows = slice(*np.searchsorted(unfolded.category, [k, k + 1]).tolist())
        image, true, ignored = unfolded.image[rows], unfolded.true[rows], unfolded.ignored[rows]
        marked = np.flatnonzero(true | ignored)
        until = image[: marked[-1] + 1] if len(marked) else image[:0]
        others = marked - np.arange(len(marked))
        bits = [(true[marked] >> t & 1 == 1, ignored[marked] >> t & 1 == 1) for t in range(len(IOU_THRESHOLDS))]
        return cls(
            image=image[marked],
            steps=_ones(np.searchsorted(marked, np.arange(len(until))), until, (len(marked), unfolded.images)),
            thresholds=tuple(_Runs.of(*fates, others) for fates in bits if fates[0].any()),
        )

    @property
    def longest(self) -> int:
        """Maximum number of detections that are summed at once."""
        sums = [self.steps, *(runs.members for runs in self.thresholds)]
        return max(int(np.diff(matrix.indptr).max(initial=0)) for matrix in sums)

    def ap(self, drawn: Weights, objects: Ints) -> Floats:
        """Mean AP over the thresholds of each resample, for [images, B] and [B] objects."""
        weight, seen = drawn[self.image], np.cumsum(self.steps @ drawn, axis=0, dtype=np.int32)
        reached, place = _reached(objects)
        total = np.zeros(len(objects))
        for runs in self.thresholds:
            found, counted = runs.found(weight), runs.counted(weight, seen)
            precision = counted + np.spacing(1)
            np.divide(found, precision, out=precision)
            # Positive numbers are ordered as their bits are, and NumPy compares integers faster.
            backwards = precision.view(np.int64)[::-1]
            np.maximum.accumulate(backwards, axis=0, out=backwards)
            points = reached[found + place]
            points[1:] -= points[:-1].copy()
            total += np.einsum("db,db->b", precision, points)
        return total / (len(IOU_THRESHOLDS) * len(RECALL_THRESHOLDS))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Runs:
    """The true detections at one threshold, in R runs without a false one between.

    Within a run, precision rises whatever the weights are, so that only the last detection can be the highest.
    """

    members: Any
    """Sparse [R, M]"""
    last: Ints
    """[R] among the M."""
    ignored: Ints
    """Among the M."""

    @classmethod
    def of(cls, true: Bools, ignored: Bools, others: Ints) -> "_Runs":
        """The runs of the M; `others`: how many false detections, which are not among the M, are before each."""
        judged = np.flatnonzero(~ignored)
        right, before = true[judged], others[judged]
        goes_on = np.append(right[1:] & (before[1:] == before[:-1]), False)
        last, found = judged[right & ~goes_on], np.flatnonzero(true)
        return cls(
            members=_ones(np.searchsorted(last, found), found, (len(last), len(true))),
            last=last,
            ignored=np.flatnonzero(ignored),
        )

    def found(self, weight: Weights) -> Weights:
        """[R, B] true detections up to the end of each run, for [M, B]."""
        return np.cumsum(self.members @ weight, axis=0, dtype=np.int32)

    def counted(self, weight: Weights, seen: Weights) -> Weights:
        """[R, B] true and false detections up to the end of each run, for [M, B]."""
        counted = seen[self.last]
        if len(self.ignored):
            skipped = np.zeros((len(self.ignored) + 1, weight.shape[1]), np.int32)
            np.cumsum(weight[self.ignored], axis=0, out=skipped[1:])
            counted -= skipped[np.searchsorted(self.ignored, self.last)]
        return counted


def _ones(row: Ints, column: Ints, shape: tuple[int, int]) -> Any:
    """A sparse matrix of ones, by row; what a cell has several of is added up in products."""
    from scipy import sparse

    ends = np.searchsorted(row, np.arange(shape[0] + 1))
    return sparse.csr_array((np.ones(len(row), np.int8), column, ends), shape=shape)


def _reached(objects: Ints) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int32]]:
    """How many of the 101 recall points are reached by finding 0, 1, 2, … of `objects`; none by finding none.

    Returns:
      the table, one row after the other, and [B] the place of each resample's row.
    """
    counts, row = np.unique(objects, return_inverse=True)
    length = int(counts[-1]) + 1
    points = len(RECALL_THRESHOLDS)
    edges = np.zeros((len(counts), points + 2), np.int64)
    edges[:, 1:-1] = np.maximum(objects_needed(counts), 1)
    edges[:, -1] = length
    reached = np.tile(np.arange(points + 1, dtype=np.int8), len(counts))
    return np.repeat(reached, np.diff(edges, axis=1).ravel()), (row * length).astype(np.int32)
