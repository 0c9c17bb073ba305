"""When boxes are taken for another convention, and when not."""

import json
from pathlib import Path

import numpy as np
import pytest

from beam_preprocess.dataset.suspicious_boxes import found
from beam_preprocess.format.annotations import CocoAnnotations, load_annotations

RNG = np.random.default_rng(0)
GOOD = [[float(v) for v in (*RNG.uniform(0, 50, 2), *RNG.uniform(10, 40, 2))] for _ in range(20)]
CORNERS = [[x, y, x + w, y + h] for x, y, w, h in GOOD]
ALONG_THE_EDGE = [[100 - w, 100 - h, w + 0.9, h + 0.9] for _, _, w, h in GOOD]
LARGE = [[5.0, 5.0, 90.0, 90.0]] * 20


def coco(folder: Path, boxes: list[list[float]]) -> CocoAnnotations:
    path = folder / "a.json"
    annotations = [{"id": i, "image_id": 1, "category_id": 1, "bbox": box} for i, box in enumerate(boxes)]
    images = [{"id": 1, "file_name": "a.jpg", "height": 100, "width": 100}]
    path.write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "one"}]})
    )
    return load_annotations(str(path))


@pytest.mark.parametrize(
    ("boxes", "expected"),
    [
        (GOOD, []),
        (LARGE, []),  # x < width, as for corners, but inside
        (ALONG_THE_EDGE, []),  # rounded
        ([], []),
        (CORNERS, [("corners", True)]),
        ([*CORNERS[:9]], [("corners", False)]),  # too few to be sure
        ([*CORNERS, [60.0, 60.0, 10.0, 10.0]], [("corners", True)]),  # one that is something else
        ([*GOOD[:17], *([[80.0, 80.0, 40.0, 40.0]] * 3)], [("clipped_boxes", False)]),
        ([[v / 100 for v in box] for box in GOOD], [("below_a_pixel", True)]),
        ([*GOOD, [3.0, 3.0, 0.5, 0.5]], []),  # a reject of its own
    ],
)
def test_conventions(boxes: list[list[float]], expected: list[tuple[str, bool]], tmp_path: Path) -> None:
    assert [(code, error) for code, _, error in found(coco(tmp_path, boxes))] == expected
