"""The verdict: a profile and the rows of new images in, steady, drifted or too few images to tell out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from beam_preprocess.format.fingerprints import distinct
from trainer.profile.columns import Column, columns
from trainer.profile.profile import Profile
from trainer.profile.rows import Rows
from trainer.watch.compare import SHIFT, Comparison, compare, minimum_images
from trainer.watch.differing import drift, rarity
from trainer.watch.result import DifferentImage, Group, Statistic, Verdict

MAX_COMPARED = 2000
"""Maximum number of new images in the test; of more, a random part."""
DIFFERENT = 24
"""Maximum number of images that are listed."""
NAMED = 3
"""Maximum number of statistics that the verdict's line names."""
NEIGHBOURS = "features: neighbours"


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """What new images are compared with a profile for; the fields are those of `WatchResult`."""

    verdict: Verdict
    reason: str
    near_duplicates: int
    compared: int
    profile_images: int
    minimum: int | None
    p: float
    features: bool
    statistics: tuple[Statistic, ...]
    different: tuple[DifferentImage, ...]


def judge(profile: Profile, rows: Rows, *, alpha: float, permutations: int, seed: int) -> Judged:
    """Compares new images with a profile.

    Near-duplicates count once, on either side: the frames of one video are not random images.

    Args:
      profile: the champion's.
      rows: the new images.
      alpha: chance of a false alarm.
      permutations: how many.
      seed: of the permutations, and of the part of the images that is compared if there are too many.
    """
    sampled = _sample(rows, seed)
    now = sampled.take(distinct(sampled.fingerprints.tolist()))
    before = profile.rows.take(distinct(profile.rows.fingerprints.tolist()))
    features = before.features.shape[1] == now.features.shape[1] > 0
    found = compare(
        before.values,
        now.values,
        (before.features, now.features) if features else None,
        permutations=permutations,
        seed=seed,
    )
    statistics = _statistics(columns(profile.measures), before, now, found, alpha)
    minimum = minimum_images(len(before), found.tested, alpha)
    verdict = _verdict(found.p <= alpha, len(now), minimum)
    return Judged(
        verdict=verdict,
        reason=_reason(verdict, statistics, found.p, compared=len(now), profile_images=len(before), minimum=minimum),
        near_duplicates=len(sampled) - len(now),
        compared=len(now),
        profile_images=len(before),
        minimum=minimum,
        p=found.p,
        features=features,
        statistics=tuple(sorted(statistics, key=lambda entry: (entry.p, -abs(entry.effect)))),
        different=_different(profile, before, rows, statistics),
    )


def _sample(rows: Rows, seed: int) -> Rows:
    if len(rows) <= MAX_COMPARED:
        return rows
    return rows.take(np.sort(np.random.default_rng(seed).choice(len(rows), MAX_COMPARED, replace=False)))


def _statistics(
    named: Sequence[Column], before: Rows, now: Rows, found: Comparison, alpha: float
) -> tuple[Statistic, ...]:
    names: list[tuple[str, Group]] = [(column.name, column.group) for column in named]
    extra = len(found.adjusted) - len(names)
    if extra:
        names += [(f"features: component {i + 1}", "features") for i in range(extra - 1)]
        names.append((NEIGHBOURS, "features"))
    means = [*zip(_means(before.values), _means(now.values), strict=True), *[(None, None)] * extra]
    return tuple(
        Statistic(
            name=name,
            group=group,
            effect=round(float(found.effects[i]), 4),
            p=float(found.adjusted[i]),
            drifted=bool(found.adjusted[i] <= alpha),
            before=means[i][0],
            now=means[i][1],
        )
        for i, (name, group) in enumerate(names)
    )


def _means(values: np.ndarray) -> list[float | None]:
    """The mean of each column's values; None where there are none."""
    there = np.isfinite(values)
    sums = np.where(there, values, 0).sum(axis=0, dtype=np.float64)
    return [float(f"{s / n:.6g}") if n else None for s, n in zip(sums, there.sum(axis=0), strict=True)]


def _verdict(moved: bool, compared: int, minimum: int | None) -> Verdict:
    """The test holds its chance of a false alarm for any number of images; only "steady" needs enough of them."""
    if moved:
        return "drifted"
    return "too-few-images" if minimum is None or compared < minimum else "steady"


def _reason(
    verdict: Verdict,
    statistics: Sequence[Statistic],
    p: float,
    *,
    compared: int,
    profile_images: int,
    minimum: int | None,
) -> str:
    if verdict == "drifted":
        moved = sorted((entry for entry in statistics if entry.drifted), key=lambda entry: -abs(entry.effect))
        named = ", ".join(_moved(entry) for entry in moved[:NAMED])
        more = f" and {len(moved) - NAMED} more" if len(moved) > NAMED else ""
        return f"{named}{more} (p {p:.4f}, {compared} images)"
    if verdict == "steady":
        return f"none of {len(statistics)} statistics moved (smallest p {p:.2f}, {compared} images)"
    if minimum is None:
        return (
            f"the profile's {profile_images} images are too few to see a shift of {SHIFT:g} standard deviation, "
            "however many new ones there are"
        )
    return f"{compared} images are compared; {minimum} are needed to see a shift of {SHIFT:g} standard deviation"


def _moved(entry: Statistic) -> str:
    if entry.name == NEIGHBOURS:
        return f"many images look like each other and not like the profile's ({entry.effect:+.2f})"
    if entry.group == "features":
        return f"{entry.name} moved ({abs(entry.effect):.2f})"
    return f"{entry.name} {'higher' if entry.effect > 0 else 'lower'} ({entry.effect:+.2f})"


def _different(
    profile: Profile, before: Rows, rows: Rows, statistics: Sequence[Statistic]
) -> tuple[DifferentImage, ...]:
    """The images that are farthest out in the statistics that moved, and in their direction; in all if none did."""
    names = [column.name for column in columns(profile.measures)]
    found = rarity(before, rows, names, drift(statistics) or dict.fromkeys((entry.name for entry in statistics), 0))
    listed = []
    for image in found.order()[:DIFFERENT].tolist():
        column = found.rarest(image)
        low, high = (float(f"{value:.6g}") for value in found.usual[column])
        listed.append(
            DifferentImage(
                image_id=int(rows.ids[image]),
                file_name=str(rows.names[image]),
                rarity=round(float(found.rarity[image, column]), 4),
                statistic=found.names[column],
                value=float(f"{found.values[image, column]:.6g}"),
                usual=(low, high),
            )
        )
    return tuple(listed)
