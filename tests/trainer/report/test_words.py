"""Numbers as the report writes them."""

import pytest

from trainer.report.words import duration, fraction, plain_value, signed, significant


@pytest.mark.parametrize(
    ("function", "value", "expected"),
    [
        (fraction, 0.40006, "0.4001"),
        (fraction, None, "\N{EN DASH}"),
        (signed, 0.01234, "+0.0123"),
        (signed, -0.5, "\N{MINUS SIGN}0.5000"),
        (signed, -0.00001, "0.0000"),
        (signed, None, "\N{EN DASH}"),
        (significant, 0.00094, "0.00094"),
        (significant, None, "\N{EN DASH}"),
        (significant, float("nan"), "nan"),
        (duration, 7.25, "7.2 s"),
        (duration, 125, "2 min 05 s"),
        (duration, 11220, "3 h 07 min"),
        (plain_value, 72, "72"),
        (plain_value, -0.005, "\N{MINUS SIGN}0.0050"),
        (plain_value, None, "\N{EN DASH}"),
        (plain_value, "0123456789abcdef0123", "0123456789ab\u2026"),
    ],
)
def test_words(function, value, expected):
    assert function(value) == expected
