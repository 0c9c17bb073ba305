"""What a user asks to run, whatever runs it: data, configuration, seed, registry."""

from collections.abc import Sequence
from dataclasses import dataclass

from beam_preprocess.base.errors import InputError

SPLITS = ("train", "val")
DATA = ("train_images", "train_annotations", "val_images", "val_annotations")
"""The pipeline's parameters that name data."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRequest:
    """One run; "" and None mean not given."""

    train_images: str = ""
    train_annotations: str = ""
    val_images: str = ""
    val_annotations: str = ""
    coco_dir: str = ""
    """Instead of the four: a folder laid out as COCO's own."""
    config: str = ""
    """A YAML file, or the name of a shipped configuration."""
    changes: tuple[str, ...] = ()
    """`--set`: dotted keys with values, such as gate.min_ap=0.4."""
    seed: int = 0
    registry: str = ""
    only_if_changed: bool = False
    """End after the data check if data, configuration, seed and image are those of the last completed run."""
    cached: bool = True
    """Reuse results of earlier runs with the same inputs."""
    notify: str = ""
    """Address that gets the outcome."""

    def data(self) -> dict[str, str]:
        """The data parameters that are given, by name: all four, or none.

        Raises:
          InputError: some of the four, or `coco_dir` and one of them.
        """
        given = {name: getattr(self, name) for name in DATA if getattr(self, name)}
        if self.coco_dir:
            if given:
                raise InputError(f"--coco-dir {self.coco_dir}: given together with {_flags(list(given)[:1])}; give one")
            return coco_layout(self.coco_dir)
        missing = [name for name in DATA if name not in given]
        if given and missing:
            raise InputError(f"{_flags(missing)}: not given; give all four data flags, or --coco-dir")
        return given


def coco_layout(folder: str) -> dict[str, str]:
    """The data parameters of a folder laid out as COCO 2017."""
    root = folder.rstrip("/") or "/"
    parameters = {}
    for split in SPLITS:
        parameters[f"{split}_images"] = f"{root}/{split}2017"
        parameters[f"{split}_annotations"] = f"{root}/annotations/instances_{split}2017.json"
    return parameters


def _flags(names: Sequence[str]) -> str:
    return ", ".join(f"--{name.replace('_', '-')}" for name in names)
