"""Matches detections to objects once, as arrays: pycocotools' greedy matching for boxes, without its loops.

COCOeval loops over every (class, area range, image) in Python. In each image and class, detections by descending score
take the free object that they overlap most, if the overlap reaches the threshold. Only pairs that overlap by the lowest
threshold can ever match, and images and classes are independent; so the n-th detections of all images and classes are
matched together, for all thresholds and area ranges at once: each of these 40 questions is a bit of an integer. The
result is equal bit for bit, including ties and crowds (tests/trainer/coco/test_matching.py compares all arrays):

- equal scores keep the order of the input; images are ordered by id;
- of equally overlapping objects, the last one in the file is taken;
- objects outside the area range and crowds are taken only if no other object fits; crowds any number of times.
"""

import itertools
from dataclasses import dataclass

import numpy as np

from trainer.coco.overlaps import Bools, Floats, Ints, overlapping

IOU_THRESHOLDS: Floats = np.linspace(0.5, 0.95, int(np.round((0.95 - 0.5) / 0.05)) + 1, endpoint=True)
"""pycocotools' Params.iouThrs, by the same expression."""
RECALL_THRESHOLDS: Floats = np.linspace(0.0, 1.00, int(np.round((1.00 - 0.0) / 0.01)) + 1, endpoint=True)
AREA_RANGES: Floats = np.array([[0, 1e5**2], [0, 32**2], [32**2, 96**2], [96**2, 1e5**2]])
"""Square pixels, both ends inclusive: all, small, medium, large."""
MAX_DETECTIONS = (1, 10, 100)
"""Per image and class."""
BITS = len(AREA_RANGES) * len(IOU_THRESHOLDS)
"""Answers for a detection, one for each area range and threshold: bit T a + t of an integer is that of (a, t)."""
EVERY_THRESHOLD = (1 << len(IOU_THRESHOLDS)) - 1

_OF_AREA = tuple(EVERY_THRESHOLD << len(IOU_THRESHOLDS) * a for a in range(len(AREA_RANGES)))
"""BITS of all thresholds of an area range."""
_REACHED: Ints = np.array([((1 << n) - 1) * (sum(_OF_AREA) // EVERY_THRESHOLD) for n in range(len(IOU_THRESHOLDS) + 1)])
"""BITS of the n lowest thresholds, in all area ranges."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Objects:
    """Ground truth of known images and classes, in the annotation file's order."""

    image: Ints
    """[G] index into the sorted image ids."""
    category: Ints
    """[G] index into the sorted category ids."""
    box: Floats
    """[G, 4] x, y, width, height in pixels."""
    area: Floats
    """[G] square pixels."""
    crowd: Bools
    """[G]"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Detections:
    """Detections in the predictions file's order."""

    image: Ints
    category: Ints
    box: Floats
    score: Floats


@dataclass(frozen=True, kw_only=True, slots=True)
class Matches:
    """What was matched. D detections by (image, class, descending score), at most 100 per image and class."""

    images: int
    categories: int
    objects: Objects
    detection: Ints
    """[D] position in the input."""
    image: Ints
    """[D]"""
    category: Ints
    """[D]"""
    score: Floats
    """[D]"""
    box: Floats
    """[D, 4]"""
    rank: Ints
    """[D] 0 for the highest score of its image and class."""
    by_class: Ints
    """[D] rows by class, then by descending score; equal scores by image, then rank."""
    true: Ints
    """[D] BITS by area range and IoU threshold: took an object that counts."""
    ignored: Ints
    """[D] BITS: neither right nor wrong: took a crowd or an object outside the area range, or took nothing and is
    itself outside."""
    taken: Ints
    """[D] the object that it took at IoU 0.5 in the area range `all`, -1 for none."""
    object_ignored: Bools
    """[G, A] a crowd, or outside the area range."""


def match(objects: Objects, detections: Detections, *, images: int, categories: int) -> Matches:
    """Matches all detections to objects, for every area range and IoU threshold.

    Args:
      objects: ground truth.
      detections: in any order.
      images: number of images that are scored.
      categories: number of classes.
    """
    by_image = _stably(np.arange(len(detections.score)), detections.image, images)
    by_score = by_image[stable_argsort(-detections.score[by_image])]
    by_class = _stably(by_score, detections.category, categories)
    order = _stably(by_class, detections.image, images)
    rank = _position_in_run(detections.image[order] * categories + detections.category[order])
    order, rank = order[rank < MAX_DETECTIONS[-1]], rank[rank < MAX_DETECTIONS[-1]]
    row = np.full(len(by_class), -1)
    row[order] = np.arange(len(order))
    by_class = row[by_class]
    image, category = detections.image[order], detections.category[order]
    box = detections.box[order]
    object_outside = _outside(objects.area)
    object_ignored = objects.crowd[:, None] | unpack(object_outside, BITS)[:, :: len(IOU_THRESHOLDS)]

    group = image * categories + category
    detection, which, iou = overlapping(
        group=group,
        box=box,
        object_group=objects.image * categories + objects.category,
        object_box=objects.box,
        crowd=objects.crowd,
        threshold=IOU_THRESHOLDS[0],
    )
    true, took_ignored, taken = _take(
        detection, which, iou, group, objects.crowd, np.where(objects.crowd, _REACHED[-1], object_outside)
    )
    return Matches(
        images=images,
        categories=categories,
        objects=objects,
        detection=order,
        image=image,
        category=category,
        score=detections.score[order],
        box=box,
        rank=rank,
        by_class=by_class[by_class >= 0],
        true=true,
        ignored=took_ignored | _outside(box[:, 2] * box[:, 3]) & ~true,
        taken=taken,
        object_ignored=object_ignored,
    )


def _outside(area: Floats) -> Ints:
    """[N] BITS of the ranges that an area is outside of."""
    bits = np.zeros(len(area), np.int64)
    for of_area, (low, high) in zip(_OF_AREA, AREA_RANGES.tolist(), strict=True):
        bits |= ((area < low) | (area > high)) * np.int64(of_area)
    return bits


def unpack(packed: Ints, count: int) -> Bools:
    """[N, count] bits 0 to count - 1."""
    octets = packed.astype("<i8").view(np.uint8).reshape(-1, 8)[:, : -(-count // 8)]
    return np.unpackbits(octets, axis=1, count=count, bitorder="little").view(bool)


def _stably(order: Ints, column: Ints, values: int) -> Ints:
    """The order sorted by a column with values below `values`; equal ones stay as they were."""
    narrow = column.astype(np.min_scalar_type(max(values - 1, 0)))  # NumPy sorts 16 bits by radix: ten times faster
    return order[np.argsort(narrow[order], kind="stable")]


def stable_argsort(values: Floats) -> Ints:
    """`np.argsort(values, kind="stable")`, by NumPy's faster sort that leaves equal values in any order."""
    order = np.argsort(values)
    ordered = values[order]
    equal = np.append(ordered[1:] == ordered[:-1], False)
    tied = np.flatnonzero(equal | np.roll(equal, 1))
    order[tied] = order[tied][np.lexsort((order[tied], ordered[tied]))]
    return order


def _position_in_run(values: Ints) -> Ints:
    """[N] for a grouped sequence: how many equal values directly precede each entry."""
    if not len(values):
        return np.zeros(0, np.int64)
    first = np.flatnonzero(np.r_[True, values[1:] != values[:-1]])
    return np.arange(len(values)) - np.repeat(first, np.diff(np.r_[first, len(values)]))


def _take(
    detection: Ints, which: Ints, iou: Floats, group: Ints, crowd: Bools, object_ignored: Ints
) -> tuple[Ints, Ints, Ints]:
    """Greedy matching over pairs of one class.

    Args:
      detection: [P] rows of detections, ascending.
      which: [P] objects.
      iou: [P]
      group: [D] image and class of each detection.
      crowd: [G]
      object_ignored: [G] BITS where an object does not count.

    Returns:
      [D] BITS where each detection took an object that counts, and an ignored one; [D] see `Matches.taken`.
    """
    # Each detection's best pair first: more overlap, and for equal overlap the object later in the file.
    order = np.lexsort((-which, -iou, detection))
    detection, which, iou = detection[order], which[order], iou[order]
    choice = _position_in_run(detection)
    rows = detection[choice == 0]
    wave = np.repeat(_position_in_run(group[rows]), np.diff(np.flatnonzero(choice == 0), append=len(choice)))
    # Pairs of one wave and choice have neither a detection nor an object in common.
    order = np.lexsort((choice, wave))
    detection, which, iou = detection[order], which[order], iou[order]
    choice, wave = choice[order], wave[order]
    steps: list[list[slice]] = [[] for _ in range(wave.max(initial=-1) + 1)]
    starts = np.flatnonzero((np.diff(wave, prepend=-1) != 0) | (np.diff(choice, prepend=-1) != 0))
    for low, high in itertools.pairwise([*starts.tolist(), len(wave)]):
        steps[wave[low]].append(slice(low, high))

    reached = _REACHED[np.searchsorted(np.minimum(IOU_THRESHOLDS, 1 - 1e-10), iou, side="right")]
    free = np.full(len(crowd), _REACHED[-1])
    true, ignored, took = np.zeros(len(group), np.int64), np.zeros(len(group), np.int64), np.zeros(len(iou), np.int64)
    for steps_of_wave in steps:
        # A detection takes an ignored object only if none that counts fits.
        for bits, allowed in ((true, ~object_ignored), (ignored, object_ignored)):
            for step in steps_of_wave:
                rows, objects = detection[step], which[step]
                new = reached[step] & allowed[objects] & free[objects] & ~(true[rows] | ignored[rows])
                bits[rows] |= new
                took[step] |= new
                free[objects] &= ~np.where(crowd[objects], 0, new)
    taken = np.full(len(group), -1)
    at50 = took & 1 == 1
    taken[detection[at50]] = which[at50]
    return true, ignored, taken
