"""Where a training's weights came from: one record that travels from the training to the model card and the report.

No TensorFlow.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from trainer.weights.catalogue import SCRATCH

ORIGIN = "origin"
"""Key of an origin in `train.json` and `init_weights.json`."""
UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """Where a training's weights came from."""

    start: str
    """A name of the catalogue, or a path."""
    source: str
    licence: str
    trained_on: str
    modules: str
    loaded: int
    """Number of variables."""
    fresh: int
    """Number of variables of the loaded parts that were drawn at random instead."""
    sha256: Mapping[str, str]
    """Digests of the files that were read, where they were downloaded or came with a package."""

    def line(self) -> str:
        """The origin, in a sentence."""
        fresh = f", {self.fresh} fresh" if self.fresh else ""
        return (
            f"{self.start} ({self.trained_on}; {self.source}; licence {self.licence}): {self.modules}, "
            f"{self.loaded} variables{fresh}"
        )


def as_dict(origin: Origin) -> dict[str, Any]:
    """For JSON files."""
    return asdict(origin)


def from_dict(content: Mapping[str, Any] | None) -> Origin | None:
    """What `as_dict` wrote; None for a training from scratch."""
    return Origin(**content) if content else None


def sentence(train: Mapping[str, Any]) -> str:
    """Where the weights of a training came from, for people.

    Args:
      train: content of `train.json`.
    """
    if ORIGIN not in train:
        return f"{UNKNOWN}: trained by an earlier version"
    origin = from_dict(train[ORIGIN])
    return origin.line() if origin else SCRATCH
