"""A small valid COCO data set with two splits, whose files a test changes before it writes them."""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

HEIGHT, WIDTH = 96, 128
CLASSES = (1, 2)
COUNTS = {"train": (8, 1, "a"), "val": (4, 101, "v")}
"""Split to (number of images, first image id, first letter of the names)."""


@dataclass
class Side:
    """One split."""

    content: dict[str, Any]
    """The annotation file."""
    files: dict[str, bytes]
    """The image folder: content by path."""

    @property
    def images(self) -> list[dict[str, Any]]:
        return list(self.content["images"])

    @property
    def annotations(self) -> list[dict[str, Any]]:
        return list(self.content["annotations"])


@dataclass
class Made:
    """Both splits, and where they are written."""

    folder: Path
    train: Side
    val: Side
    one_folder: bool = False
    """Whether both splits share the image folder of training."""

    @property
    def sides(self) -> Iterator[Side]:
        yield from (self.train, self.val)

    def images_of(self, split: str) -> Path:
        return self.folder / ("train" if self.one_folder else split)

    def write(self) -> "Made":
        for split in COUNTS:
            side: Side = getattr(self, split)
            for name, data in side.files.items():
                path = self.images_of(split) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
            (self.folder / f"{split}.json").write_text(json.dumps(side.content))
        return self

    def data(self) -> dict[str, str]:
        """The pipeline's data parameters."""
        found = {}
        for split in COUNTS:
            found[f"{split}_images"] = str(self.images_of(split))
            found[f"{split}_annotations"] = str(self.folder / f"{split}.json")
        return found

    def flags(self) -> list[str]:
        """The data flags of `centernet check` and `centernet run`."""
        pairs = ((f"--{name.replace('_', '-')}", value) for name, value in self.data().items())
        return [word for pair in pairs for word in pair]


def make(folder: Path) -> Made:
    """The valid data set: nothing about it is suspicious."""
    return Made(folder, **{split: _side(*values) for split, values in COUNTS.items()})


def _side(count: int, first: int, letter: str) -> Side:
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    files = {}
    for image_id in range(first, first + count):
        rng = np.random.default_rng(image_id)
        name = f"{letter}{image_id:03d}.jpg"
        images.append({"id": image_id, "file_name": name, "height": HEIGHT, "width": WIDTH})
        files[name] = encoded(picture(image_id))
        for number, category_id in enumerate(CLASSES):
            w, h = (int(v) for v in rng.integers(20, 40, 2))
            x, y = int(rng.integers(40, WIDTH - w)), int(rng.integers(30, HEIGHT - h))
            annotation_id = 10 * image_id + number
            entry = {"id": annotation_id, "image_id": image_id, "category_id": category_id, "bbox": [x, y, w, h]}
            annotations.append({**entry, "iscrowd": 0})
    categories = [{"id": c, "name": f"class {c}"} for c in CLASSES]
    return Side({"images": images, "annotations": annotations, "categories": categories}, files)


def picture(seed: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Smooth colours, different for every seed."""
    noise = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


def encoded(pixels: np.ndarray, form: str = "JPEG", **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, form, **options)
    return stream.getvalue()
