"""AP while training: the network's detections on the validation records, in pixels of its input.

A letterbox scales both axes alike, so IoU doesn't change. AP equals the exported model's except for the bounds of
small, medium and large, and the JPEG coding of the records. It is only monitored; it never selects a checkpoint:
`trainer.evaluate` scores what ships, on the original images.
"""

from typing import Any

import numpy as np
import tensorflow as tf

from trainer.coco import accumulate, matching
from trainer.data.heatmap import Labels

AP, AP50 = "ap", "ap50"

_NAMES = (
    "image_weight",
    "boxes",
    "scores",
    "classes",
    "object_cell",
    "object_offset",
    "object_size",
    "object_class",
    "object_mask",
    "ignore_mask",
)


@tf.autograph.experimental.do_not_convert
def step_outputs(outputs: dict[str, Any], labels: Labels) -> dict[str, tf.Tensor]:
    """What the batch of one replica adds: the model's detections and the batch's objects."""
    return {
        "image_weight": labels.image_weight,
        "boxes": outputs["boxes"],
        "scores": outputs["confidence"],
        "classes": outputs["classes"],
        "object_cell": labels.object_cell,
        "object_offset": labels.object_offset,
        "object_size": labels.object_size,
        "object_class": labels.object_class,
        "object_mask": labels.object_mask,
        "ignore_mask": labels.ignore_mask,
    }


def collect(state: list[dict[str, np.ndarray]] | None, step: dict[str, Any]) -> list[dict[str, np.ndarray]]:
    """Appends the arrays of one step to those of earlier steps, without the images that only fill up a batch.

    Args:
      state: of the earlier steps.
      step: for each name of `step_outputs`, a tuple with one entry per replica.
    """
    state = [] if state is None else state
    for replica in range(len(step["image_weight"])):
        arrays = {name: step[name][replica].numpy() for name in _NAMES}
        real = arrays.pop("image_weight") > 0
        state.append({name: array[real] for name, array in arrays.items()})
    return state


def score(batches: list[dict[str, np.ndarray]], *, map_width: int, stride: int, num_classes: int) -> dict[str, float]:
    """AP and AP50 of the collected images, by the same matching as `trainer.evaluate`.

    Args:
      batches: from `collect`; each image once.
      map_width: heatmap width in cells.
      stride: input pixels per cell.
      num_classes: of the model.

    Returns:
      {"ap", "ap50"}: fractions; -1, as in pycocotools, if there are no objects.
    """
    objects: list[tuple[np.ndarray, ...]] = []
    detections: list[tuple[np.ndarray, ...]] = []
    first = 0
    for batch in batches:
        crowd = np.zeros(batch["object_mask"].shape, bool)
        crowd[:, : batch["ignore_mask"].shape[1]] = batch["ignore_mask"] > 0
        image, row = np.nonzero((batch["object_mask"] > 0) | crowd)
        y, x = np.divmod(batch["object_cell"], map_width)
        centre = np.stack([y, x], axis=-1) + batch["object_offset"]
        box = stride * np.concatenate([centre - batch["object_size"] / 2, centre + batch["object_size"] / 2], axis=-1)
        objects.append((first + image, batch["object_class"][image, row], box[image, row], crowd[image, row]))
        image, row = np.nonzero(batch["scores"] > 0)
        detections.append(
            (first + image, batch["classes"][image, row], batch["boxes"][image, row], batch["scores"][image, row])
        )
        first += len(batch["scores"])
    image, category, box, crowd = (np.concatenate(parts) for parts in zip(*objects, strict=True))
    truth = matching.Objects(
        image=image.astype(np.int64),
        category=category.astype(np.int64),
        box=_to_coco(box),
        area=_to_coco(box)[:, 2:].prod(axis=1),
        crowd=crowd,
    )
    image, category, box, confidence = (np.concatenate(parts) for parts in zip(*detections, strict=True))
    found = matching.Detections(
        image=image.astype(np.int64),
        category=category.astype(np.int64),
        box=_to_coco(box),
        score=confidence.astype(np.float64),
    )
    stats = accumulate.accumulate(matching.match(truth, found, images=first, categories=num_classes)).stats
    return {AP: stats[0], AP50: stats[1]}


def _to_coco(box: np.ndarray) -> np.ndarray:
    """[ymin, xmin, ymax, xmax] to [x, y, width, height]."""
    box = box.astype(np.float64)
    return np.stack([box[:, 1], box[:, 0], box[:, 3] - box[:, 1], box[:, 2] - box[:, 0]], axis=1)
