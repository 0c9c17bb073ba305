"""What `centernet config show` prints."""

import pytest

from beam_preprocess.base.config_keys import known_keys
from trainer.config.key_page import first_sentence, listing, page, shown


def _row(text: str, key: str) -> str:
    (row,) = [line for line in text.splitlines() if f"  {key}  " in line]
    return row


def test_a_row_has_value_default_unit_and_meaning() -> None:
    text = listing(known_keys(), {"gate": {"min_support": 7}})
    assert _row(text, "min_support").split("  ")[0] == "*"
    assert " ".join(_row(text, "min_support").split()).startswith("* min_support 7 100 objects Minimum number of")
    assert _row(text, "resamples").startswith(" ")
    assert [line.split(":")[0] for line in text.splitlines() if line[:1].isalpha()] == list(known_keys().sections)


@pytest.mark.parametrize(
    ("optimizer_config", "present", "absent"),
    [
        ({}, "optimizer.adam.epsilon", "optimizer.sgd.momentum"),
        ({"optimizer": {"type": "sgd"}}, "optimizer.sgd.momentum", "optimizer.adam.epsilon"),
        ({"warmup": {"type": None}}, "warmup.type", "warmup.linear.warmup_steps"),
        ({}, "ema", "ema.average_decay"),
        ({"ema": {}}, "ema.average_decay", "warmup.polynomial.power"),
    ],
)
def test_only_keys_of_chosen_sections_are_listed(
    optimizer_config: dict[str, object], present: str, absent: str
) -> None:
    text = listing(known_keys(), {"trainer": {"optimizer_config": optimizer_config}})
    assert f" optimizer_config.{present} " in text
    assert f" optimizer_config.{absent} " not in text


@pytest.mark.parametrize(
    ("value", "text"),
    [("adam", "adam"), ("", '""'), ("2", '"2"'), ("true", '"true"'), (True, "true"), (1e-7, "1e-07"), ([1], "[1]")],
)
def test_values_are_shown_as_they_are_written(value: object, text: str) -> None:
    assert shown(value) == text


def test_a_meaning_is_cut_at_its_first_sentence() -> None:
    assert first_sentence("At 0.5 or more. Then this.") == "At 0.5 or more."


def test_the_page_has_every_key() -> None:
    text = page(known_keys())
    assert all(f"| `{key.key.partition('.')[2]}` |" in text for key in known_keys().keys)
