"""What follows from the choice of a network, without building it: input multiples, levels, pixels. No TensorFlow."""

from dataclasses import dataclass
from typing import Any

from beam_preprocess.base.errors import InputError

HOURGLASS = "hourglass"
LEVELS = ("2", "3", "4", "5")
"""Levels of a backbone that the FPN joins; level n has 1/2^n of the input's sides, and the heads are on level 2."""

HALVINGS = {10: 2, 20: 3, 32: 4, 52: 6, 100: 6}
"""Hourglass model_id to the number of times that it halves its input, after the first two."""

MODEL_IDS: dict[str, tuple[Any, ...]] = {
    HOURGLASS: tuple(HALVINGS),
    "resnet": (10, 18, 26, 34, 50, 101, 152, 200, 270, 350, 420),
    "mobilenet": (
        "MobileNetV1",
        "MobileNetV2",
        "MobileNetV3Large",
        "MobileNetV3Small",
        "MobileNetV3EdgeTPU",
        "MobileNetV4ConvSmall",
        "MobileNetV4ConvMedium",
        "MobileNetV4ConvLarge",
    ),
    "efficientnet": ("b0", "b1", "b2", "b3", "b4", "b5", "b6", "b7"),
}
"""Backbone type to the values of its `model_id`. Model Garden's other MobileNets were not tried."""

STEMS = ("v0", "v1")
"""What `resnet.stem_type` takes."""

ACTIVATIONS = ("relu", "relu6", "swish", "gelu", "elu")
"""Activations that the networks support."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pixels:
    """How a network takes its pixels: (RGB 0..255 - mean) / deviation, perhaps with the channels reversed."""

    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]
    bgr: bool = False


HOURGLASS_PIXELS = Pixels(
    mean=(119.9165958, 114.03422265, 104.01362025), deviation=(70.9150767, 69.89082075, 73.6027665), bgr=True
)
"""As the published CenterNets; Model Garden's parser holds the values in BGR order."""

IMAGENET_PIXELS = Pixels(mean=(123.675, 116.28, 103.53), deviation=(58.395, 57.12, 57.375))
"""As all of Model Garden's ImageNet classifiers (MEAN_RGB and STDDEV_RGB of `official.vision.ops.preprocess_ops`)."""

LITE_PIXELS = Pixels(mean=(127.0, 127.0, 127.0), deviation=(128.0, 128.0, 128.0))
"""As the published EfficientNet-lite, which is EfficientNet without squeeze-and-excitation."""


def pixels_of(model: Any) -> Pixels:
    """The pixels that the published weights of a `task.model` expect."""
    kind = model.backbone.type
    if kind == HOURGLASS:
        return HOURGLASS_PIXELS
    lite = kind == "efficientnet" and not model.backbone.efficientnet.se_ratio
    return LITE_PIXELS if lite else IMAGENET_PIXELS


def multiple_of(model: Any) -> int:
    """Both sides of the network's input must be multiples of this."""
    if model.backbone.type == HOURGLASS:
        return 4 << (HALVINGS[model.backbone.hourglass.model_id] - 1)
    return 1 << int(LEVELS[-1])


def levels_of(model: Any) -> list[str]:
    """Names of the outputs that can have heads; the last one is decoded."""
    if model.backbone.type == HOURGLASS:
        return [f"2_{i}" for i in range(model.backbone.hourglass.num_hourglasses - 1)] + ["2"]
    return ["2"]


def fill_levels(model: Any, default: list[str]) -> None:
    """With an FPN there is one level to have heads: `head.input_levels` follows from that, unless it is set."""
    if model.backbone.type != HOURGLASS and list(model.head.input_levels) == default:
        model.head.input_levels = levels_of(model)


def check_network(model: Any) -> None:
    """Refuses a `task.model` that can't be built.

    Raises:
      InputError: names the first key, and what to set instead.
    """
    kind, decoder = model.backbone.type, model.decoder.type
    if kind is None:
        raise InputError(f"task.model.backbone.type: none; use one of {', '.join(MODEL_IDS)}")
    chosen = model.backbone.get().model_id
    if chosen not in MODEL_IDS[kind]:
        known = ", ".join(map(str, MODEL_IDS[kind]))
        raise InputError(f"task.model.backbone.{kind}.model_id: {chosen}; use one of {known}")
    levels, heads = levels_of(model), list(model.head.input_levels)
    activation, stem = model.norm_activation.activation, model.backbone.resnet.stem_type
    rules: list[tuple[bool, str]] = [
        (
            kind != HOURGLASS or decoder is None,
            f"decoder.type: {decoder!r} with the hourglass, which ends at level 2 by itself; remove task.model.decoder",
        ),
        (
            kind == HOURGLASS or decoder is not None,
            f"decoder.type: none, but level 2 of {kind} alone sees too little of the image; set fpn, which joins "
            f"levels {LEVELS[0]} to {LEVELS[-1]}",
        ),
        (
            model.frozen_level == 0 or (kind != HOURGLASS and str(model.frozen_level) in LEVELS),
            f"frozen_level: {model.frozen_level} with {_described(model)}; use 0"
            + (f", or {LEVELS[0]} to {LEVELS[-1]}" if kind != HOURGLASS else ", which trains all layers"),
        ),
        (
            bool(heads) and set(heads) <= set(levels) and heads[-1] == "2",
            f"head.input_levels: {heads} with {_described(model)}; use {levels}",
        ),
        (activation in ACTIVATIONS, f"norm_activation.activation: {activation!r}; use one of {', '.join(ACTIVATIONS)}"),
        (
            kind != "mobilenet" or activation == "relu",
            f"norm_activation.activation: {activation!r} has no effect on a MobileNet, which has its own; remove it",
        ),
        (stem in STEMS, f"backbone.resnet.stem_type: {stem!r}; use {' or '.join(STEMS)}"),
    ]
    for valid, message in rules:
        if not valid:
            raise InputError(f"task.model.{message}")


def check_size(model: Any) -> None:
    """Refuses an input that the network can't halve often enough; after `check_network`.

    Raises:
      InputError: names the multiple, and the nearest size that fits.
    """
    multiple, size = multiple_of(model), list(model.input_size[:2])
    if any(side % multiple for side in size):
        fits = [max(1, round(side / multiple)) * multiple for side in size]
        raise InputError(
            f"preprocess.image_size: {size} is not a multiple of {multiple}, which {_described(model)} needs; "
            f"use {fits}"
        )


def _described(model: Any) -> str:
    backbone = model.backbone
    if backbone.type == HOURGLASS:
        return f"Hourglass {backbone.hourglass.model_id} x {backbone.hourglass.num_hourglasses}"
    return f"the {model.decoder.type} on {backbone.type} {backbone.get().model_id}"
