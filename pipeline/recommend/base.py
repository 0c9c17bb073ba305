"""The shipped configuration that a written one begins with, as far as the rules need it."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from beam_preprocess.base import yaml
from beam_preprocess.base.config_text import resolve
from beam_preprocess.base.errors import InputError
from pipeline.recommend.hardware import CPU, Hardware
from trainer.config.networks import HOURGLASS, multiple_of
from trainer.weights import catalogue, files

FROM_SCRATCH = "custom-small"
"""The base on a CPU where no pretrained weights are at hand."""
_DEFAULT_ID = 52


@dataclass(frozen=True, kw_only=True, slots=True)
class Base:
    """A shipped configuration."""

    name: str
    image_size: tuple[int, int]
    stride: int
    views: int
    multiple: int
    """The backbone needs sides that are multiples of it."""
    kind: str
    """Type of the backbone."""
    network: str
    """For people."""
    start: str
    """`task.init_checkpoint`."""
    start_shown: str
    why_scratch: str
    batch: int
    learning_rate: float
    warmup: int
    average_decay: float
    of_coco: bool
    """Whether it fixes COCO's classes."""

    @property
    def pixels(self) -> int:
        """Number of pixels of its input."""
        return self.image_size[0] * self.image_size[1]


def base_of(hardware: Hardware, start: str | None = None, *, large: bool = False) -> Base:
    """The base for a machine.

    Args:
      hardware: the machine.
      large: see `Hardware.large`.
      start: the user's `task.init_checkpoint`; "" is from scratch, None leaves the choice to us.

    Raises:
      InputError: an unknown start.
    """
    name, why = hardware.large if large else hardware.base, "as given"
    if hardware == CPU and start is None and (missing := _missing(name)):
        name, why = FROM_SCRATCH, missing
    elif hardware == CPU and start == "":
        name = FROM_SCRATCH
    values = yaml.load(resolve(name).text, name)
    task, trainer, preprocess = values["task"], values["trainer"], values["preprocess"]
    begins = task.get("init_checkpoint", "") if start is None else start
    model, optimizer = task["model"], trainer["optimizer_config"]
    kind = model["backbone"]["type"]
    height, width = preprocess["image_size"]
    return Base(
        name=name,
        image_size=(height, width),
        stride=preprocess.get("stride", 4),
        views=preprocess["train_views"],
        multiple=_multiple(model["backbone"]),
        kind=kind,
        network=_network(model),
        start=begins,
        start_shown=_shown(begins),
        why_scratch=why if name == FROM_SCRATCH or start == "" else f"{name} names no weights",
        batch=task["train_data"]["global_batch_size"],
        learning_rate=optimizer["learning_rate"]["cosine"]["initial_learning_rate"],
        warmup=optimizer["warmup"]["linear"]["warmup_steps"],
        average_decay=(optimizer.get("ema") or {}).get("average_decay", 0.0),
        of_coco=preprocess.get("class_index", "rank") != "rank",
    )


def _missing(name: str) -> str:
    """Why the weights that a configuration starts from are not at hand; "" if they are, or will be downloaded."""
    entry = catalogue.find(yaml.load(resolve(name).text, name)["task"].get("init_checkpoint", ""))
    if entry is None or not entry.package:
        return ""
    try:
        files.check_cache(entry)
    except InputError:
        return f"the package {entry.package} isn't installed (the extra `weights`)"
    return ""


def _multiple(backbone: Any) -> int:
    model_id = (backbone.get(HOURGLASS) or {}).get("model_id", _DEFAULT_ID)
    chosen = SimpleNamespace(type=backbone["type"], hourglass=SimpleNamespace(model_id=model_id))
    return multiple_of(SimpleNamespace(backbone=chosen))


def _network(model: Any) -> str:
    """The network for people."""
    kind = model["backbone"]["type"]
    chosen = model["backbone"].get(kind) or {}
    if kind == HOURGLASS:
        return f"Hourglass {chosen.get('model_id', _DEFAULT_ID)} x {chosen.get('num_hourglasses', 1)}"
    lite = kind == "efficientnet" and chosen.get("se_ratio") == 0
    named = {
        "resnet": "ResNet",
        "mobilenet": "MobileNet",
        "efficientnet": "EfficientNet-lite" if lite else "EfficientNet",
    }
    return f"{named[kind]} {chosen.get('model_id', '')} with a feature pyramid".replace("  ", " ")


def _shown(start: str) -> str:
    entry = catalogue.find(start)
    return f"{entry.name} ({entry.trained_on})" if entry else start
