"""Annotation files of several kinds of data, without images."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from beam_preprocess.format.annotations import CocoAnnotations, load_annotations
from pipeline.recommend.facts import Facts, gather


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """What a data set is like."""

    images: tuple[int, int] = (300, 80)
    """Training and validation images."""
    sizes: tuple[tuple[int, int], ...] = ((480, 640),)
    """(height, width), in turns."""
    objects: int = 4
    """Per image."""
    sides: tuple[float, float] = (60.0, 200.0)
    classes: tuple[str, ...] = ("bolt", "nut")


KINDS = {
    "photographs": Kind(),
    "cards": Kind(images=(291, 72), sizes=((504, 378),) * 6 + ((540, 960),), objects=2, sides=(90, 200)),
    "tiny dense": Kind(images=(40, 10), sizes=((430, 1764),), objects=40, sides=(4, 12), classes=("grain", "speck")),
    "too small for any input": Kind(images=(40, 10), sizes=((6000, 8000),), objects=40, sides=(4, 12)),
    "80 classes": Kind(images=(2000, 400), classes=tuple(f"thing {i}" for i in range(80))),
    "one class": Kind(classes=("bolt",)),
    "12 images": Kind(images=(12, 3)),
    "both orientations": Kind(sizes=((480, 640), (640, 480))),
    "arrows": Kind(classes=("arrow_left", "arrow_right")),
    "digits": Kind(classes=tuple("0123456789")),
    "crowded": Kind(images=(50, 20), sizes=((1000, 1000),), objects=180, sides=(20, 30)),
    "large validation": Kind(images=(5000, 5000), objects=2),
}


def facts_of(name: str, folder: Path) -> Facts:
    """The facts of a kind of data; the images aren't there."""
    kind = KINDS[name]
    parsed = {
        split: _file(kind, split, count, folder) for split, count in zip(("train", "val"), kind.images, strict=True)
    }
    return gather(parsed, str(folder))


def _file(kind: Kind, split: str, count: int, folder: Path) -> CocoAnnotations:
    draw = np.random.default_rng(count)
    images, annotations = [], []
    for i in range(count):
        height, width = kind.sizes[i % len(kind.sizes)]
        images.append({"id": i + 1, "file_name": f"{split}{i}.jpg", "height": height, "width": width})
        sides = draw.uniform(*kind.sides, (kind.objects, 2))
        corners = draw.uniform(0, 1, (kind.objects, 2)) * (np.array([width, height]) - sides)
        for corner, side in zip(corners, sides, strict=True):
            number = len(annotations)
            annotations.append(
                {
                    "id": number + 1,
                    "image_id": i + 1,
                    "category_id": number % len(kind.classes) + 1,
                    "bbox": [*corner.round(2).tolist(), *side.round(2).tolist()],
                    "area": float(side.prod()),
                    "iscrowd": 0,
                }
            )
    categories = [{"id": i + 1, "name": name} for i, name in enumerate(kind.classes)]
    path = folder / f"{split}.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return load_annotations(str(path))
