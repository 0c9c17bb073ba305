"""Validates images and boxes: each fault gets one reason code, and nothing is dropped silently. NumPy only.

`check_limits` applies the rule for ending a run:
- training: the fraction of dropped images, and separately of dropped boxes, may not exceed `max_reject_fraction`;
- validation: no image may be dropped, because the score would no longer be comparable, and every annotation must be one
  that can be scored (`format.scored_file`). Other boxes may be dropped from the records: scores are computed from the
  original annotation file, and the records' boxes only serve the validation loss.
Clipped boxes and converted images are repaired and counted. They never end a run.
"""

from collections.abc import Callable, Container, Mapping

import numpy as np

from beam_preprocess.base.errors import InputError
from beam_preprocess.format.annotations import CocoAnnotations
from beam_preprocess.format.image_entries import image_problems
from beam_preprocess.format.reasons import Action, Reason, Reject

CLIP_TOLERANCE = 1e-3
"""Boxes that extend beyond their image by at most this many pixels (float noise) do not count as clipped."""


def validate_images(annotations: CocoAnnotations) -> tuple[np.ndarray, list[Reject]]:
    """Checks the image entries, without opening image files.

    Returns:
      (keep bool [I], rejects).
    """
    keep = np.ones(len(annotations.image_ids), bool)
    rejects: list[Reject] = []
    boxes_of = _box_counter(annotations)
    for i, reason, detail in image_problems(annotations):
        keep[i] = False
        image_id = int(annotations.image_ids[i])
        lost = "" if reason is Reason.DUPLICATE_IMAGE_ID else lost_boxes(boxes_of(image_id))
        name = annotations.file_names[i]
        rejects.append(Reject(reason=reason, image_id=image_id, file_name=name, detail=f"{detail}{lost}"))
    return keep, rejects


def drop_missing(
    annotations: CocoAnnotations, keep: np.ndarray, present: Container[str], images: str
) -> tuple[np.ndarray, list[Reject]]:
    """Drops the images whose file is missing.

    Args:
      annotations: the parsed file.
      keep: bool [I], from `validate_images`.
      present: names of the files in the image folder.
      images: the image folder, for the rejects' details.

    Returns:
      (keep bool [I], rejects).
    """
    keep = keep.copy()
    boxes_of = _box_counter(annotations)
    rejects: list[Reject] = []
    for i in np.flatnonzero(keep).tolist():
        name, image_id = annotations.file_names[i], int(annotations.image_ids[i])
        if name not in present:
            keep[i] = False
            detail = f"not in {images}{lost_boxes(boxes_of(image_id))}"
            rejects.append(Reject(reason=Reason.MISSING_IMAGE, image_id=image_id, file_name=name, detail=detail))
    return keep, rejects


def _box_counter(annotations: CocoAnnotations) -> Callable[[int], int]:
    """A function that counts the boxes of an image id."""
    owners = np.sort(annotations.annotation_image_ids)
    return lambda image_id: int(np.searchsorted(owners, image_id, "right") - np.searchsorted(owners, image_id))


def lost_boxes(count: int) -> str:
    """The end of a reject's detail: how many boxes are dropped together with the image."""
    return f"; drops its {count} {'box' if count == 1 else 'boxes'}" if count else ""


def validate_boxes(
    annotations: CocoAnnotations, keep_images: np.ndarray, min_side: float
) -> tuple[np.ndarray, np.ndarray, list[Reject]]:
    """Checks every annotation. A box with several faults gets the first reason that applies.

    Annotations of dropped images are dropped with their image and are not counted as rejects themselves.

    Args:
      annotations: the parsed file.
      keep_images: bool [I], from `validate_images`.
      min_side: boxes with a shorter side, in pixels after clipping, are dropped.

    Returns:
      (keep bool [A], boxes float64 [A, 4] as [ymin, xmin, ymax, xmax] clipped to the image, rejects).
    """
    image = _first_rank(annotations.image_ids, annotations.annotation_image_ids)
    with_image = (image >= 0) & keep_images[image]
    considered = with_image | (image < 0)
    height, width = annotations.image_sizes[image].T.astype(np.float64)
    x, y, w, h = annotations.bboxes.T
    with np.errstate(invalid="ignore"):
        boxes = np.stack([y, x, y + h, x + w], axis=1)
        clipped = np.maximum(boxes, 0)
        for axis, size in enumerate((height, width)):
            np.minimum(clipped[:, axis::2], size[:, None], out=clipped[:, axis::2])
        sides = clipped[:, 2:] - clipped[:, :2]
        boxes -= clipped
        moved = np.abs(boxes, out=boxes).max(axis=1, initial=0)
    category_ids = np.array([category_id for category_id, _ in annotations.categories], np.int64)

    faults: list[tuple[Reason, np.ndarray]] = [
        (Reason.WRONG_LENGTH, annotations.bbox_lengths != 4),
        (Reason.NOT_FINITE, ~np.isfinite(annotations.bboxes).all(axis=1)),
        (Reason.UNKNOWN_IMAGE, image < 0),
        (Reason.UNKNOWN_CATEGORY, ~np.isin(annotations.annotation_category_ids, category_ids)),
        (Reason.DUPLICATE_ANNOTATION, _repeated_boxes(annotations)),
        (Reason.NON_POSITIVE_SIDE, ~((w > 0) & (h > 0))),
        (Reason.OUTSIDE_IMAGE, ~(sides > 0).all(axis=1)),
        (Reason.BOX_TOO_SMALL, ~(sides >= min_side).all(axis=1)),
        (Reason.CLIPPED_TO_IMAGE, moved > CLIP_TOLERANCE),
    ]
    keep = with_image.copy()
    rejects: list[Reject] = []
    open_cases = considered
    for reason, fault in faults:
        hit = open_cases & fault
        open_cases = open_cases & ~fault
        if reason.action is Action.DROPPED:
            keep &= ~hit
        rejects.extend(_box_reject(annotations, reason, int(i), int(image[i])) for i in np.flatnonzero(hit))
    return keep, clipped, rejects


def _box_reject(annotations: CocoAnnotations, reason: Reason, i: int, image: int) -> Reject:
    length = int(annotations.bbox_lengths[i])
    if length != 4:
        values = annotations.odd_boxes.get(i, "bbox is not a list of four numbers")
    else:
        values = f"bbox {[round(v, 4) for v in annotations.bboxes[i].tolist()]}"
    if image >= 0:
        values += ", image {} x {} (height x width)".format(*annotations.image_sizes[image])
    return Reject(
        reason=reason,
        image_id=int(annotations.annotation_image_ids[i]),
        annotation_id=int(annotations.annotation_ids[i]),
        file_name=annotations.file_names[image] if image >= 0 else None,
        detail=f"{values}, category {annotations.annotation_category_ids[i]}",
    )


def _first_rank(ids: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """int64: the first position of each wanted id in `ids`, -1 where it is missing."""
    order = np.argsort(ids, kind="stable")
    at = np.minimum(np.searchsorted(ids[order], wanted), len(ids) - 1)
    return np.where(ids[order][at] == wanted, order[at], -1)


def _repeated_boxes(annotations: CocoAnnotations) -> np.ndarray:
    """bool: an earlier entry has the same image, category, box and crowd flag, under another id."""
    if not len(annotations.annotation_ids):
        return np.zeros(0, bool)
    columns = (
        annotations.annotation_image_ids,
        annotations.annotation_category_ids,
        annotations.crowd,
        *annotations.bboxes.T,
    )
    order = np.lexsort(columns)  # stable: the first of equal entries stays first
    same = np.logical_and.reduce([column[order][1:] == column[order][:-1] for column in columns])
    repeats = np.zeros(len(order), bool)
    repeats[order[1:]] = same
    return repeats


def check_limits(
    split: str,
    *,
    images: int,
    boxes: int,
    rejects: Mapping[str, int],
    max_fraction: float,
    where: str,
) -> None:
    """Applies the rule in this module's docstring. For the arguments, see `exceeded_limit`.

    Raises:
      InputError: a limit is exceeded.
    """
    message = exceeded_limit(split, images=images, boxes=boxes, rejects=rejects, max_fraction=max_fraction, where=where)
    if message:
        raise InputError(message)


def exceeded_limit(
    split: str,
    *,
    images: int,
    boxes: int,
    rejects: Mapping[str, int],
    max_fraction: float,
    where: str,
) -> str | None:
    """The message for the user if a limit of the rule is exceeded, else None.

    Args:
      split: "train" or "val".
      images: number of images in the annotations.
      boxes: number of boxes in the annotations.
      rejects: counts by reason code.
      max_fraction: the limit for training.
      where: where to find the rejects, for the message.
    """
    for thing, total, of_box in (("images", images, False), ("boxes", boxes, True)):
        dropped = {
            code: n
            for code, n in rejects.items()
            if Reason(code).of_box == of_box and Reason(code).action is Action.DROPPED
        }
        count = sum(dropped.values())
        reasons = ", ".join(f"{code} {n}" for code, n in dropped.items())
        if split == "val":
            if count and not of_box:
                return (
                    f"{count} of {total} validation images cannot be used ({reasons}; {where}); without them the score "
                    "would no longer be comparable: repair them, or remove them from the annotation file"
                )
        elif count > max_fraction * total:
            return (
                f"{count} of {total} training {thing} were rejected ({reasons}; {where}), more than "
                f"max_reject_fraction {max_fraction:g}; repair the data or raise --max-reject-fraction"
            )
    return None
