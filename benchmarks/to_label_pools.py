"""The data sets of `benchmarks.to_label`: parts of one, and images to choose from that a camera might have seen."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance

from beam_preprocess.base import files

COPY = "copy-"
NIGHT = "night-"


@dataclass(frozen=True, kw_only=True, slots=True)
class Data:
    """A data set's folders and the content of its annotation files."""

    train_images: str
    val_images: str
    train: dict[str, Any]
    val: dict[str, Any]
    name: str

    def names(self) -> list[str]:
        """File names of the training images, sorted."""
        return sorted(image["file_name"] for image in self.train["images"])


def load(folder: Path) -> Data:
    """Reads a data set."""
    from pipeline.graph.layouts import find_layout

    found = find_layout(str(folder), lambda path: Path(path).exists(), splits=False)
    return Data(
        train_images=found["train_images"],
        val_images=found["val_images"],
        train=files.read_json(found["train_annotations"], "give another --coco-dir"),
        val=files.read_json(found["val_annotations"], "give another --coco-dir"),
        name=folder.name,
    )


def write_data(data: Data, names: Sequence[str], work: Path) -> Path:
    """A data set with some of the training images; its name is a function of them."""
    digest = hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()[:12]
    folder = work / "data" / f"{data.name}-{len(names)}-{digest}"
    folder.joinpath("annotations").mkdir(parents=True, exist_ok=True)
    for name, target in (("train2017", data.train_images), ("val2017", data.val_images)):
        if not (folder / name).exists():
            (folder / name).symlink_to(target, target_is_directory=True)
    wanted = set(names)
    images = [image for image in data.train["images"] if image["file_name"] in wanted]
    ids = {image["id"] for image in images}
    annotations = [entry for entry in data.train["annotations"] if entry["image_id"] in ids]
    contents = {"train": {**data.train, "images": images, "annotations": annotations}, "val": data.val}
    for split, content in contents.items():
        files.write_text(str(folder / "annotations" / f"instances_{split}2017.json"), json.dumps(content))
    return folder


def with_copies(data: Data, names: Sequence[str], count: int, folder: Path) -> tuple[Data, list[str]]:
    """(the data set with `count` copies of some training images, the copies' file names).

    Copies are a little darker or lighter, and have the labels of their image.
    """
    random = np.random.default_rng(5)

    def changed(image: Image.Image) -> Image.Image:
        return ImageEnhance.Brightness(image).enhance(random.uniform(0.85, 1.15))

    _link(data.train_images, data.names(), folder)
    more, copies = data.train, []
    for number in range(count):
        more, added = _with_changed(more, names, f"{COPY}{number}-", data.train_images, folder, changed)
        copies += added
    return replace(data, train=more, train_images=str(folder), name=f"{data.name}-{count}-copies"), copies


def with_nights(data: Data, nights: Sequence[str], pool: Sequence[str], folder: Path) -> tuple[Data, list[str]]:
    """(the data set after a drift, the images to choose from).

    Some of those were taken `nights`. The validation images are there twice: by day and by night.
    """
    train, val = folder / "train", folder / "val"
    _link(data.train_images, data.names(), train)
    more, dark = _with_changed(data.train, nights, NIGHT, data.train_images, train, by_night)
    val_names = [image["file_name"] for image in data.val["images"]]
    _link(data.val_images, val_names, val)
    both, _ = _with_changed(data.val, val_names, NIGHT, data.val_images, val, by_night)
    drifted = replace(
        data,
        train=more,
        val=both,
        train_images=str(train),
        val_images=str(val),
        name=f"{data.name}-{len(nights)}-night",
    )
    return drifted, [*sorted(set(pool) - set(nights)), *dark]


def by_night(image: Image.Image) -> Image.Image:
    """The picture of a camera with infrared light: grey, three tenths as bright, and with noise."""
    grey = np.asarray(image.convert("L"), np.float32)
    noise = np.random.default_rng(image.size).normal(0, 8, grey.shape)
    return Image.fromarray(np.clip(0.3 * grey + noise, 0, 255).astype(np.uint8)).convert("RGB")


def _link(source: str, names: Sequence[str], folder: Path) -> None:
    """Makes a folder with links to these files."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if not (folder / name).exists():
            (folder / name).symlink_to(Path(source) / name)


def _with_changed(
    content: dict[str, Any],
    names: Sequence[str],
    prefix: str,
    source: str,
    folder: Path,
    change: Callable[[Image.Image], Image.Image],
) -> tuple[dict[str, Any], list[str]]:
    """(annotations in which changed pictures of these images were added, with the same labels; their file names)."""
    images, annotations, added = [*content["images"]], [*content["annotations"]], []
    entries = {image["file_name"]: image for image in images}
    next_image = 1 + max(entry["id"] for entry in images)
    next_annotation = 1 + max(entry["id"] for entry in annotations)
    objects: dict[int, list[dict[str, Any]]] = {}
    for entry in annotations:
        objects.setdefault(entry["image_id"], []).append(entry)
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        with Image.open(Path(source) / name) as image:
            image.load()
        added.append(prefix + name.replace("/", "-"))
        change(image).save(folder / added[-1], quality=90)
        images.append({**entries[name], "file_name": added[-1], "id": next_image})
        for entry in objects.get(entries[name]["id"], []):
            annotations.append({**entry, "id": next_annotation, "image_id": next_image})
            next_annotation += 1
        next_image += 1
    return {**content, "images": images, "annotations": annotations}, added
