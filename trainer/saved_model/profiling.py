"""Measures what `profile.npz` holds: a model's validation images, and its detections on them."""

import os
import time
from collections.abc import Mapping
from typing import Any

from beam_preprocess.format.annotations import CocoAnnotations
from trainer.profile.columns import measures_of
from trainer.profile.measure import measured
from trainer.profile.profile import Profile, chosen
from trainer.profile.rows import stack
from trainer.saved_model.inference import Signature, detect, read_image

PROGRESS_SECONDS = 5.0


def measure_profile(
    signature: Signature,
    coco: CocoAnnotations,
    images: str,
    *,
    model_digest: str,
    data_digest: str,
    label_map: Mapping[str, Any],
    batch_size: int,
) -> Profile:
    """Runs the images through the model once more: what is scored is what the served signature says.

    Args:
      signature: the one with features, or the served one of a model that lacks it.
      coco: the annotation file.
      images: folder of the images.
      model_digest: of the model.
      data_digest: of images and annotations.
      label_map: the model's.
      batch_size: images per call.
    """
    measures = measures_of(label_map)
    places = chosen(coco.file_names)
    rows = []
    announced = time.monotonic()
    for start in range(0, len(places), batch_size):
        batch = places[start : start + batch_size]
        paths = [os.path.join(images, coco.file_names[i]) for i in batch]
        for i, path, found in zip(batch, paths, detect(signature, paths), strict=True):
            rows.append(measured(int(coco.image_ids[i]), coco.file_names[i], read_image(path), found, measures))
        if time.monotonic() - announced > PROGRESS_SECONDS:
            announced = time.monotonic()
            print(f"progress: profile {len(rows)}/{len(places)} images", flush=True)
    return Profile(model_digest=model_digest, data_digest=data_digest, measures=measures, rows=stack(rows))
