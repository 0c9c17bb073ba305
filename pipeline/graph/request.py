"""What a user asks to run, whatever runs it: data, configuration, seed, registry."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from beam_preprocess.base.errors import InputError
from pipeline.graph.layouts import coco_layout, find_layout
from trainer.watch.since import parse_since
from trainer.weights.catalogue import CATALOGUE

TRAINING, WATCH = "training", "watch"
PIPELINES = {TRAINING: "centernet-training", WATCH: "centernet-watch"}
"""What --pipeline takes, and the name that services know. The graphs, which have it too, need kfp."""
FILES = {TRAINING: "pipeline.yaml", WATCH: "watch.yaml"}
"""Where `centernet compile` writes them."""
DATA = ("train_images", "train_annotations", "val_images", "val_annotations")
"""The pipeline's parameters that name data."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRequest:
    """One run; "" and None mean not given."""

    pipeline: str = TRAINING
    """A key of `PIPELINES`."""
    images: str = ""
    """New images that the champion watches."""
    since: str = ""
    """Only images that are newer: a date, a time with zone, or an age such as 7d."""
    train_images: str = ""
    train_annotations: str = ""
    val_images: str = ""
    val_annotations: str = ""
    coco_dir: str = ""
    """Instead of the four: a folder in one of the layouts of `pipeline.graph.layouts`."""
    val_fraction: float = 0.0
    """Share of the training images that are split off for validation, by a hash of their content; 0: the data has its
    own validation images."""
    config: str = ""
    """A YAML file, or the name of a shipped configuration."""
    changes: tuple[str, ...] = ()
    """`--set`: dotted keys with values, such as gate.min_ap=0.4."""
    init: str = ""
    """`--init`; the changes hold it too. Without `config`, a start of the catalogue may bring its own."""
    seed: int = 0
    registry: str = ""
    only_if_changed: bool = False
    """End after the data check if data, configuration, seed and image are those of the last completed run."""
    cached: bool = True
    """Reuse results of earlier runs with the same inputs."""
    strict: bool = False
    """Warnings about the data are errors."""
    notify: str = ""
    """Mail address that gets the outcome."""
    webhook_secret: str = ""
    """Name of the secret that holds the address of a webhook, which gets the outcome."""
    tensorboard: str = ""
    """Full name of a Vertex AI TensorBoard, which gets the training's curves."""
    experiment: str = ""
    """Name of an experiment of Vertex AI Experiments, which gets the run."""

    def __post_init__(self) -> None:
        if self.pipeline not in PIPELINES:
            raise InputError(f"--pipeline {self.pipeline}: unknown; known are {', '.join(PIPELINES)}")
        if self.pipeline == TRAINING:
            for name in ("images", "since"):
                if value := getattr(self, name):
                    raise InputError(f"--{name} {value}: only a watch takes it; add --pipeline watch, or leave it out")
        elif self.only_if_changed:
            raise InputError("--only-if-changed: a watch always compares with the last completed run; leave it out")

    def watched(self) -> dict[str, str]:
        """The parameters that only the watch has.

        Raises:
          InputError: it has no images, or the time is none.
        """
        if self.pipeline != WATCH:
            return {}
        if not self.images:
            raise InputError("--images: not given; --pipeline watch needs the folder of the new images")
        if self.since:
            parse_since(self.since)
        return {"images": self.images, **({"since": self.since} if self.since else {})}

    def config_or(self, default: str) -> str:
        """The configuration: the one given, or the one that ships for the start, or the default."""
        entry = next((entry for entry in CATALOGUE if entry.name == self.init), None)
        return self.config or (entry.config if entry else "") or default

    def data(self) -> dict[str, str]:
        """The data parameters that are given, by name: all four or none; with `val_fraction` the two of training.

        Raises:
          InputError: some of them, or `coco_dir` and one of them.
        """
        given = {name: getattr(self, name) for name in DATA if getattr(self, name)}
        if self.coco_dir:
            if given:
                raise InputError(f"--coco-dir {self.coco_dir}: given together with {_flags(list(given)[:1])}; give one")
            return coco_layout(self.coco_dir)
        if self.val_fraction and (extra := [name for name in given if name.startswith("val_")]):
            raise InputError(f"--val-fraction {self.val_fraction:g}: given together with {_flags(extra[:1])}; give one")
        wanted = [name for name in DATA if not (self.val_fraction and name.startswith("val_"))]
        missing = [name for name in wanted if name not in given]
        if self.val_fraction and missing:
            raise InputError(f"{_flags(missing)}: not given; --val-fraction needs them, or --coco-dir")
        if given and missing:
            fix = "give all four data flags, or --coco-dir"
            if missing == ["val_images", "val_annotations"]:
                fix += ", or --val-fraction 0.2 to split the training images"
            raise InputError(f"{_flags(missing)}: not given; {fix}")
        return given

    def located(self, exists: Callable[[str], bool]) -> "RunRequest":
        """The request with `coco_dir` replaced by the data parameters of the layout that is found there.

        Args:
          exists: whether there is a file or folder.

        Raises:
          InputError: see `data`, and `layouts.find_layout`.
        """
        self.data()
        if not self.coco_dir:
            return self
        found: dict[str, Any] = find_layout(self.coco_dir, exists, splits=bool(self.val_fraction))
        return replace(self, coco_dir="", **found)


def _flags(names: Sequence[str]) -> str:
    return ", ".join(f"--{name.replace('_', '-')}" for name in names)
