"""Meanings and units of Model Garden's keys."""

import pytest

from beam_preprocess.base.config_keys import known_keys
from trainer.config.live_keys import MEANINGS, UNITS, by_longest_end


@pytest.mark.parametrize(
    ("path", "meaning"),
    [
        ("a.b.c", "whole"),
        ("x.b.c", "end"),
        ("c", "last"),
        ("x.y.c", "last"),
        ("x.d", None),
    ],
)
def test_the_longest_end_counts(path: str, meaning: str | None) -> None:
    assert by_longest_end({"c": "last", "b.c": "end", "a.b.c": "whole"}, path) == meaning


@pytest.mark.parametrize("rows", [MEANINGS, UNITS])
def test_no_row_is_left_over(rows: dict[str, str]) -> None:
    keys = [key.key for key in known_keys().keys]
    assert [row for row in rows if not any(f".{key}".endswith(f".{row}") for key in keys)] == []
