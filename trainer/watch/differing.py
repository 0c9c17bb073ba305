"""Which of the new images differ most from the profile, and in what. NumPy only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from trainer.profile.rows import Rows
from trainer.watch.compare import NEIGHBOURS, components, distances
from trainer.watch.result import Statistic

LOOK = "look"
"""The statistic of all features together: the distance to the nearest images of the profile."""
TAIL = 0.05
"""Outside of `usual` on either side."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rarity:
    """How far out images are: N' new images."""

    names: tuple[str, ...]
    """[K] statistics that were looked at."""
    values: np.ndarray
    """[N', K]"""
    rarity: np.ndarray
    """[N', K] -log10 of the share of the profile's images that are as far out; 0 for missing values."""
    excess: np.ndarray
    """[N', K] standard deviations beyond all of the profile's images; decides between equal rarities."""
    usual: np.ndarray
    """[K, 2] where 90 % of the profile's images are."""

    def order(self) -> np.ndarray:
        """Indices of the images, those that differ most first."""
        return np.lexsort((np.arange(len(self.rarity)), -self._best(self.excess), -self._best(self.rarity)))

    def rarest(self, image: int) -> int:
        """The statistic in which an image is farthest out."""
        return int(np.lexsort((-self.excess[image], -self.rarity[image]))[0])

    def _best(self, values: np.ndarray) -> np.ndarray:
        return values.max(axis=1, initial=0.0)


def drift(statistics: Sequence[Statistic]) -> dict[str, int]:
    """The names of the statistics that drifted: 1 for those that are larger now, -1 for smaller ones."""
    return {entry.name: 1 if entry.effect > 0 else -1 for entry in statistics if entry.drifted}


def rarity(before: Rows, now: Rows, names: Sequence[str], which: Mapping[str, int]) -> Rarity:
    """How far out the new images are.

    Args:
      before: the profile's images.
      now: the new ones.
      names: of the statistics in a row's values.
      which: those to look at, by name: 1 for large values, -1 for small ones, 0 for both. Those that a row doesn't have
        are the features', which are looked at together.
    """
    shown = [name for name in names if name in which]
    columns, signs = [names.index(name) for name in shown], [which[name] for name in shown]
    old, new = before.values[:, columns].astype(np.float64), now.values[:, columns].astype(np.float64)
    if len(columns) < len(which):
        far = look(before, now)
        old, new = np.column_stack([old, far[0]]), np.column_stack([new, far[1]])
        shown.append(LOOK)
        signs.append(1)
    shape = (len(now), len(shown))
    rare, excess, usual = np.zeros(shape), np.zeros(shape), np.zeros((len(shown), 2))
    for column in range(len(shown)):
        known = np.sort(old[np.isfinite(old[:, column]), column])
        if not len(known):
            continue
        usual[column] = np.quantile(known, [TAIL, 1 - TAIL])
        value = new[:, column]
        there = np.isfinite(value)
        below = np.searchsorted(known, value, side="right")
        above = len(known) - np.searchsorted(known, value, side="left")
        as_far = (np.minimum(below, above), above, below)[signs[column]]
        rare[there, column] = -np.log10((1 + as_far[there]) / (1 + len(known)))
        smaller, larger = known[0] - value, value - known[-1]
        beyond = (np.maximum(smaller, larger), larger, smaller)[signs[column]][there]
        excess[there, column] = np.maximum(beyond, 0.0) / max(float(known.std()), 1e-6)
    return Rarity(names=tuple(shown), values=new, rarity=rare, excess=excess, usual=usual)


def look(before: Rows, now: Rows) -> tuple[np.ndarray, np.ndarray]:
    """[N], [N'] distance to the NEIGHBOURS-th nearest image of the profile, by the components of all features."""
    points = components(np.concatenate([before.features, now.features]))
    old, new = points[: len(before)], points[len(before) :]
    apart = distances(old, old)
    np.fill_diagonal(apart, np.inf)  # not an image's own
    count = min(NEIGHBOURS, len(old) - 1)
    if count < 1:
        return np.full(len(old), np.nan), np.full(len(new), np.nan)
    nearest = [np.partition(square, count - 1, axis=1)[:, count - 1] for square in (apart, distances(new, old))]
    return np.sqrt(nearest[0]), np.sqrt(nearest[1])
