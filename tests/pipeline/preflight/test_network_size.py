"""The estimate of a network's weights, against counts of TensorFlow."""

import pytest

from pipeline.preflight.network_size import parameters

COUNTED = [
    (10, 1, 128, 80, 8_115_924),
    (20, 1, 24, 3, 845_359),
    (20, 1, 64, 80, 5_973_652),
    (20, 1, 128, 80, 23_817_428),
    (32, 1, 128, 80, 43_455_188),
    (52, 1, 128, 80, 95_513_300),
    (100, 1, 128, 80, 190_579_412),
    (52, 2, 128, 80, 191_401_512),
]
"""(model_id, hourglasses, channels, classes, weights)."""


@pytest.mark.parametrize(("model_id", "count", "channels", "classes", "weights"), COUNTED)
def test_within_three_percent(model_id: int, count: int, channels: int, classes: int, weights: int) -> None:
    hourglass = {"model_id": model_id, "num_hourglasses": count, "input_channel_dims": channels}
    task = {"model": {"backbone": {"type": "hourglass", "hourglass": hourglass}}}
    assert parameters({"task": task}, classes) == pytest.approx(weights, rel=0.03)


def test_what_is_missing_has_model_gardens_default() -> None:
    assert parameters({"task": {}}, 80) == pytest.approx(95_513_300, rel=0.03)


@pytest.mark.parametrize(
    ("backbone", "filters", "separable", "weights"),
    [
        ({"type": "resnet", "resnet": {"model_id": 10, "depth_multiplier": 0.125}}, 8, False, 82_551),
        ({"type": "efficientnet", "efficientnet": {"model_id": "b0", "se_ratio": 0.0}}, 8, False, 3_004_735),
        ({"type": "efficientnet", "efficientnet": {"se_ratio": 0.25}}, 8, False, 3_641_275),
        ({"type": "mobilenet"}, 8, True, 1_846_367),
    ],
)
def test_other_backbones_within_five_percent(
    backbone: dict[str, object], filters: int, separable: bool, weights: int
) -> None:
    fpn = {"num_filters": filters, "use_separable_conv": separable}
    model = {"backbone": backbone, "decoder": {"type": "fpn", "fpn": fpn}}
    assert parameters({"task": {"model": model}}, 3) == pytest.approx(weights, rel=0.05)
