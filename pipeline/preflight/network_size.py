"""The number of a network's weights, without TensorFlow: estimates of disk and memory need it before a run starts."""

from collections.abc import Mapping
from typing import Any

CHANNELS = 128
"""`input_channel_dims` of the table; the weights grow with its square."""
BACKBONE = {10: 6_324_096, 20: 22_025_600, 32: 41_663_360, 52: 93_721_472, 100: 188_787_584}
"""Weights of a backbone of one hourglass with 128 channels, by `model_id`."""
HEADS = 1_792_000
"""Weights of the three heads of one hourglass with 128 channels and 80 classes."""


def parameters(experiment: Mapping[str, Mapping[str, Any]], num_classes: int) -> int:
    """The number of weights, to within a few percent.

    Args:
      experiment: Model Garden's sections as mappings; what is missing has its default.
      num_classes: number of heatmap channels.
    """
    model = experiment["task"].get("model") or {}
    hourglass = (model.get("backbone") or {}).get("hourglass") or {}
    channels = hourglass.get("input_channel_dims", CHANNELS)
    count = hourglass.get("num_hourglasses", 1)
    weights = BACKBONE.get(hourglass.get("model_id", 52), max(BACKBONE.values())) + HEADS
    return round(count * (weights * (channels / CHANNELS) ** 2 + num_classes * 2 * channels))
