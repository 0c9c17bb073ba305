"""Records what `smoke.json` holds: a few validation images, and the served model's detections in each."""

import base64
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from beam_preprocess.base.errors import InputError
from beam_preprocess.format.annotations import CocoAnnotations
from trainer.coco.results import Results
from trainer.config.export_config import ExportConfig
from trainer.promotion.smoke import IMAGE_BYTES, SMOKE_IMAGES, Smoke, SmokeImage
from trainer.saved_model.inference import Signature, detect, read_image

CANDIDATES = 4
"""Images that are looked at for each one that is recorded."""
BOUNDS = ("max_score_delta", "max_box_delta", "max_unmatched")


def record_smoke(
    signature: Signature,
    coco: CocoAnnotations,
    images: str,
    predictions: Results,
    *,
    model_digest: str,
    label_map: Mapping[str, Any],
    parity: Mapping[str, Any] | None,
) -> Smoke | None:
    """Records images that are spread over the file, those with the surest detections first.

    Each image is a call of its own, as a server's requests are: floats depend on the batch.

    Args:
      signature: the served one.
      coco: the annotation file.
      images: folder of the images.
      predictions: detections of all images.
      model_digest: of the model.
      label_map: the model's.
      parity: what its export measured; None takes the default bounds.

    Returns:
      What was recorded; None if no image is small enough for a request, or all are WebP.
    """
    by_score = np.argsort(predictions.score, kind="stable")
    best = dict(zip(predictions.image_id[by_score].tolist(), predictions.score[by_score].tolist(), strict=True))
    total = len(coco.image_ids)
    spread = {int(i) for i in np.linspace(0, total - 1, min(total, CANDIDATES * SMOKE_IMAGES)).round()} if total else {}
    recorded: list[SmokeImage] = []
    for i in sorted(spread, key=lambda i: (-best.get(int(coco.image_ids[i]), 0.0), i)):
        if len(recorded) == SMOKE_IMAGES:
            break
        path = os.path.join(images, coco.file_names[i])
        encoded = read_image(path)
        if len(encoded) <= IMAGE_BYTES and not _is_webp(encoded):
            recorded.append(_image(coco.file_names[i], encoded, detect(signature, [path])[0]))
    if not recorded:
        return None
    defaults = ExportConfig()
    bounds: Mapping[str, Any] = (parity or {}).get("bounds") or {name: getattr(defaults, name) for name in BOUNDS}
    height, width = label_map["input_size"]
    try:
        return Smoke(
            model_digest=model_digest,
            input_size=(int(height), int(width)),
            score_threshold=float(label_map["score_threshold"]),
            images=tuple(recorded),
            **{name: float(bounds[name]) for name in BOUNDS},
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"the model's label map or parity.json is damaged ({error!r}); export the model again"
        ) from error


def _is_webp(encoded: bytes) -> bool:
    """Google's container has TensorFlow 2.15, which can't decode it."""
    return encoded[:4] == b"RIFF" and encoded[8:12] == b"WEBP"


def _image(name: str, encoded: bytes, found: Mapping[str, Any]) -> SmokeImage:
    height, width = (int(v) for v in found["image_size"])
    kept = found["detection_scores"] > 0  # peaks that the decoder masked are not detections
    boxes = found["detection_boxes"][kept].astype(np.float64) * [height, width, height, width]
    return SmokeImage(
        file_name=name,
        height=height,
        width=width,
        image_bytes=base64.b64encode(encoded).decode(),
        boxes=tuple((box[0], box[1], box[2], box[3]) for box in boxes.tolist()),
        scores=tuple(found["detection_scores"][kept].tolist()),
        categories=tuple(found["detection_classes"][kept].tolist()),
    )
