"""A tiny configuration of each backbone family with an FPN, for tests; the Hourglass's is TINY_CONFIG."""

import yaml

from tests.trainer.made_records import TINY_CONFIG

BACKBONES = {
    "resnet": {"model_id": 10, "depth_multiplier": 0.125},
    "mobilenet": {"model_id": "MobileNetV2", "filter_size_scale": 0.25},
    "efficientnet": {"model_id": "b0", "se_ratio": 0.0},
}
"""Type to its settings. Model Garden's EfficientNet has no narrower one than b0."""


def family_config(kind: str, *, runtime: dict[str, object] | None = None) -> str:
    """TINY_CONFIG with another backbone; a MobileNet gets the separable FPN."""
    values = yaml.safe_load(TINY_CONFIG)
    model = values["task"]["model"]
    del model["head"]  # the level follows from the decoder
    model["backbone"] = {"type": kind, kind: BACKBONES[kind]}
    model["decoder"] = {"type": "fpn", "fpn": {"num_filters": 8, "use_separable_conv": kind == "mobilenet"}}
    if kind == "efficientnet":
        model["norm_activation"] |= {"activation": "relu6", "norm_epsilon": 1e-3}  # EfficientNet-lite
    values["runtime"] |= runtime or {}
    return str(yaml.safe_dump(values))
