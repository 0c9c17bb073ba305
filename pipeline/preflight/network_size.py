"""The number of a network's weights, without TensorFlow: estimates of disk and memory need it before a run starts."""

from collections.abc import Mapping
from typing import Any

CHANNELS = 128
"""`input_channel_dims` of the table; the weights grow with its square."""
HOURGLASS = {10: 6_324_096, 20: 22_025_600, 32: 41_663_360, 52: 93_721_472, 100: 188_787_584}
"""Weights of a backbone of one hourglass with 128 channels, by `model_id`."""
HEADS = 1_792_000
"""Weights of the three heads of one hourglass with 128 channels and 80 classes."""

BACKBONES: dict[str, dict[Any, tuple[int, int]]] = {
    "resnet": {
        10: (4_915_904, 960),
        18: (11_190_464, 960),
        26: (17_465_024, 960),
        34: (21_306_048, 960),
        50: (23_561_152, 3840),
        101: (42_605_504, 3840),
        152: (58_295_232, 3840),
        200: (62_800_832, 3840),
        270: (87_793_088, 3840),
        350: (111_049_152, 3840),
        420: (130_105_792, 3840),
    },
    "mobilenet": {
        "MobileNetV1": (3_228_864, 1920),
        "MobileNetV2": (1_843_264, 472),
        "MobileNetV3Large": (2_838_912, 336),
        "MobileNetV3Small": (881_520, 184),
        "MobileNetV3EdgeTPU": (2_598_432, 368),
        "MobileNetV4ConvSmall": (1_157_472, 320),
        "MobileNetV4ConvMedium": (7_018_896, 544),
        "MobileNetV4ConvLarge": (29_730_136, 848),
    },
    "efficientnet": {
        "b0": (2_998_304, 496),
        "b1": (5_037_872, 496),
        "b2": (5_938_176, 544),
        "b3": (8_307_832, 600),
        "b4": (13_717_384, 696),
        "b5": (22_264_880, 792),
        "b6": (32_090_032, 888),
        "b7": (50_475_936, 992),
    },
}
"""Type and `model_id` to the weights of levels 2 to 5, and the sum of their channels."""
DEFAULT_IDS = {"hourglass": 52, "resnet": 50, "mobilenet": "MobileNetV2", "efficientnet": "b0"}
WIDTHS = {"resnet": "depth_multiplier", "mobilenet": "filter_size_scale"}
"""Type to the key that multiplies its channels."""
SQUEEZE = {"resnet": 1.7, "efficientnet": 0.85}
"""Weights that `se_ratio: 1` adds, as a fraction of the backbone's (counted on ResNet-50 and EfficientNet-b0)."""
FILTERS = 256
"""Default of `decoder.fpn.num_filters`."""


def parameters(experiment: Mapping[str, Mapping[str, Any]], num_classes: int) -> int:
    """The number of weights, to within a few percent; a quarter where a MobileNet's width is not 1.

    Args:
      experiment: Model Garden's sections as mappings; what is missing has its default.
      num_classes: number of heatmap channels.
    """
    model = experiment["task"].get("model") or {}
    backbone = model.get("backbone") or {}
    kind = backbone.get("type", "hourglass")
    chosen = backbone.get(kind) or {}
    model_id = chosen.get("model_id", DEFAULT_IDS.get(kind))
    if kind not in BACKBONES:
        channels = chosen.get("input_channel_dims", CHANNELS)
        weights = HOURGLASS.get(model_id, max(HOURGLASS.values())) + HEADS
        count = chosen.get("num_hourglasses", 1)
        return round(count * (weights * (channels / CHANNELS) ** 2 + num_classes * 2 * channels))
    weights, channels = BACKBONES[kind].get(model_id, max(BACKBONES[kind].values()))
    width = chosen.get(WIDTHS.get(kind, ""), 1.0)
    weights *= width**2 * (1 + SQUEEZE.get(kind, 0.0) * chosen.get("se_ratio", 0.0))
    fpn = (model.get("decoder") or {}).get("fpn") or {}
    filters = fpn.get("num_filters", FILTERS)
    # Lateral 1x1 convolutions, then one 3x3 on level 2, with batch norm.
    window = 1 if fpn.get("use_separable_conv") else 9
    decoder = channels * width * filters + window * filters**2
    heads = 3 * 9 * filters**2 + filters * (num_classes + 4)
    return round(weights + decoder + heads)
