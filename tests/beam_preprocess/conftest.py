"""Small COCO data sets, made by code."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image


def textured(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth colour texture, uint8 [height, width, 3]."""
    noise = np.random.default_rng(seed).integers(0, 256, (max(2, height // 8), max(2, width // 8), 3), np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


@dataclass
class DataSet:
    """Files on disk, and the annotation file's content to change."""

    images: Path
    annotations: Path
    content: dict[str, Any]

    def save(self) -> None:
        """Writes the content as Python's json does, NaN included."""
        self.annotations.write_text(json.dumps(self.content))


@pytest.fixture
def data_set(tmp_path: Path) -> DataSet:
    """Twelve JPEGs of different sizes with 0 to 3 boxes each, sparse category ids, one crowd region."""
    return make_data_set(tmp_path, 12)


@pytest.fixture
def make_data(tmp_path: Path) -> Callable[[int], DataSet]:
    """A data set of any number of images."""
    return lambda images: make_data_set(tmp_path, images)


def make_data_set(folder: Path, count: int) -> DataSet:
    """Image ids are sparse; image k holds k % 4 boxes, the last one of image 3 a crowd region."""
    rng = np.random.default_rng(7)
    (folder / "images").mkdir()
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for k in range(count):
        height, width = int(rng.integers(40, 90)), int(rng.integers(40, 90))
        name = f"photo_{k:03d}.jpg"
        Image.fromarray(textured(height, width, k)).save(folder / "images" / name, quality=90)
        images.append({"id": 100 + 7 * k, "file_name": name, "height": height, "width": width})
        for b in range(k % 4):
            x, y = float(rng.uniform(0, width / 2)), float(rng.uniform(0, height / 2))
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": 100 + 7 * k,
                    "category_id": (3, 18, 90)[b],
                    "bbox": [x, y, float(rng.uniform(4, width / 2)), float(rng.uniform(4, height / 2))],
                    "iscrowd": int(k == 3 and b == 2),
                    "segmentation": [[1.0, 2.0, 3.0]],
                }
            )
    categories = [{"id": 90, "name": "ninety"}, {"id": 3, "name": "three"}, {"id": 18, "name": "eighteen"}]
    content = {"info": {}, "images": images, "annotations": annotations, "categories": categories}
    data = DataSet(folder / "images", folder / "annotations.json", content)
    data.save()
    return data
