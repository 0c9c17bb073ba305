"""What a configuration can be written from: counts, sizes and names of a data set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, UnidentifiedImageError

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.storage import file_system
from beam_preprocess.dataset.sizes import Objects, objects_of
from beam_preprocess.dataset.validate import validate_boxes, validate_images
from beam_preprocess.format.annotations import CocoAnnotations, class_map
from beam_preprocess.format.config import PreprocessConfig

SAMPLE = 64
"""Training images whose headers are read."""
ALIKE = 1.25
"""Images have one shape if their aspect ratios are within this factor of the median …"""
ENOUGH_ALIKE = 0.8
"""… for this fraction of them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Facts:
    """A data set, as far as its configuration depends on it."""

    train_images: int
    val_images: int
    classes: tuple[str, ...]
    val_objects: tuple[int, ...]
    """Scored validation objects of each class."""
    image_size: tuple[int, int]
    """Median (height, width) of the training images."""
    alike: float
    """Fraction of the training images with about the median's shape."""
    objects: Objects
    """Training objects."""
    most_objects: int
    """In one training image."""
    sampled: int
    """Image files whose header was read."""
    odd: int
    """Those that can't be read, or have another size than the annotations say."""

    @property
    def aspect(self) -> float:
        """Height over width of the input: the images', or 1 where they differ."""
        height, width = self.image_size
        return height / width if self.alike >= ENOUGH_ALIKE else 1.0


def gather(parsed: Mapping[str, CocoAnnotations], folder: str) -> Facts:
    """The facts of both annotation files, and of the headers of a sample of the training images.

    Args:
      parsed: the sound files of both splits, "train" and "val".
      folder: of the training images, a path or URI.

    Raises:
      InputError: the training data has no usable object.
    """
    config = PreprocessConfig()
    train, val = parsed["train"], parsed["val"]
    categories, _ = class_map(train.categories, config.class_index)
    keep, _ = validate_images(train)
    keep_boxes, boxes, _ = validate_boxes(train, keep, config.min_box_side)
    keep_boxes &= ~train.crowd
    objects = objects_of(train, keep_boxes, boxes, config.stride)
    if objects is None:
        raise InputError(f"{train.uri}: no usable object in an image of known size; centernet check lists the reasons")
    keep_val, _ = validate_images(val)
    scored = validate_boxes(val, keep_val, config.min_box_side)[0] & ~val.crowd
    of_class = dict(zip(*np.unique(val.annotation_category_ids[scored], return_counts=True), strict=True))
    sizes = train.image_sizes[keep]
    size, alike = _shape(sizes)
    sampled, odd = _sample(train, np.flatnonzero(keep), folder)
    return Facts(
        train_images=int(keep.sum()),
        val_images=int(keep_val.sum()),
        classes=tuple(category.name for category in categories),
        val_objects=tuple(int(of_class.get(category.id, 0)) for category in categories),
        image_size=size,
        alike=alike,
        objects=objects.sample(),
        most_objects=int(np.unique(train.annotation_image_ids[keep_boxes], return_counts=True)[1].max()),
        sampled=sampled,
        odd=odd,
    )


def _shape(sizes: np.ndarray) -> tuple[tuple[int, int], float]:
    """(median height and width, fraction of the images with about that shape)."""
    aspects = sizes[:, 0] / sizes[:, 1]
    middle = np.median(aspects)
    alike = np.abs(np.log(aspects / middle)) <= np.log(ALIKE)
    height, width = np.median(sizes[alike] if alike.any() else sizes, axis=0)
    return (round(height), round(width)), float(alike.mean())


def _sample(coco: CocoAnnotations, rows: np.ndarray, folder: str) -> tuple[int, int]:
    """(number of image files looked at, those that are missing, broken or of another size). Reads headers only."""
    chosen: Sequence[int] = rows[np.unique(np.linspace(0, len(rows) - 1, SAMPLE).round().astype(int))].tolist()
    fs, root = file_system(folder)
    odd = 0
    for i in chosen:
        try:
            with fs.open(f"{root.rstrip('/')}/{coco.file_names[i]}") as file, Image.open(file) as image:
                odd += image.size[::-1] != tuple(coco.image_sizes[i].tolist())
        except (OSError, UnidentifiedImageError, Image.DecompressionBombError):
            odd += 1
    return len(chosen), odd
