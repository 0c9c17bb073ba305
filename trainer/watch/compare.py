"""Permutation tests: are two sets of images random parts of one set? NumPy and SciPy; no TensorFlow.

Which images are new is permuted, so a false alarm has the stated chance whatever the statistics' distributions are and
however they depend on each other. One set of permutations serves all statistics: the largest of all standardised
differences is compared with its own distribution, step by step for the others (Westfall and Young's maxT). Statistics
that move together so cost little, and Bonferroni's correction isn't needed.

Each statistic is compared by its ranks, so that one odd image decides nothing. Two more kinds look at the backbone's
features: their principal components (of both sets together, because those of one set would know which images are
whose), and how often an image's nearest neighbours are on its own side, which finds a new kind of image that moves no
mean (Schilling 1986, Henze 1988).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from scipy.linalg import eigh
from scipy.sparse import csr_array

COMPONENTS = 16
NEIGHBOURS = 5
POWER = 0.8
SHIFT = 1.0
"""`minimum_images` is for a shift of a statistic's mean by this many of its standard deviations."""
RANKS_FOR_MEANS = math.pi / 3
"""How many more images ranks need than means, for normal values (Pitman's efficiency of the rank sum test)."""
_CHUNK = 1 << 22
_EQUAL = 1e-4
"""Sums in float32 that differ by less count as equal: then p is larger rather than smaller."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """M statistics, then COMPONENTS of the features at most, then the neighbours."""

    p: float
    """Over all statistics together."""
    adjusted: np.ndarray
    """[M'] p-value of each, adjusted for all of them."""
    effects: np.ndarray
    """[M'] Cliff's delta; for the neighbours, how much more often than by chance they are on the own side, 0 to 1."""
    tested: int
    """Number of statistics that are not equal in all images."""


def compare(
    before: np.ndarray,
    now: np.ndarray,
    features: tuple[np.ndarray, np.ndarray] | None = None,
    *,
    permutations: int,
    seed: int,
) -> Comparison:
    """Compares two sets of images.

    Args:
      before: [N, M] statistics of the profile's images; NaN where an image has none.
      now: [N', M] of the new images.
      features: [N, D] and [N', D], or None.
      permutations: how many.
      seed: of the permutations.
    """
    new = np.repeat([False, True], [len(before), len(now)])
    values = np.concatenate([before, now]).astype(np.float64)
    graph = None
    if features is not None:
        coordinates = components(np.concatenate(features))
        values = np.concatenate([values, coordinates], axis=1)
        graph = neighbours(coordinates)
    scores, effects = _ranks(values, new)
    observed, permuted = _differences(scores, graph, new, permutations, seed)
    if graph is not None:
        effects = np.append(effects, _own_side(graph, new))
    adjusted = _step_down(observed, permuted)
    return Comparison(
        p=float(adjusted.min(initial=1.0)),
        adjusted=adjusted,
        effects=effects,
        tested=int((np.abs(scores).max(axis=0, initial=0.0) > 0).sum()) + (graph is not None),
    )


def minimum_images(profile_images: int, statistics: int, alpha: float) -> int | None:
    """Number of new images from which a shift by SHIFT standard deviations is found with the chance POWER.

    By the normal approximation of the rank sum test, at alpha / statistics: for statistics that move together it asks
    for more images than needed.

    Args:
      profile_images: images in the profile.
      statistics: how many are compared.
      alpha: chance of a false alarm over all of them.

    Returns:
      The number, or None if the profile has too few images for any number.
    """
    normal = NormalDist()
    z = normal.inv_cdf(1 - alpha / (2 * max(1, statistics))) + normal.inv_cdf(POWER)
    # Both sets count by N N' / (N + N'), which never exceeds the smaller one.
    needed = RANKS_FOR_MEANS * (z / SHIFT) ** 2
    if profile_images <= needed:
        return None
    return math.ceil(needed * profile_images / (profile_images - needed))


def components(features: np.ndarray) -> np.ndarray:
    """[N, at most COMPONENTS] principal components of standardised features."""
    scaled = features.astype(np.float64) - features.mean(axis=0)
    scaled /= np.maximum(scaled.std(axis=0), 1e-6)
    # Of the smaller one of both products of the matrix with itself: a tenth of the time of its singular values.
    wide = scaled.shape[1] > scaled.shape[0]
    square = scaled @ scaled.T if wide else scaled.T @ scaled
    count = min(COMPONENTS, len(square))
    sizes, vectors = eigh(square, subset_by_index=[len(square) - count, len(square) - 1])
    sizes, vectors = sizes[::-1], vectors[:, ::-1]
    return np.asarray(vectors * np.sqrt(np.maximum(sizes, 0.0)) if wide else scaled @ vectors)


def distances(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """[N, N'] squared Euclidean distances."""
    squares = (points**2).sum(axis=1)[:, None] + (others**2).sum(axis=1)[None]
    return np.asarray(np.maximum(squares - 2 * points @ others.T, 0.0))


def neighbours(points: np.ndarray) -> csr_array:
    """[N, N] 1 where the column's image is one of the row's nearest NEIGHBOURS."""
    count = min(NEIGHBOURS, len(points) - 1)
    apart = distances(points, points)
    np.fill_diagonal(apart, np.inf)
    nearest = np.argpartition(apart, count - 1, axis=1)[:, :count] if count else np.zeros((len(points), 0), np.int64)
    rows = np.repeat(np.arange(len(points)), count)
    return csr_array((np.ones(rows.size, np.float32), (rows, nearest.ravel())), shape=apart.shape)


def average_ranks(values: np.ndarray) -> np.ndarray:
    """[N] ranks from 1, equal values with the mean of theirs: scipy.stats.rankdata, which takes a second to import."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((counts.cumsum() - (counts - 1) / 2)[place])


def _ranks(values: np.ndarray, new: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """([N, M] ranks with mean 0 and variance 1, 0 for missing values and equal columns; [M] Cliff's delta)."""
    scores, effects = np.zeros(values.shape), np.zeros(values.shape[1])
    for column in range(values.shape[1]):
        there = np.isfinite(values[:, column])
        if not there.any():
            continue
        ranks = average_ranks(values[there, column])
        centred = ranks - ranks.mean()
        size = np.sqrt((centred**2).sum() / len(values))
        if size < 1e-9:
            continue
        scores[there, column] = centred / size
        own = new[there]
        if own.any() and not own.all():
            effects[column] = 2 * (centred[own].mean() - centred[~own].mean()) / len(centred)
    return scores, effects


def _differences(
    scores: np.ndarray, graph: csr_array | None, new: np.ndarray, permutations: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Standardised sizes of the differences: [M'] observed and [permutations, M'] permuted."""
    narrow = scores.astype(np.float32)
    count, total = int(new.sum()), len(new)
    size = math.sqrt(count * (total - count) / max(1, total - 1)) or 1.0
    sums, edges = [], []
    for labels in _labels(new, permutations, seed):
        sums.append(labels @ narrow)
        if graph is not None:
            edges.append(((graph @ labels.T) * labels.T).sum(axis=0))
    differences = np.abs(np.concatenate(sums)) / np.float32(size)
    if graph is not None:
        own = np.concatenate(edges)
        # Only more neighbours on the own side than by chance are a difference.
        standard = np.maximum((own - own.mean()) / max(float(own.std()), 1e-9), 0.0)
        differences = np.concatenate([differences, standard[:, None].astype(np.float32)], axis=1)
    return differences[0], differences[1:]


def _labels(new: np.ndarray, permutations: int, seed: int) -> Iterator[np.ndarray]:
    """float32 [some, N] 1 for new images: first the true ones, then as many permutations."""
    rng = np.random.default_rng(seed)
    true = new.astype(np.float32)[None]
    yield true
    step = max(1, _CHUNK // true.size)
    for start in range(0, permutations, step):
        yield rng.permuted(np.repeat(true, min(step, permutations - start), axis=0), axis=1)


def _own_side(graph: csr_array, new: np.ndarray) -> float:
    """Share of neighbours of new images that are new, above what chance gives, on a scale from 0 to 1."""
    labels = new.astype(np.float64)
    share = float(labels @ (graph @ labels)) / max(1.0, labels.sum() * graph.sum() / len(labels))
    chance = (labels.sum() - 1) / max(1, len(labels) - 1)
    return float(np.clip((share - chance) / max(1e-9, 1 - chance), 0.0, 1.0))


def _step_down(observed: np.ndarray, permuted: np.ndarray) -> np.ndarray:
    """[M] Westfall and Young's adjusted p-values: each statistic against the largest of those that differ no more."""
    if not len(observed):
        return np.ones(0)
    order = np.argsort(-observed, kind="stable")
    largest = np.maximum.accumulate(permuted[:, order[::-1]], axis=1)[:, ::-1]
    reached = (largest >= observed[order] - _EQUAL).sum(axis=0)
    stepped = np.maximum.accumulate((1 + reached) / (1 + len(permuted)))
    adjusted = np.empty(len(observed))
    adjusted[order] = stepped
    return adjusted
