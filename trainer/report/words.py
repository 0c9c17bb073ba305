"""How the report formats numbers."""

import math
from typing import Any

DASH = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"


def difference(value: Any, other: Any) -> float | None:
    """The difference of two finite numbers, else None."""
    return value - other if finite(value) and finite(other) else None


def finite(value: Any) -> bool:
    """Whether it is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def fraction(value: Any) -> str:
    """0.4001 for a fraction, a dash for None."""
    return f"{value:.4f}" if finite(value) else DASH if value is None else str(value)


def signed(value: Any) -> str:
    """+0.0123 or \u22120.0123; a dash for None."""
    if not finite(value):
        return DASH
    text = f"{abs(value):.4f}"
    sign = "" if float(text) == 0 else "+" if value > 0 else MINUS
    return f"{sign}{text}"


def significant(value: Any) -> str:
    """Two significant digits; a dash for None, which is how summary.json writes NaN."""
    return f"{value:.2g}" if finite(value) else DASH if value is None else str(value)


def duration(seconds: float) -> str:
    """7.3 s, 4 min 05 s, 3 h 07 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60):02d} min"


def plain_value(value: Any) -> str:
    """A rule's value or threshold: numbers with 4 decimals, counts as they are, digests shortened."""
    if isinstance(value, float):
        return fraction(value) if value >= 0 or not finite(value) else signed(value)
    if value is None or value == "":
        return DASH
    text = str(value)
    return text if len(text) <= 16 else f"{text[:12]}\u2026"


def when(moment: str) -> str:
    """2026-11-22 03:00 UTC for an ISO time in UTC; other texts unchanged."""
    date, time, zone = moment[:10], moment[11:16], moment[-6:]
    return f"{date} {time} UTC" if len(moment) >= 16 and zone == "+00:00" else moment
