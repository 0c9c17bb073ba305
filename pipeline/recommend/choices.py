"""What the rules hand on: choices with their reasons, the input, the speed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """One key of the configuration."""

    key: str
    value: Any
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Speed:
    """How fast a step is."""

    pixels_per_second: float
    """Images times pixels."""
    start_seconds: float
    """Before the first step."""
    origin: str
    """For people: measured, or assumed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Input:
    """The network's input."""

    size: tuple[int, int]
    """(height, width)."""
    enough: bool
    """Whether the objects are large enough at it."""
    why: str

    @property
    def pixels(self) -> int:
        """Number of its pixels."""
        return self.size[0] * self.size[1]


@dataclass(frozen=True, kw_only=True, slots=True)
class Recommendation:
    """What is written, and the five lines about it."""

    choices: tuple[Choice, ...]
    lines: Mapping[str, str]
