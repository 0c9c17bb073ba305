"""Folders that hold a whole data set, as COCO's own archives and the exports of labelling tools lay them out."""

from collections.abc import Callable
from dataclasses import dataclass

from beam_preprocess.base.errors import InputError


@dataclass(frozen=True, slots=True)
class Part:
    """One split, relative to the folder."""

    images: str
    annotations: str


COCO_2017 = (
    Part("train2017", "annotations/instances_train2017.json"),
    Part("val2017", "annotations/instances_val2017.json"),
)
PAIRS = (
    COCO_2017,
    # Roboflow
    (Part("train", "train/_annotations.coco.json"), Part("valid", "valid/_annotations.coco.json")),
    (Part("train", "train/_annotations.coco.json"), Part("val", "val/_annotations.coco.json")),
    # MMDetection, Datumaro, CVAT with subsets
    (Part("train", "annotations/instances_train.json"), Part("val", "annotations/instances_val.json")),
    (Part("images/train", "annotations/instances_train.json"), Part("images/val", "annotations/instances_val.json")),
    (Part("images", "annotations/instances_train.json"), Part("images", "annotations/instances_val.json")),
    (Part("images", "annotations/train.json"), Part("images", "annotations/val.json")),
)
"""(training, validation) of each layout. The first one whose files and folders all exist is used."""

SINGLES = (
    Part("images", "annotations/instances_default.json"),  # CVAT
    Part("images", "result.json"),  # Label Studio
    Part("data", "labels.json"),  # FiftyOne
    Part("images", "annotations.json"),
    Part("images", "_annotations.coco.json"),
    *dict.fromkeys(train for train, _ in PAIRS),  # an export without validation images
)
"""Layouts with one annotation file, which `--val-fraction` splits."""


def coco_layout(folder: str) -> dict[str, str]:
    """The data parameters of a folder laid out as COCO 2017."""
    return _parameters(folder, *COCO_2017)


def find_layout(folder: str, exists: Callable[[str], bool], *, splits: bool) -> dict[str, str]:
    """The data parameters of a folder: all four, or with `splits` those of training.

    Args:
      folder: a path or URI.
      exists: whether there is a file or folder.
      splits: whether the caller splits one annotation file.

    Raises:
      InputError: the folder has validation annotations and the caller splits, or it has none and the caller doesn't.
    """
    for train, val in PAIRS:
        if all(exists(_below(folder, path)) for part in (train, val) for path in (part.images, part.annotations)):
            if splits:
                raise InputError(
                    f"--val-fraction: {folder} has validation annotations ({val.annotations}); leave out "
                    "--val-fraction, or give --train-images and --train-annotations alone"
                )
            return _parameters(folder, train, val)
    for part in SINGLES:
        if all(exists(_below(folder, path)) for path in (part.images, part.annotations)):
            if splits:
                return _parameters(folder, part)
            if part != COCO_2017[0]:
                raise InputError(
                    f"--coco-dir {folder}: has one annotation file ({part.annotations}) and no validation images; "
                    "give --val-fraction 0.2 to split it by image content, or all four data flags"
                )
    return coco_layout(folder)


def known_files() -> str:
    """The annotation files that are looked for, for messages."""
    return ", ".join(dict.fromkeys(part.annotations for part in (*(train for train, _ in PAIRS), *SINGLES)))


def _parameters(folder: str, train: Part, val: Part | None = None) -> dict[str, str]:
    parameters = {}
    for split, part in (("train", train), ("val", val)):
        if part:
            parameters[f"{split}_images"] = _below(folder, part.images)
            parameters[f"{split}_annotations"] = _below(folder, part.annotations)
    return parameters


def _below(folder: str, path: str) -> str:
    return f"{folder.rstrip('/') or '/'}/{path}"
