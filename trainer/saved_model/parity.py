"""Is the exported model the one that was trained? Both get the same image files, and their detections are compared.

One side is the SavedModel, loaded from its files and fed with encoded bytes. The other is the checkpoint's network in
this process, in float32; `geometry` maps its boxes back. It gets the pixels that the SavedModel's own `network_input`
makes of the files, and these must equal what Pillow, libjpeg and OpenCV make for the records, but for rounding
(`served_pixels`). So pixels and detections are each bounded on their own: a network can amplify a grey level without
limit (one that was overfitted to 8 images moved a score by 0.025), which says nothing about its export. The sides share
only the network and, when it is on, the averaging of test-time augmentation.

A detection counts when its score reaches the export's threshold. The best detection of each image always counts, so
that a model without confident detections is compared too. Each detection is matched at most once: to the detection of
the other side with the same category and the largest IoU, of at least 0.5 (or within a pixel).

A pair agrees when scores and boxes differ by at most the bounds. Detections of a pair that doesn't agree are unmatched,
as those without a partner are, and the share of unmatched detections is what is bounded. A bound on the largest
difference would refuse correct exports: where two neighbouring cells have nearly the same heatmap value, a difference
of a millionth decides which of them is the peak, and the box moves by a cell (one of 1,108 detections of a model).
"""

import json
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from beam_preprocess.base.errors import InputError
from beam_preprocess.format import geometry
from beam_preprocess.format.annotations import CocoAnnotations, of_images
from beam_preprocess.format.scored_file import load_scored
from trainer.coco import metrics as coco_metrics
from trainer.coco.agreement import Detections, match
from trainer.config.sections import ExportConfig
from trainer.model import tta
from trainer.model.network import CenterNetModel
from trainer.saved_model.inference import Signature, read_image
from trainer.saved_model.served_pixels import MAX_PIXEL_DELTA, Pixels, ServedPixels

PARITY_SCHEMA = 3
BATCH = 8
PROGRESS_SECONDS = 5.0

Detector = Callable[[Sequence[bytes], Sequence[tuple[int, int]]], list[Detections]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Parity:
    """Content of `assets.extra/parity.json`."""

    schema_version: int
    data_digest: str
    """Identifies annotations and images; "" when unknown."""
    images: int
    matched: int
    """Pairs of detections that agree."""
    unmatched: int
    """Detections of either side without a counterpart that agrees."""
    apart: int
    """Pairs among them whose scores or boxes differ by more than a bound."""
    max_score_delta: float
    """Largest difference of the scores of a pair, of those apart as well."""
    max_box_delta: float
    """Largest difference of a coordinate of a pair, in pixels of the original image."""
    max_box_delta_input: float
    """The same in pixels of the network's input; the bound applies to this one."""
    max_pixel_delta: float
    """Largest difference of the network's input from the records' pixels, in grey levels."""
    ap_checkpoint: float | None
    """AP on these images; None when they have no objects."""
    ap_export: float | None
    bounds: dict[str, float]
    passed: bool

    @property
    def failures(self) -> tuple[str, ...]:
        """What exceeds its bound, in words."""
        deltas = {name: getattr(self, name) for name in ("max_score_delta", "max_box_delta", "max_box_delta_input")}
        found = []
        if not self.max_pixel_delta <= MAX_PIXEL_DELTA:
            found.append(
                f"its network gets other pixels than the records have, by up to {self.max_pixel_delta:g} grey levels; "
                f"rounding explains {MAX_PIXEL_DELTA}"
            )
        found += [f"{name} is {value}" for name, value in deltas.items() if not math.isfinite(value)]
        compared = 2 * self.matched + self.unmatched
        if not self.unmatched <= self.bounds["max_unmatched"] * compared:
            found.append(
                f"{self.unmatched} of {compared} detections have no counterpart within the bounds, more than "
                f"max_unmatched {self.bounds['max_unmatched']:g}; the largest difference is {self.max_score_delta:.6g} "
                f"for scores and {self.max_box_delta_input:.6g} pixels of the input for boxes"
            )
        if self.ap_checkpoint is not None and self.ap_export is not None:
            difference = abs(self.ap_export - self.ap_checkpoint)
            if not difference <= self.bounds["max_ap_delta"]:
                found.append(f"AP {self.ap_export:.4f} instead of {self.ap_checkpoint:.4f}")
        elif self.ap_checkpoint != self.ap_export:
            found.append(f"AP {self.ap_export} instead of {self.ap_checkpoint}")
        return tuple(found)

    def to_json(self) -> str:
        """Text of the file."""
        return json.dumps(asdict(self), indent=1, allow_nan=False) + "\n"


def bounds_of(config: ExportConfig) -> dict[str, float]:
    """The bounds of parity, by name."""
    names = ("max_score_delta", "max_box_delta", "max_ap_delta", "max_unmatched")
    return {name: getattr(config, name) for name in names}


def measure(
    *,
    checkpoint: Detector,
    exported: Detector,
    pixels: ServedPixels | None = None,
    images: str,
    annotations: str,
    input_size: tuple[int, int],
    config: ExportConfig,
    data_digest: str = "",
) -> Parity:
    """Runs both sides over images spread evenly over the annotation file.

    Args:
      checkpoint: one side.
      exported: the other.
      pixels: what `checkpoint` gets; None if they aren't the export's, and so not compared.
      images: folder of the images.
      annotations: COCO annotation file.
      input_size: (height, width) of the network.
      config: how many images, and the bounds.
      data_digest: identifies the images, for the file.

    Raises:
      InputError: the annotation file cannot be scored, or an image is missing, unreadable or not of the annotated size.
    """
    coco = load_scored(annotations)
    chosen = _spread(len(coco.image_ids), config.parity_images)
    categories = {category_id for category_id, _ in coco.categories}
    sides: tuple[list[dict[str, Any]], list[dict[str, Any]]] = ([], [])
    pairs: list[tuple[float, float, float]] = []
    unmatched = 0
    started = announced = time.monotonic()
    for start in range(0, len(chosen), BATCH):
        batch = chosen[start : start + BATCH]
        encoded = [read_image(os.path.join(images, coco.file_names[i])) for i in batch]
        declared = [(int(height), int(width)) for height, width in coco.image_sizes[batch]]
        results = checkpoint(encoded, declared), exported(encoded, declared)
        for image, size, *both in zip(batch, declared, *results, strict=True):
            zoom = geometry.letterbox(size, input_size).scale
            found, alone = match(both[0], both[1], config.score_threshold)
            for i, j in found:
                delta = np.abs(both[0]["boxes"][i] - both[1]["boxes"][j])
                score = abs(float(both[0]["scores"][i]) - float(both[1]["scores"][j]))
                pairs.append((score, float(delta.max()), float((delta * [*zoom, *zoom]).max())))
            unmatched += alone
            for side, detections in zip(sides, both, strict=True):
                side += _to_coco(int(coco.image_ids[image]), detections, categories)
        if time.monotonic() - announced > PROGRESS_SECONDS:
            announced = time.monotonic()
            done = start + len(batch)
            left = (announced - started) / done * (len(chosen) - done)
            print(f"progress: parity {done}/{len(chosen)} images  ETA {left:.0f} s", flush=True)
    aps = _score(coco, chosen, sides)
    deltas = np.array(pairs, np.float64).reshape(-1, 3)
    largest = deltas.max(axis=0, initial=0.0).tolist()
    # Written so that NaN is apart, too.
    apart = int((~((deltas[:, 0] <= config.max_score_delta) & (deltas[:, 2] <= config.max_box_delta))).sum())
    measured: dict[str, Any] = {
        "schema_version": PARITY_SCHEMA,
        "data_digest": data_digest,
        "images": len(chosen),
        "matched": len(pairs) - apart,
        "unmatched": unmatched + 2 * apart,
        "apart": apart,
        "max_score_delta": largest[0],
        "max_box_delta": largest[1],
        "max_box_delta_input": largest[2],
        "max_pixel_delta": pixels.max_delta if pixels else 0.0,
        "ap_checkpoint": aps[0],
        "ap_export": aps[1],
        "bounds": bounds_of(config),
    }
    return Parity(**measured, passed=not Parity(**measured, passed=False).failures)


def checkpoint_detector(
    model: CenterNetModel,
    *,
    pixels: Pixels,
    input_size: tuple[int, int],
    category_ids: Sequence[int],
    flip: bool,
) -> Detector:
    """The network of the checkpoint, with numpy mapping its boxes back.

    Args:
      model: built under the float32 policy, weights restored.
      pixels: what the network gets of the image files.
      input_size: (height, width) of the network's input at scale 1.
      category_ids: by class index.
      flip: whether the export averages over the mirrored image.
    """

    def run(encoded: Sequence[bytes], declared: Sequence[tuple[int, int]]) -> list[Detections]:
        inputs = [model.normalize(batch) for batch in pixels(encoded, declared)]
        outputs = tta.detect(model, inputs, flip=flip)
        boxes, scores, classes = (outputs[name].numpy() for name in ("boxes", "confidence", "classes"))
        found = []
        for i, size in enumerate(declared):
            original = geometry.to_original(geometry.letterbox(size, input_size), boxes[i])
            clipped = np.clip(original, 0, [*size, *size])
            found.append({"boxes": clipped, "scores": scores[i], "categories": np.asarray(category_ids)[classes[i]]})
        return found

    return run


def export_detector(signature: Signature) -> Detector:
    """The `serving_default` signature of a SavedModel, loaded from its files."""

    def run(encoded: Sequence[bytes], declared: Sequence[tuple[int, int]]) -> list[Detections]:
        outputs = {name: value.numpy() for name, value in signature(image_bytes=tf.constant(encoded)).items()}
        found = []
        for i, size in enumerate(declared):
            if tuple(outputs["image_size"][i].tolist()) != size:
                raise InputError(f"image of {size}: the export reads {outputs['image_size'][i].tolist()}; report it")
            found.append(
                {
                    "boxes": outputs["detection_boxes"][i] * np.array([*size, *size], np.float64),
                    "scores": outputs["detection_scores"][i],
                    "categories": outputs["detection_classes"][i],
                }
            )
        return found

    return run


def _spread(total: int, count: int) -> list[int]:
    """Positions spread evenly over `total` images."""
    return [int(i) for i in np.unique(np.linspace(0, total - 1, min(count, total)).round().astype(int))]


def _to_coco(image_id: int, detections: Detections, categories: set[int]) -> list[dict[str, Any]]:
    found = []
    for box, score, category in zip(*(detections[k].tolist() for k in ("boxes", "scores", "categories")), strict=True):
        if score > 0 and category in categories:
            ymin, xmin, ymax, xmax = box
            bbox = [xmin, ymin, xmax - xmin, ymax - ymin]
            found.append({"image_id": image_id, "category_id": category, "bbox": bbox, "score": score})
    return found


def _score(coco: CocoAnnotations, chosen: Sequence[int], sides: Sequence[list[dict[str, Any]]]) -> list[float | None]:
    """AP of each side on these images only."""
    part = of_images(coco, chosen)
    return [coco_metrics.score(part, side, part.image_ids.tolist()).values["ap"] for side in sides]
