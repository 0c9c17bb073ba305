"""The `gate:` section of a run's configuration."""

import math
from dataclasses import dataclass
from typing import Literal

from beam_preprocess.base.errors import InputError


@dataclass(frozen=True, kw_only=True, slots=True)
class GateConfig:
    """What promotion requires of a candidate."""

    min_ap: float = 0.0
    """Minimum AP of the candidate. AP 0 is never promoted."""

    min_delta: float = -0.005
    """Minimum lower bound of the 95 % bootstrap interval of AP candidate - champion (and - best) on the same images.
    A negative value tolerates the noise of training. The fewer images, the wider the interval."""

    max_class_drop: float = 0.1
    """Maximum loss of AP of one class against the champion, among classes with enough objects."""

    max_size_drop: float = 0.05
    """Maximum loss of AP of small, medium or large objects, where there are enough of them."""

    min_support: int = 100
    """Minimum number of objects before the AP of a class or a size may veto. The AP of three boxes is a lottery."""

    vanished_classes: tuple[str, ...] = ()
    """Names of classes that the data dropped on purpose, or that several classes of the champion have. Any other class
    of the champion that the data no longer has, or that its name does not identify, holds the candidate."""

    max_latency_ms: float = 0.0
    """Maximum median latency of a single-image call; 0 sets no bound."""

    require_parity: bool = True
    """Whether the export must have been compared with its checkpoint."""

    resamples: int = 1000
    """Number of bootstrap resamples."""

    approval: Literal["none", "required"] = "none"
    """Whether a person decides: with `required` a candidate that passes is registered as challenger, and becomes
    champion when somebody approves it with `centernet approve`; with `none` it becomes champion at once."""

    @property
    def asks(self) -> bool:
        """Whether a passing candidate waits for a person."""
        return self.approval == "required"

    def __post_init__(self) -> None:
        bounds = {"min_ap": 0.0, "min_delta": -1.0, "max_class_drop": 0.0, "max_size_drop": 0.0}
        for name, low in bounds.items():
            value = getattr(self, name)
            # Also refuses NaN, with which every comparison is false.
            if not low <= value <= 1:
                raise InputError(f"gate.{name}: {value!r} is out of range; use a fraction from {low:g} to 1")
        if self.min_support < 1:
            raise InputError(f"gate.min_support: {self.min_support} is out of range; use 1 or more objects")
        if not 0 <= self.max_latency_ms < math.inf:
            raise InputError(f"gate.max_latency_ms: {self.max_latency_ms} is out of range; use 0 or more milliseconds")
        if not 100 <= self.resamples <= 100_000:
            raise InputError(f"gate.resamples: {self.resamples} is out of range; use 100 to 100000")
