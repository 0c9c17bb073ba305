"""Matches detections to objects once, as arrays: pycocotools' greedy matching for boxes, without its loops.

COCOeval loops over every (class, area range, image) in Python. In each image and class, detections by descending score
take the free object that they overlap most, if the overlap reaches the threshold. Only pairs that overlap by the lowest
threshold can ever match, and images and classes are independent; so the n-th detections of all images and classes are
matched together, for all thresholds and area ranges at once. IoU is pycocotools' own compiled function. The result is
equal bit for bit, including ties and crowds (tests/trainer/coco/test_matching.py compares all arrays):

- equal scores keep the order of the input; images are ordered by id;
- of equally overlapping objects, the last one in the file is taken;
- objects outside the area range and crowds are taken only if no other object fits; crowds any number of times.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

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

OVERLAP = 0.1
"""Pairs of any class with at least this IoU are kept: the kinds of errors need them."""

PROGRESS_SECONDS = 5.0


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
    pair_detection: Ints
    """[P] row of a detection, ascending."""
    pair_object: Ints
    """[P] an object of any class in the same image, with an IoU of at least OVERLAP."""
    pair_iou: Floats
    """[P]"""


def match(objects: Objects, detections: Detections, *, images: int, categories: int) -> Matches:
    """Matches all detections to objects, for every area range and IoU threshold.

    Args:
      objects: ground truth.
      detections: in any order.
      images: number of images that are scored.
      categories: number of classes.
    """
    by_image = _stably(np.arange(len(detections.score)), detections.image, images)
    by_score = by_image[np.argsort(-detections.score[by_image], kind="stable")]
    by_class = _stably(by_score, detections.category, categories)
    order = _stably(by_class, detections.image, images)
    rank = _position_in_run(detections.image[order] * categories + detections.category[order])
    order, rank = order[rank < MAX_DETECTIONS[-1]], rank[rank < MAX_DETECTIONS[-1]]
    row = np.full(len(by_class), -1)
    row[order] = np.arange(len(order))
    by_class = row[by_class]
    image, category = detections.image[order], detections.category[order]
    box = detections.box[order]
    area = box[:, 2] * box[:, 3]
    outside = (area[:, None] < AREA_RANGES[:, 0]) | (area[:, None] > AREA_RANGES[:, 1])
    object_outside = (objects.area[:, None] < AREA_RANGES[:, 0]) | (objects.area[:, None] > AREA_RANGES[:, 1])
    object_ignored = objects.crowd[:, None] | object_outside

    pair_detection, pair_object, pair_iou = _overlaps(objects, image, box, images)
    same = (category[pair_detection] == objects.category[pair_object]) & (pair_iou >= IOU_THRESHOLDS[0])
    rows, matched, counts, objects_taken = _take(
        pair_detection[same],
        pair_object[same],
        pair_iou[same],
        image * categories + category,
        objects.crowd,
        object_ignored,
    )
    true = np.zeros(len(order), np.int64)
    true[rows] = pack(matched & counts)
    ignored = outside @ _OF_AREA
    ignored[rows] = pack(matched & ~counts) | (ignored[rows] & ~pack(matched))
    taken = np.full(len(order), -1)
    taken[rows] = objects_taken
    return Matches(
        images=images,
        categories=categories,
        objects=objects,
        detection=order,
        image=image,
        category=category,
        score=detections.score[order],
        rank=rank,
        by_class=by_class[by_class >= 0],
        true=true,
        ignored=ignored,
        taken=taken,
        object_ignored=object_ignored,
        pair_detection=pair_detection,
        pair_object=pair_object,
        pair_iou=pair_iou,
    )


_OF_AREA: Ints = np.array([EVERY_THRESHOLD << len(IOU_THRESHOLDS) * a for a in range(len(AREA_RANGES))])
"""[A] the bits of all thresholds of an area range."""


def pack(answers: Bools) -> Ints:
    """[N] integers from [N, A, T] or [N, T]; the first is bit 0."""
    octets = np.zeros((len(answers), 8), np.uint8)
    packed = np.packbits(answers.reshape(len(answers), math.prod(answers.shape[1:])), axis=1, bitorder="little")
    octets[:, : packed.shape[1]] = packed
    return octets.view("<i8")[:, 0].astype(np.int64)


def unpack(packed: Ints, count: int) -> Bools:
    """[N, count] bits 0 to count - 1."""
    octets = packed.astype("<i8").view(np.uint8).reshape(-1, 8)[:, : -(-count // 8)]
    return np.unpackbits(octets, axis=1, count=count, bitorder="little").view(bool)


def _stably(order: Ints, column: Ints, values: int) -> Ints:
    """The order sorted by a column with values below `values`; equal ones stay as they were."""
    narrow = column.astype(np.min_scalar_type(max(values - 1, 0)))  # NumPy sorts 16 bits by radix: ten times faster
    return order[np.argsort(narrow[order], kind="stable")]


def _position_in_run(values: Ints) -> Ints:
    """[N] for a grouped sequence: how many equal values directly precede each entry."""
    if not len(values):
        return np.zeros(0, np.int64)
    first = np.flatnonzero(np.r_[True, values[1:] != values[:-1]])
    return np.arange(len(values)) - np.repeat(first, np.diff(np.r_[first, len(values)]))


def _overlaps(objects: Objects, image: Ints, box: Floats, images: int) -> tuple[Ints, Ints, Floats]:
    """Pairs (detection, object, IoU) within images, ordered by detection, then object."""
    from pycocotools import mask

    by_image = np.argsort(objects.image, kind="stable")
    object_ends = np.searchsorted(objects.image[by_image], np.arange(images + 1))
    detection_ends = np.searchsorted(image, np.arange(images + 1))
    rows: list[Sequence[npt.NDArray[np.generic]]] = []
    announced = time.monotonic()
    for i in np.flatnonzero((np.diff(object_ends) > 0) & (np.diff(detection_ends) > 0)).tolist():
        first = detection_ends[i]
        here = by_image[object_ends[i] : object_ends[i + 1]]
        iou = mask.iou(box[first : detection_ends[i + 1]], objects.box[here], objects.crowd[here].astype(np.uint8))
        found, which = np.nonzero(iou >= OVERLAP)
        rows.append((found + first, here[which], iou[found, which]))
        if time.monotonic() - announced > PROGRESS_SECONDS:
            announced = time.monotonic()
            print(f"progress: match {i}/{images} images", flush=True)
    if not rows:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    detection, which, overlap = (np.concatenate(column) for column in zip(*rows, strict=True))
    return detection, which, overlap


def _take(
    detection: Ints, which: Ints, iou: Floats, group: Ints, crowd: Bools, object_ignored: Bools
) -> tuple[Ints, Bools, Bools, Ints]:
    """Greedy matching over pairs of one class.

    Args:
      detection: [P] rows of detections, ascending.
      which: [P] objects.
      iou: [P]
      group: [D] image and class of each detection.
      crowd: [G]
      object_ignored: [G, A]

    Returns:
      [C] the detections that are in pairs, ascending; [C, A, T] whether each took an object, and whether that counts;
      [C] see `Matches.taken`.
    """
    starts = np.flatnonzero(np.r_[True, detection[1:] != detection[:-1]][: len(detection)])
    rows = detection[starts]
    shape = (len(rows), len(AREA_RANGES), len(IOU_THRESHOLDS))
    matched, counts = np.zeros((2, *shape), bool)
    taken = np.full(len(rows), -1)
    if not len(rows):
        return rows, matched, counts, taken
    # Within a detection the later pair wins: more overlap, and for equal overlap the object later in the file.
    row = np.repeat(np.arange(len(rows)), np.diff(np.r_[starts, len(detection)]))
    wave = _position_in_run(group[rows])
    order = np.lexsort((which, iou, row, wave[row]))
    row, which, iou = row[order], which[order], iou[order]
    ends = np.searchsorted(wave[row], np.arange(wave.max() + 2))
    free = np.ones((len(crowd), *shape[1:]), bool)
    areas_axis = np.arange(len(AREA_RANGES))[None, :, None]
    reach = np.minimum(IOU_THRESHOLDS, 1 - 1e-10)
    for low, high in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True):
        of, pair_object = row[low:high], which[low:high]
        starts = np.flatnonzero(np.r_[True, of[1:] != of[:-1]])
        of = of[starts]
        count = high - low
        possible = free[pair_object] & (iou[low:high, None] >= reach)[:, None, :]  # [pair, A, T]
        # The best pair of a detection has the largest key: any object that counts before any ignored one.
        key = (np.arange(1, count + 1)[:, None] + count * ~object_ignored[pair_object]).astype(np.int32)
        best = np.maximum.reduceat(possible * key[:, :, None], starts, axis=0)  # [detection, A, T]
        found = best > 0
        winner = pair_object[(best - 1) % count]
        matched[of] = found
        counts[of] = found & ~object_ignored[winner, areas_axis]
        taken[of] = np.where(found[:, 0, 0], winner[:, 0, 0], -1)
        places, areas, thresholds = np.nonzero(found)
        gone = winner[places, areas, thresholds]
        free[gone, areas, thresholds] = crowd[gone]
    return rows, matched, counts, taken
