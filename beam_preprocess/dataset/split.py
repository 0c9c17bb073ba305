"""Splits one COCO file into training and validation by a hash of each image's content.

The side of an image depends on its bytes alone: it stays where it is when images are added, renamed or relabelled, and
copies of one image are never in both splits.
"""

import hashlib
import itertools
import json
import math
import os
from dataclasses import dataclass
from typing import Any

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.files import read_json, write_text
from beam_preprocess.dataset.foreign import read_annotations
from beam_preprocess.dataset.validate import validate_images
from beam_preprocess.format.sources import SourceFile, list_images, usable_names


@dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """The two annotation files, which share the image folder."""

    train: str
    val: str
    train_images: int
    val_images: int

    def line(self, fraction: float) -> str:
        """What was done, for the user."""
        return (
            f"split by image content (--val-fraction {fraction:g}): {self.train_images} training and "
            f"{self.val_images} validation images; {self.train} and {self.val}"
        )


def check_fraction(fraction: float) -> None:
    """Refuses a fraction that leaves nothing.

    Raises:
      InputError: not between 0 and 1.
    """
    if not 0 < fraction < 1:
        raise InputError(f"--val-fraction {fraction:g}: give a fraction between 0 and 1, such as 0.2")


def split_by_content(images: str, annotations: str, fraction: float, output: str) -> Split:
    """Writes the annotation files of both splits. Their names hold a digest of their content.

    Each image of the validation split has a hash below `fraction`. At least one image is on each side.

    Args:
      images: image folder, a path or URI.
      annotations: COCO file.
      fraction: share of validation images.
      output: folder for the two files.

    Raises:
      InputError: no such file or folder, fewer than two images in it, or a fraction out of range.
    """
    check_fraction(fraction)
    coco = read_annotations(annotations)
    keep, rejects = validate_images(coco)
    files = list_images(images, usable_names(coco, keep, rejects, images), annotations)
    shares = {name: _share(file) for name, file in files.items()}
    if len(set(shares.values())) < 2:
        raise InputError(f"{annotations}: --val-fraction needs at least two different images; {images} has one of them")
    limit = min(max(fraction, math.nextafter(min(shares.values()), 1)), max(shares.values()))
    val_names = {name for name, share in shares.items() if share < limit}
    content: dict[str, Any] = read_json(annotations, "export the annotations again")
    val_ids = {entry["id"] for entry in content["images"] if entry["file_name"] in val_names}
    written = {}
    for split in ("train", "val"):
        written[split] = _written(_part(content, val_ids, of_val=split == "val"), output, split)
    return Split(
        train=written["train"],
        val=written["val"],
        train_images=len(shares) - len(val_names),
        val_images=len(val_names),
    )


def first_images(images: str, annotations: str, count: int, output: str) -> str:
    """Writes an annotation file with all categories and the first images of another that are in the folder.

    Args:
      images: image folder on this machine.
      annotations: COCO file.
      count: maximum number of images.
      output: folder for the file.

    Raises:
      InputError: no such file, or not COCO.
    """
    read_annotations(annotations)
    content: dict[str, Any] = read_json(annotations, "export the annotations again")
    present = (entry for entry in content["images"] if os.path.isfile(os.path.join(images, entry["file_name"])))
    chosen = {entry["id"] for entry in itertools.islice(present, count)} or {e["id"] for e in content["images"][:count]}
    return _written(_part(content, chosen, of_val=True), output, "first")


def _share(file: SourceFile) -> float:
    """A number from 0 to 1 that depends on the file's content."""
    digest = hashlib.sha256(f"{file.size} {file.crc32c}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _written(part: dict[str, Any], output: str, name: str) -> str:
    text = json.dumps(part)
    digest = hashlib.sha256(text.encode()).hexdigest()
    path = f"{output.rstrip('/')}/{name}-{digest[:16]}.json"
    write_text(path, text)
    return path


def _part(content: dict[str, Any], val_ids: set[Any], *, of_val: bool) -> dict[str, Any]:
    """One side of the file. What belongs to no image in the file stays in training, where it is counted as a reject."""
    return {
        **content,
        "images": [entry for entry in content["images"] if (entry["id"] in val_ids) == of_val],
        "annotations": [entry for entry in content["annotations"] if (entry["image_id"] in val_ids) == of_val],
    }
