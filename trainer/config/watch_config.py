"""The `watch:` section of a run's configuration."""

from dataclasses import dataclass
from typing import Literal

from beam_preprocess.base.errors import InputError


@dataclass(frozen=True, kw_only=True, slots=True)
class WatchConfig:
    """When watching new images leads to a training. New labels always do."""

    on_drift: Literal["report", "retrain"] = "report"
    """What drift leads to, besides a message: with `retrain` a training, if anything that shapes the model (data,
    configuration, code) changed since the last completed run; the same data are not trained twice."""

    max_age_days: float = 0.0
    """Age in days at which champion and last completed run are a reason by themselves; 0: they never are."""

    def __post_init__(self) -> None:
        if not 0 <= self.max_age_days < float("inf"):
            raise InputError(f"watch.max_age_days: {self.max_age_days!r} is out of range; use days, or 0 for never")
