"""What a file must fulfil before it is scored: every annotation counts, and every image can be opened.

A training file may hold entries that cannot be used; they are counted with a reason. In a validation file they would
change what the score means, so they are errors, before any long work.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from beam_preprocess.base.errors import InputError
from beam_preprocess.format.annotations import CocoAnnotations, load_annotations, scorable
from beam_preprocess.format.image_entries import image_problems

NAMED = 3
"""Number of entries that a message names."""

_FIX = "repair them, or remove them from the annotation file"


def load_scored(uri: str) -> CocoAnnotations:
    """Parses an annotation file whose images are scored.

    Args:
      uri: local path or fsspec URI.

    Raises:
      InputError: see `annotations.load_annotations`; or an annotation, an image entry or a category cannot be used. The
        message names the first ones and how many there are.
    """
    coco = load_annotations(uri)
    problem = unusable_images(coco) or unusable_categories(coco) or unscorable(coco)
    if problem:
        raise InputError(problem)
    return coco


def unscorable(coco: CocoAnnotations) -> str:
    """The message about annotations that cannot be scored; "" if all can."""
    rows = np.flatnonzero(~scorable(coco)).tolist()
    if not rows:
        return ""
    named = "; ".join(f"annotations[{row}] {_fault(coco, row)}" for row in rows[:NAMED])
    return f"{coco.uri}: {len(rows)} of {len(coco.bboxes)} annotations cannot be scored ({named}{_rest(rows)}); {_FIX}"


def unusable_images(coco: CocoAnnotations) -> str:
    """The message about image entries that cannot be scored; "" if all can."""
    found = list(image_problems(coco))
    if not found:
        return ""
    named = "; ".join(
        f"images[{i}] (id {coco.image_ids[i]}, {coco.file_names[i]!r}): {reason.value}, {detail}"
        for i, reason, detail in found[:NAMED]
    )
    total = len(coco.image_ids)
    return f"{coco.uri}: {len(found)} of {total} images cannot be scored ({named}{_rest(found)}); {_FIX}"


def unusable_categories(coco: CocoAnnotations) -> str:
    """The message about categories that share an id; "" if none do."""
    repeated = sorted(i for i, count in Counter(i for i, _ in coco.categories).items() if count > 1)
    return f"{coco.uri}: categories: the ids {repeated} are not unique; give each category its own" if repeated else ""


def _fault(coco: CocoAnnotations, row: int) -> str:
    image, category = int(coco.annotation_image_ids[row]), int(coco.annotation_category_ids[row])
    if coco.bbox_lengths[row] != 4:
        fault = f"has {coco.odd_boxes.get(row, 'no box of four numbers')}"
    elif not np.isfinite(coco.bboxes[row]).all():
        fault = "has a bbox with a number that is missing or not finite"
    elif image not in coco.image_ids:
        return f"is of image_id {image}, which is not in the file"
    else:
        return f"is of category_id {category}, which is not in the file"
    return f"(image_id {image}) {fault}"


def _rest(found: Sequence[object]) -> str:
    return f"; and {len(found) - NAMED} more" if len(found) > NAMED else ""
