"""Verdicts on rows: steady, drifted, too few images to tell; near-duplicates; what is listed."""

import numpy as np
import pytest

from tests.trainer.made_profile import profile, rows
from trainer.profile.rows import Rows, joined
from trainer.watch import verdict
from trainer.watch.verdict import Judged, judge

PROFILE = profile(images=90)


def judged(new: Rows, **changes: object) -> Judged:
    return judge(PROFILE, new, **{"alpha": 0.01, "permutations": 999, "seed": 0, **changes})  # type: ignore[arg-type]


def test_steady() -> None:
    found = judged(rows(60, seed=1))
    assert (found.verdict, found.compared, found.profile_images, found.features) == ("steady", 60, 90, True)
    assert found.reason.startswith("none of 33 statistics moved (smallest p 0.")
    assert found.minimum is not None
    assert found.minimum <= 60
    assert not any(entry.drifted for entry in found.statistics)
    assert [entry.p for entry in found.statistics] == sorted(entry.p for entry in found.statistics)


def test_drifted() -> None:
    found = judged(rows(60, seed=1, brightness=-1.5, box_size=1.2))
    assert found.verdict == "drifted"
    moved = [entry for entry in found.statistics if entry.drifted]
    assert {entry.name for entry in moved} == {"brightness", "box size"}
    assert found.reason.startswith("brightness lower (-0.")
    assert "box size higher (+0." in found.reason
    assert {entry.statistic for entry in found.different} <= {"brightness", "box size"}
    first = found.different[0]
    assert not first.usual[0] <= first.value <= first.usual[1]
    rarities = [entry.rarity for entry in found.different]
    assert rarities == sorted(rarities, reverse=True)


def test_few_images_that_moved_much_are_a_drift_all_the_same() -> None:
    few = rows(12, seed=1)
    assert judged(few).verdict == "too-few-images"
    assert judged(few).reason.startswith("12 images are compared; 28 are needed")
    assert judged(rows(12, seed=1, contrast=5.0)).verdict == "drifted"


def test_a_small_profile_can_say_nothing() -> None:
    found = judge(profile(images=10), rows(400, seed=1), alpha=0.01, permutations=99, seed=0)
    assert (found.verdict, found.minimum) == ("too-few-images", None)
    assert "the profile's 10 images are too few" in found.reason


def test_near_duplicates_count_once() -> None:
    """A video: 30 images, each four times."""
    once = rows(30, seed=1)
    video = joined([once] * 4)
    found = judged(video)
    assert (found.compared, found.near_duplicates) == (30, 90)
    assert found.p == judged(once).p


def test_new_features_are_found_and_the_images_named() -> None:
    new = rows(60, seed=1)
    new.features[:] = new.features * 0.1 + 6.0
    found = judged(new)
    assert found.verdict == "drifted"
    assert {entry.group for entry in found.statistics if entry.drifted} == {"features"}
    assert {entry.statistic for entry in found.different} == {"look"}
    assert "features" in found.reason


def test_without_features() -> None:
    found = judged(rows(60, seed=1, features=0))
    assert (found.verdict, found.features, len(found.statistics)) == ("steady", False, 20)


def test_of_very_many_images_a_random_part_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdict, "MAX_COMPARED", 50)
    found = judged(rows(300, seed=1))
    assert (found.compared, found.near_duplicates) == (50, 0)
    assert found == judged(rows(300, seed=1))


def test_missing_values_are_no_means() -> None:
    new = rows(40, seed=1)
    new.values[:, 0] = np.nan
    entry = next(entry for entry in judged(new).statistics if entry.name == "brightness")
    assert (entry.now, entry.effect) == (None, 0.0)
    assert entry.before is not None
