"""A recorded `smoke.json`, and the answers of servers that agree with it or not."""

import base64
from typing import Any

from trainer.promotion.smoke import Smoke, SmokeImage

BOXES = ((10.0, 20.0, 50.0, 60.0), (30.0, 5.0, 90.0, 45.0))


def smoke(count: int = 3, **changes: Any) -> Smoke:
    """Images of 100 x 200 pixels, each with two detections above the threshold and one below."""
    images = tuple(
        SmokeImage(
            file_name=f"{i}.jpg",
            height=100,
            width=200,
            image_bytes=base64.b64encode(b"\xff\xd8 image %d" % i).decode(),
            boxes=(*BOXES, (0.0, 0.0, 8.0, 9.0)),
            scores=(0.9, 0.6, 0.1),
            categories=(1, 2 + i, 1),
        )
        for i in range(count)
    )
    values: dict[str, Any] = {
        "model_digest": "m" * 64,
        "input_size": (64, 64),
        "score_threshold": 0.3,
        "max_score_delta": 0.01,
        "max_box_delta": 2.0,
        "max_unmatched": 0.01,
        "images": images,
    }
    return Smoke(**values | changes)


def prediction(image: SmokeImage, *, shift: float = 0.0) -> dict[str, Any]:
    """The answer of a server about a recorded image; `shift` moves each box down, in pixels of the original."""
    size = [image.height, image.width] * 2
    boxes = [[y + shift, x, bottom + shift, right] for y, x, bottom, right in image.boxes]
    return {
        "detection_boxes": [[v / side for v, side in zip(box, size, strict=True)] for box in boxes],
        "detection_scores": list(image.scores),
        "detection_classes": list(image.categories),
        "num_detections": 2,
        "image_size": [image.height, image.width],
    }
