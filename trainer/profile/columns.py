"""Which statistics an image has: a function of the model's classes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Group = Literal["picture", "image", "detections", "classes"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Class:
    """One of the model's classes."""

    id: int
    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Measures:
    """What the statistics depend on besides the image. Only rows with equal measures can be compared."""

    classes: tuple[Class, ...]
    threshold: float
    """Detections count from this score on: the export's threshold, because a promotion may change others later."""
    input_size: tuple[int, int]
    """(height, width) of the network's input: pictures are measured at the size in which the network sees them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """One statistic."""

    name: str
    group: Group


PICTURE = ("brightness", "contrast", "sharpness", "saturation", "red - green", "yellow - blue")
IMAGE = ("image size", "image shape")
DETECTIONS = (
    "detections",
    "doubtful detections",
    "best score",
    "mean score",
    "box size",
    "box shape",
    "box x",
    "box y",
)


def columns(measures: Measures) -> tuple[Column, ...]:
    """The statistics, in the order of a row's values."""
    named: tuple[tuple[tuple[str, ...], Group], ...] = (
        (PICTURE, "picture"),
        (IMAGE, "image"),
        (DETECTIONS, "detections"),
        (tuple(_class_names(measures)), "classes"),
    )
    return tuple(Column(name=name, group=group) for names, group in named for name in names)


def class_detections(measures: Measures) -> range:
    """Where a row's values have the number of detections of each class."""
    end = len(columns(measures))
    return range(end - 2 * len(measures.classes), end, 2)


def measures_of(label_map: Mapping[str, Any]) -> Measures:
    """The measures of an exported model, from its label map."""
    height, width = label_map["input_size"]
    return Measures(
        classes=tuple(Class(id=int(entry["id"]), name=str(entry["name"])) for entry in label_map["categories"]),
        threshold=float(label_map["score_threshold"]),
        input_size=(int(height), int(width)),
    )


def _class_names(measures: Measures) -> list[str]:
    """Two per class. Classes that share a name get their ids."""
    names = [entry.name for entry in measures.classes]
    shown = [f"{entry.name} ({entry.id})" if names.count(entry.name) > 1 else entry.name for entry in measures.classes]
    return [f"{name}: {statistic}" for name in shown for statistic in ("detections", "best score")]
