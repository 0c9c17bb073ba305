"""The names that a configuration may have."""

from contextlib import nullcontext
from typing import Any

import pytest

from beam_preprocess.base.config_keys import check_names, known_keys
from beam_preprocess.base.errors import InputError


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, None),
        ({"gate": None, "task": {}}, None),
        ({"gate": {"min_ap": {"a": 1}}}, None),  # the section's own reader refuses the type
        (
            {"runtime": {"run_eagerly": False}},
            None,
        ),  # without effect, which is refused where it is set to another value
        ({"trainer": {"optimizer_config": {"optimizer": {"adamw": {"weight_decay_rate": 1}}}}}, None),
        ({"gates": {}}, "f: unknown section 'gates'; did you mean 'gate'?"),
        ({"gate": {"min_app": 1}}, "f: gate.min_app: unknown key; did you mean 'min_ap'?"),
        ({"task": {"augmentation": {"zzz": 1}}}, "unknown key; known are brightness, contrast, flip, hue, saturation"),
        (
            {"trainer": {"optimizer_config": {"ema": {"avg_decay": 1}}}},
            "ema.avg_decay: unknown key; did you mean",
        ),
        ({"runtime": {"run_eager": 1}}, "f: runtime.run_eager: unknown key; known are all_reduce_alg"),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(values: dict[str, Any], message: str | None) -> None:
    with nullcontext() if message is None else pytest.raises(InputError) as caught:
        check_names(values, "f")
    assert message is None or message in str(caught.value)


def test_the_table_covers_every_section() -> None:
    assert {key.key.split(".")[0] for key in known_keys().keys} == set(known_keys().sections)
