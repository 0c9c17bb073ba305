"""Which of the new images are worth labelling first. NumPy and SciPy; no TensorFlow.

Each step picks the image with the largest

    (1 + doubt) x distance to the nearest image of the profile or picked before x (1 + rarity)

doubt      sum over detections of class weight x u^2, where u is 1 at the class's threshold and falls to 0 at the
           scores 0 and 1: uncertainty sampling by least confidence (Lewis and Gale 1994), for a detector's images by
           the sum over their detections (Brust, Käding and Denzler, Active learning for deep object detection, 2019)
weight     max(1, sqrt(mean number of detections per class / the class's)), counted in the profile: rare classes weigh
           more, as in repeat factor sampling (Gupta, Dollár and Girshick, LVIS, 2019)
distance   between the backbone's features: the greedy k-centre of core-sets (Sener and Savarese, Active learning for
           convolutional neural networks, 2018). 1 is usual: nine of ten images of the profile have a nearer neighbour.
           Within 1 of the profile, all images count as 1: else the picks would be those that are least like it
rarity     only after a drift: -log10 of the share of the profile's images that are as far out in a statistic that
           drifted, in its direction; the largest of them. So an image that shows the drift counts up to 1 + log10 of
           the profile's size times as much: the model is to learn what is new (importance weighting under covariate
           shift, Shimodaira 2000, in a coarse form)

An image that looks like one that is picked is left out, by its fingerprint. CALD (Yu et al. 2022) compares the
detections of an image with those of its augmented copies; it runs the model more than once per image and isn't used.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from beam_preprocess.format.fingerprints import alike
from trainer.profile.columns import class_detections, columns
from trainer.profile.profile import Profile
from trainer.profile.rows import Rows
from trainer.saved_model.thresholds import Thresholds
from trainer.scoring.results import ScoredImage
from trainer.watch.compare import components, distances
from trainer.watch.differing import TAIL, Rarity, drift, rarity
from trainer.watch.result import Statistic

MAX_CANDIDATES = 20_000
"""Of more images, a random part is looked at."""
DOUBTFUL = 0.5
"""Detections with a larger u are called doubtful: from half of the threshold to half way from it to 1."""
USUAL = 0.9
"""Share of the profile's images whose nearest neighbour is nearer than distance 1."""
RARE = 1.5
"""Classes with a larger weight are called rare: less than half as many detections as the mean class."""
_LEAST, _LARGEST = 0.05, 0.95


@dataclass(frozen=True, kw_only=True, slots=True)
class Pick:
    """An image to label, and why."""

    image_id: int
    """As in the results of scoring."""
    file_name: str
    reasons: tuple[str, ...]
    """Of "uncertain", "novel", "rare class" and "drifted"; "unlike the others" if none applies."""
    value: float
    """(1 + doubt) x distance x (1 + rarity) when it was picked."""
    doubt: float
    doubtful: int
    """Number of doubtful detections."""
    novelty: float | None
    """Distance to the nearest image of the profile; None without features."""
    distance: float | None
    """At least 1 from the profile, or to the nearest image that was picked before, if that is less."""
    rare: tuple[str, ...]
    """Names of the rare classes that it has a detection of, doubtful or sure."""
    rarity: float | None
    """In the statistic that drifted in which the image is farthest out; None without a drift."""
    statistic: str
    """Its name; "" without a drift."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Picked:
    """The result."""

    picks: tuple[Pick, ...]
    """In the order of picking: the first ones are worth most."""
    candidates: int
    """Images that were looked at."""
    near_duplicates: int
    """Candidates that look like a picked one, and are left out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Doubt:
    """What an image's detections say."""

    sum: float
    doubtful: int
    rare: tuple[str, ...]


def pick(
    profile: Profile,
    rows: Rows,
    images: Iterable[ScoredImage],
    thresholds: Thresholds,
    count: int,
    *,
    statistics: Sequence[Statistic] = (),
    seed: int = 0,
) -> Picked:
    """Picks images to label.

    Args:
      profile: the champion's.
      rows: statistics of the new images.
      images: the same images with their detections.
      thresholds: score from which on a detection counts.
      count: how many; fewer if there are fewer images that look different.
      statistics: the comparison of the images with the profile.
      seed: of the part that is looked at if there are too many images.
    """
    if len(rows) > MAX_CANDIDATES:
        rows = rows.take(np.sort(np.random.default_rng(seed).choice(len(rows), MAX_CANDIDATES, replace=False)))
    weights = class_weights(profile)
    wanted = set(rows.ids.tolist())
    found = {image.id: _doubt(image, thresholds, weights) for image in images if image.id in wanted}
    doubts = [found[number] for number in rows.ids.tolist()]
    sums = np.array([doubt.sum for doubt in doubts])
    novelty, points = _novelty(profile.rows, rows)
    nearest = np.maximum(novelty, 1.0)
    names = [column.name for column in columns(profile.measures)]
    shifted = drift(statistics)
    far = rarity(profile.rows, rows, names, shifted)
    drifted = far.rarity.max(axis=1, initial=0.0)
    left = np.ones(len(rows), bool)
    picks: list[Pick] = []
    duplicates = 0
    while len(picks) < count and left.any():
        values = np.where(left, (1 + sums) * nearest * (1 + drifted), -np.inf)
        best = int(values.argmax())
        placed = (novelty[best], nearest[best]) if points is not None else None
        picks.append(_picked(rows, best, doubts[best], values[best], placed, far if shifted else None))
        left[best] = False
        same = left & alike(str(rows.fingerprints[best]), rows.fingerprints.tolist())
        duplicates += int(same.sum())
        left &= ~same
        if points is not None:
            nearest = np.minimum(nearest, np.sqrt(distances(points, points[[best]])[:, 0]))
    return Picked(picks=tuple(picks), candidates=len(rows), near_duplicates=duplicates)


def class_weights(profile: Profile) -> dict[int, tuple[float, str]]:
    """(weight, name) by category id."""
    classes = profile.measures.classes
    counts = [float(np.nansum(profile.rows.values[:, column])) for column in class_detections(profile.measures)]
    mean = sum(counts) / max(1, len(counts))
    return {
        entry.id: (max(1.0, math.sqrt((mean + 1) / (number + 1))), entry.name)
        for entry, number in zip(classes, counts, strict=True)
    }


def _doubt(image: ScoredImage, thresholds: Thresholds, weights: Mapping[int, tuple[float, str]]) -> _Doubt:
    total, doubtful, rare = 0.0, 0, dict[str, None]()
    for detection in image.detections:
        category = int(detection["category_id"])
        score = float(detection["score"])
        threshold = min(max(thresholds.classes.get(category, thresholds.default), _LEAST), _LARGEST)
        uncertain = score / threshold if score < threshold else (1 - score) / (1 - threshold)
        weight, name = weights.get(category, (1.0, str(category)))
        total += weight * uncertain**2
        doubtful += uncertain > DOUBTFUL
        if weight > RARE and score > threshold * DOUBTFUL:
            rare[name] = None
    return _Doubt(sum=total, doubtful=doubtful, rare=tuple(rare))


def _novelty(before: Rows, now: Rows) -> tuple[np.ndarray, np.ndarray | None]:
    """([N'] distances of new images to the profile's nearest, [N', K] their places); without features 1 and None."""
    if not before.features.shape[1] == now.features.shape[1] > 0 or len(before) < 2:
        return np.ones(len(now)), None
    points = components(np.concatenate([before.features, now.features]))
    old, new = points[: len(before)], points[len(before) :]
    apart = distances(old, old)
    np.fill_diagonal(apart, np.inf)  # not an image's own
    usual = math.sqrt(max(float(np.quantile(apart.min(axis=1), USUAL)), 1e-12))
    nearest = np.sqrt(distances(new, old).min(axis=1)) / usual
    return nearest, new / usual


def _picked(
    rows: Rows, image: int, doubt: _Doubt, value: float, placed: tuple[float, float] | None, far: Rarity | None
) -> Pick:
    """`placed` is novelty and distance, None without features; `far` is None without a drift."""
    novelty, distance = (round(float(number), 4) for number in placed) if placed else (None, None)
    column = far.rarest(image) if far else 0
    drifted = round(float(far.rarity[image, column]), 4) if far else None
    reasons = [
        *(["uncertain"] if doubt.doubtful else []),
        *(["novel"] if novelty is not None and novelty > 1 else []),
        *(["rare class"] if doubt.rare else []),
        *(["drifted"] if drifted is not None and drifted >= -math.log10(TAIL) else []),
    ]
    return Pick(
        image_id=int(rows.ids[image]),
        file_name=str(rows.names[image]),
        reasons=tuple(reasons) or ("unlike the others",),
        value=round(float(value), 4),
        doubt=round(doubt.sum, 4),
        doubtful=doubt.doubtful,
        novelty=novelty,
        distance=distance,
        rare=doubt.rare,
        rarity=drifted,
        statistic=far.names[column] if far else "",
    )
