"""The `gate:` section."""

import pytest

from beam_preprocess.base.errors import InputError
from trainer.config.gate_config import GateConfig


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"min_ap": -0.1}, "gate.min_ap: -0.1 is out of range; use a fraction from 0 to 1"),
        ({"min_ap": float("nan")}, "gate.min_ap: nan"),
        ({"min_delta": -1.1}, "gate.min_delta: -1.1 is out of range; use a fraction from -1 to 1"),
        ({"max_class_drop": 2}, "gate.max_class_drop: 2"),
        ({"max_size_drop": 2}, "gate.max_size_drop: 2"),
        ({"min_support": 0}, "gate.min_support: 0 is out of range; use 1 or more objects"),
        ({"max_latency_ms": float("inf")}, "gate.max_latency_ms: inf"),
        ({"resamples": 99}, "gate.resamples: 99 is out of range; use 100 to 100000"),
    ],
)
def test_values_out_of_range_are_refused(values: dict[str, float], message: str) -> None:
    with pytest.raises(InputError) as caught:
        GateConfig(**values)
    assert message in str(caught.value)


def test_the_defaults_are_valid() -> None:
    assert GateConfig().min_ap == 0
