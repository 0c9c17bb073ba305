"""Small data sets of the kinds that annotation tools export: a valid pair of splits, and changes to it."""

import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 48, 64
CATEGORIES = (3, 18)


@dataclass
class Split:
    """One split: the content of its annotation file, and its image files."""

    content: dict[str, Any]
    files: dict[str, bytes] = field(default_factory=dict)
    raw: bytes | None = None
    """Written instead of the content."""

    @property
    def images(self) -> list[dict[str, Any]]:
        return list(self.content["images"])

    @property
    def annotations(self) -> list[dict[str, Any]]:
        return list(self.content["annotations"])

    def encode_as(self, encode: Callable[[np.ndarray], bytes], suffix: str) -> None:
        """Encodes all images again, under names that end with the suffix."""
        for i, image in enumerate(self.images):
            del self.files[image["file_name"]]
            image["file_name"] = f"{i}.{suffix}"
            self.files[image["file_name"]] = encode(pixels(image["id"]))

    def write(self, folder: Path) -> tuple[str, str]:
        """Writes images and annotation file; returns their paths."""
        for name, data in self.files.items():
            path = folder / "images" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        path = folder / "annotations.json"
        path.write_bytes(self.raw if self.raw is not None else json.dumps(self.content).encode())
        return str(folder / "images"), str(path)


@dataclass
class Export:
    """Both splits."""

    train: Split
    val: Split

    @property
    def both(self) -> tuple[Split, Split]:
        return self.train, self.val


def pixels(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.kron(rng.integers(0, 256, (HEIGHT // 8, WIDTH // 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)


def saved(image: Image.Image | np.ndarray, form: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(stream, form, **options)
    return stream.getvalue()


def valid_export(train: int = 6, val: int = 3) -> Export:
    """Two objects in each image."""
    return Export(_split(1, train), _split(101, val))


def _split(first: int, count: int) -> Split:
    images, annotations, files = [], [], {}
    for image_id in range(first, first + count):
        name = f"{image_id}.jpg"
        images.append({"id": image_id, "file_name": name, "height": HEIGHT, "width": WIDTH})
        files[name] = saved(pixels(image_id), "JPEG", quality=90)
        for k, category in enumerate(CATEGORIES):
            box = [4 + 24 * k, 6 + image_id % 5, 20, 16]
            row = {"id": 10 * image_id + k, "image_id": image_id, "category_id": category, "bbox": box}
            annotations.append(row | {"area": 320, "iscrowd": 0, "segmentation": []})
    categories = [{"id": category, "name": f"class{category}"} for category in CATEGORIES]
    return Split({"images": images, "annotations": annotations, "categories": categories}, files)
