"""The minimum score of detections that are shown or served. No TensorFlow."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from beam_preprocess.base.errors import InputError


@dataclass(frozen=True, kw_only=True, slots=True)
class Thresholds:
    """Minimum score shown."""

    default: float
    """For classes that `classes` lacks."""
    classes: Mapping[int, float]
    source: str
    """Where they come from, for people."""

    def shown(self, scores: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """[N] which detections reach their class's threshold. Score 0 marks padding, which never does."""
        minimum = np.array([self.classes.get(int(c), self.default) for c in classes], scores.dtype)
        return (scores >= minimum) & (scores > 0)


def thresholds_of(model: str, label_map: Mapping[str, Any], given: float | None) -> Thresholds:
    """The given threshold; else those of the model's serving.json; else the export's.

    Raises:
      InputError: the given one is out of range, or serving.json is damaged.
    """
    # Not at the top: the model server's environment lacks what promotion needs.
    from trainer.promotion.serving import read_serving
    from trainer.registry.digest import SERVING_FILE

    if given is not None:
        if not 0 <= given <= 1:
            raise InputError(f"--threshold {given}: use 0 to 1")
        return Thresholds(default=given, classes={}, source="--threshold")
    serving = read_serving(model)
    if serving is not None:
        return Thresholds(default=serving.score_threshold, classes=serving.thresholds(), source=SERVING_FILE)
    return Thresholds(default=label_map["score_threshold"], classes={}, source="the export")
