"""A small synthetic COCO-format data set, for the demo and for tests.

Textured, tilted, overlapping shapes of six classes and different sizes are drawn on noisy backgrounds, among clutter
that belongs to no class. Some images contain a crowd (a cluster of tiny shapes under one `iscrowd` box), some contain
no object. Each class has its own outline, pattern and range of hues, and the ranges of neighbouring classes overlap;
clutter may have any of them. The layout is COCO's: `annotations/instances_{train,val}2017.json`, `train2017/`,
`val2017/`. A box is the tight box of the visible pixels, an area is their number; there are no segmentations.
"""

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from beam_preprocess.base.errors import InputError
from pipeline.local import demo_shapes

MARKER = "demo-data.json"
_VERSION = 5  # increase it when the drawing changes: folders of older versions are then generated again


@dataclass(frozen=True, kw_only=True, slots=True)
class DemoData:
    """Parameters of the data set; equal parameters give equal files."""

    train_images: int = 300
    val_images: int = 80
    height: tuple[int, int] = (192, 256)
    """Minimum and maximum image height in pixels."""
    width: tuple[int, int] = (240, 320)
    objects: tuple[int, int] = (2, 5)
    """Minimum and maximum number of objects per image, except in empty images."""
    side: tuple[float, float] = (60.0, 156.0)
    """Diameter of a shape's circle in pixels."""
    tilt: float = 20.0
    """Maximum rotation of a shape, in degrees."""
    min_visible: float = 0.7
    """Minimum fraction of every shape that stays visible; a shape that would cover more is placed elsewhere."""
    empty_fraction: float = 0.05
    crowd_fraction: float = 0.06
    classes: tuple[str, ...] = ()
    """Names of the classes that are drawn; () for all."""
    light: float = 1.0
    """Factor on the brightness: less than 1 is darker."""
    jpeg_quality: int = 90
    seed: int = 0


CATEGORIES: tuple[tuple[int, str], ...] = (
    (1, "disc"),
    (2, "triangle"),
    (3, "square"),
    (5, "star"),
    (7, "ring"),
    (8, "cross"),
)
"""The category ids have gaps, as COCO's have."""


def categories(parameters: DemoData) -> tuple[tuple[int, str], ...]:
    """Those that are drawn."""
    return tuple((i, name) for i, name in CATEGORIES if name in (parameters.classes or dict(CATEGORIES).values()))


def generate(folder: str | Path, parameters: DemoData | None = None) -> Path:
    """Writes the data set, unless it exists already.

    Args:
      folder: becomes the COCO folder; its parent is created if missing.
      parameters: what to draw; None draws the demo's data.

    Returns:
      The folder.

    Raises:
      InputError: the folder contains something other than demo data, or cannot be written.
    """
    folder, parameters = Path(folder), parameters or DemoData()
    wanted = {"version": _VERSION, "parameters": json.loads(json.dumps(asdict(parameters)))}
    found = _read_marker(folder)
    if found == wanted:
        return folder
    partial = folder.with_name(f"{folder.name}.partial-{os.getpid()}")
    try:
        for split, count in (("train", parameters.train_images), ("val", parameters.val_images)):
            _write_split(partial, split, count, parameters)
        (partial / MARKER).write_text(json.dumps(wanted, indent=1) + "\n")
        if found is not None:
            shutil.rmtree(folder)
        partial.rename(folder)
    except PermissionError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror}); choose another --demo-data-dir") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def _read_marker(folder: Path) -> dict[str, Any] | None:
    """The parameters of the data in the folder; None if the folder is missing or empty."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return None
    try:
        marker: dict[str, Any] = json.loads((folder / MARKER).read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise InputError(
            f"{folder}: contains something other than demo data (no readable {MARKER}); "
            "choose another --demo-data-dir, or --coco-dir to train on it"
        ) from error
    return marker


def _write_split(folder: Path, split: str, count: int, parameters: DemoData) -> None:
    images_folder, annotations_folder = folder / f"{split}2017", folder / "annotations"
    images_folder.mkdir(parents=True)
    annotations_folder.mkdir(exist_ok=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for index in range(count):
        # One generator per image: the image depends only on the seed, the split and its number.
        rng = np.random.default_rng([parameters.seed, 0 if split == "train" else 1, index])
        picture, objects = draw_image(rng, parameters)
        image_id = index + 1 if split == "train" else 100_000 + index + 1
        name = f"{image_id:012d}.jpg"
        if not cv2.imwrite(str(images_folder / name), picture, [cv2.IMWRITE_JPEG_QUALITY, parameters.jpeg_quality]):
            raise OSError(f"{images_folder / name}: OpenCV could not write it; is the disk full?")
        images.append({"id": image_id, "file_name": name, "height": picture.shape[0], "width": picture.shape[1]})
        for thing in objects:
            annotations.append({"id": len(annotations) + 1, "image_id": image_id, **thing})
    content = {
        "info": {"description": "generated demo data", "version": str(_VERSION)},
        "licenses": [],
        "images": images,
        "annotations": annotations,
        "categories": [{"id": i, "name": name, "supercategory": "shape"} for i, name in categories(parameters)],
    }
    (annotations_folder / f"instances_{split}2017.json").write_text(json.dumps(content))


def draw_image(rng: np.random.Generator, parameters: DemoData) -> tuple[demo_shapes.Image, list[dict[str, Any]]]:
    """Draws one image.

    Returns:
      The image, uint8 [height, width, 3], and its annotations without ids: category_id, bbox [x, y, w, h] in pixels,
      area, iscrowd.
    """
    size = (
        int(rng.integers(parameters.height[0], parameters.height[1] + 1)),
        int(rng.integers(parameters.width[0], parameters.width[1] + 1)),
    )
    picture = demo_shapes.background(rng, size)
    demo_shapes.clutter(rng, picture)
    annotations: list[dict[str, Any]] = []
    if rng.random() >= parameters.empty_fraction:
        crowd = [_draw_crowd(rng, picture, parameters)] if rng.random() < parameters.crowd_fraction else []
        annotations = _draw_objects(rng, picture, crowd, parameters)
    return demo_shapes.photograph(rng, picture, parameters.light), annotations


@dataclass(slots=True)
class _Placed:
    category: int
    visible: demo_shapes.Mask
    """The part that later shapes have not covered."""
    area: float
    """Area of the whole shape inside the image, in pixels."""
    crowd: bool = False

    def left_under(self, mask: demo_shapes.Mask) -> float:
        """Fraction of the area that would stay visible below `mask`."""
        return float((self.visible * (1 - mask)).sum()) / self.area


def _draw_objects(
    rng: np.random.Generator, picture: demo_shapes.Image, crowd: list[_Placed], parameters: DemoData
) -> list[dict[str, Any]]:
    size = (picture.shape[0], picture.shape[1])
    known = categories(parameters)
    placed = list(crowd)
    for _ in range(int(rng.integers(parameters.objects[0], parameters.objects[1] + 1))):
        for _attempt in range(20):
            category, name = known[int(rng.integers(len(known)))]
            low, high = parameters.side
            # Small shapes are more frequent, as in photographs.
            radius = 0.5 * (low + (high - low) * rng.random() ** 1.5)
            centre = (_along(rng, size[0], radius), _along(rng, size[1], radius))
            aspect = rng.uniform(0.75, 1.0)
            angle = np.radians(rng.uniform(-parameters.tilt, parameters.tilt))
            mask = demo_shapes.shape_mask(name, size, centre, radius, aspect, angle)
            whole = float(mask.sum())
            inside = whole / (demo_shapes.unit_area(name) * radius**2 * aspect)
            shares = [inside] + [other.left_under(mask) for other in placed]
            if min(shares) >= parameters.min_visible:
                for other in placed:
                    other.visible = other.visible * (1 - mask)
                placed.append(_Placed(category, mask, whole))
                demo_shapes.paint(rng, picture, mask, demo_shapes.SURFACES[name])
                break
    return [_annotation(thing) for thing in placed]


def _along(rng: np.random.Generator, length: int, radius: float) -> float:
    """A centre on one axis; the shape may extend over the edge by a part of its radius."""
    return float(rng.uniform(0.6 * radius, max(length - 0.6 * radius, 0.6 * radius + 1)))


def _draw_crowd(rng: np.random.Generator, picture: demo_shapes.Image, parameters: DemoData) -> _Placed:
    """A cluster of shapes that are too small to tell apart, annotated with one box."""
    size = (picture.shape[0], picture.shape[1])
    known = categories(parameters)
    category, name = known[int(rng.integers(len(known)))]
    spread = np.minimum(rng.uniform(14, 26, 2), np.array(size) / 5)
    middle = [rng.uniform(2 * s, length - 2 * s) for s, length in zip(spread, size, strict=True)]
    union = np.zeros(size, np.float32)
    for _ in range(int(rng.integers(12, 25))):
        y, x = np.clip(rng.normal(middle, spread / 1.5), 0, [size[0] - 1, size[1] - 1])
        mask = demo_shapes.shape_mask(name, size, (y, x), rng.uniform(4, 7), 1.0, rng.uniform(0, 2 * np.pi))
        demo_shapes.paint(rng, picture, mask, demo_shapes.SURFACES[name])
        union = np.maximum(union, mask)
    return _Placed(category, union, float(union.sum()), crowd=True)


def _annotation(thing: _Placed) -> dict[str, Any]:
    rows, columns = np.nonzero(thing.visible >= 0.5)
    top, left = int(rows.min()), int(columns.min())
    box = [left, top, int(columns.max()) + 1 - left, int(rows.max()) + 1 - top]
    return {"category_id": thing.category, "bbox": box, "area": len(rows), "iscrowd": int(thing.crowd)}
