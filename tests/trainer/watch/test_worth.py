"""Which images are picked for labelling, on rows and detections made by code."""

import dataclasses
import math

import numpy as np
import pytest

from tests.trainer.made_profile import NAMES, profile, rows
from trainer.profile.profile import Profile
from trainer.profile.rows import Rows, joined
from trainer.saved_model.thresholds import Thresholds
from trainer.scoring.results import ScoredImage
from trainer.watch import worth
from trainer.watch.result import Statistic
from trainer.watch.worth import Picked, class_weights, pick

PROFILE = profile(images=40)
THRESHOLDS = Thresholds(default=0.4, classes={7: 0.2}, source="serving.json")


def scored(new: Rows, **found: list[tuple[int, float]]) -> list[ScoredImage]:
    """Images with (category, score) by "i" and their place; others have one sure detection."""
    sure = [(3, 0.99)]
    return [
        ScoredImage(
            id=int(number),
            file_name=str(name),
            width=100,
            height=80,
            detections=tuple(
                {"category_id": category, "bbox": [1.0, 2.0, 30.0, 20.0], "score": score, "category": str(category)}
                for category, score in found.get(f"i{place}", sure)
            ),
        )
        for place, (number, name) in enumerate(zip(new.ids, new.names, strict=True))
    ]


def picked(new: Rows, count: int, before: Profile = PROFILE, **found: list[tuple[int, float]]) -> Picked:
    return pick(before, new, scored(new, **found), THRESHOLDS, count)


def places(found: Picked) -> list[int]:
    """Ids are places from 1."""
    return [entry.image_id - 1 for entry in found.picks]


def plain(new: Rows) -> Rows:
    """Without features."""
    return dataclasses.replace(new, features=new.features[:, :0])


def counted(ace: float, king: float) -> Profile:
    """A profile with so many detections per image, without features."""
    before = plain(PROFILE.rows)
    for name, value in (("ace", ace), ("king", king)):
        before.values[:, NAMES.index(f"{name}: detections")] = value
    return dataclasses.replace(PROFILE, rows=before)


def test_doubtful_images_come_first_by_their_classes_thresholds() -> None:
    new = plain(rows(6, seed=1))
    even = counted(1, 1)
    found = picked(new, 4, even, i2=[(3, 0.4)], i4=[(7, 0.2), (3, 0.39)], i5=[(7, 0.4), (3, 0.2)])
    assert places(found) == [4, 2, 5, 0]
    first, second, _, last = found.picks
    assert (first.doubtful, first.reasons, first.novelty) == (2, ("uncertain",), None)
    assert second.doubt == pytest.approx(1.0), "a detection at its threshold"
    assert (last.doubtful, last.reasons) == (0, ("unlike the others",))
    assert found.picks[2].doubt == pytest.approx((0.6 / 0.8) ** 2 + 0.5**2)


def test_rare_classes_weigh_more() -> None:
    common, rare = class_weights(counted(3, 0.1))[3], class_weights(counted(3, 0.1))[7]
    assert common == (1.0, "ace")
    assert rare == (pytest.approx((63 / 5) ** 0.5), "king")
    new = plain(rows(4, seed=1))
    found = picked(new, 2, counted(3, 0.1), i1=[(3, 0.4)], i3=[(7, 0.2)])
    assert places(found) == [3, 1]
    assert (found.picks[0].reasons, found.picks[0].rare) == (("uncertain", "rare class"), ("king",))
    assert places(picked(new, 2, counted(0, 0), i1=[(3, 0.4)], i3=[(7, 0.2)])) == [1, 3]


def test_novel_images_that_differ_from_each_other() -> None:
    """Images 3, 4 and 5 are of one new kind, 6 of another: one of each kind comes before a second of any."""
    new = rows(12, seed=1)
    new.features[3:6] = new.features[3] + 0.01 * new.features[3:6]
    new.features[3:6, :4] += 12
    new.features[6, 4:8] += 12
    found = picked(new, 3)
    assert sorted(places(found)[:2]) in ([3, 6], [4, 6], [5, 6])
    assert not {3, 4, 5, 6} & {places(found)[2]}
    first = found.picks[0]
    assert first.reasons == ("novel",)
    assert first.novelty is not None
    assert first.novelty > 2
    assert first.distance == first.novelty
    assert [entry.value for entry in found.picks] == sorted((entry.value for entry in found.picks), reverse=True)
    doubtful = picked(new, 3, i9=[(3, 0.4), (7, 0.2), (3, 0.41)] * 2)
    assert 9 in places(doubtful)


def test_near_duplicates_are_left_out_and_counted() -> None:
    once = plain(rows(5, seed=1))
    video = joined([once, once, once])
    video = dataclasses.replace(video, ids=np.arange(1, 16), fingerprints=video.fingerprints)
    found = picked(video, 10, counted(1, 1))
    assert places(found) == [0, 1, 2, 3, 4]
    assert (found.candidates, found.near_duplicates) == (15, 10)
    blank = dataclasses.replace(video, fingerprints=np.full(15, "", np.str_))
    assert len(picked(blank, 20, counted(1, 1)).picks) == 15, "nearly uniform pictures have no fingerprint"


def test_the_same_images_in_another_order_and_of_very_many_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    new = rows(30, seed=1)
    doubts = {f"i{i}": [(3, 0.05 + i / 40)] for i in range(20)}
    found = picked(new, 8, **doubts)
    order = np.random.default_rng(0).permutation(30)
    shuffled = pick(PROFILE, new.take(order), reversed(scored(new, **doubts)), THRESHOLDS, 8)
    assert [entry.image_id for entry in shuffled.picks] == [entry.image_id for entry in found.picks]
    monkeypatch.setattr(worth, "MAX_CANDIDATES", 12)
    part = picked(new, 40, **doubts)
    assert (part.candidates, len(part.picks)) == (12, 12)
    assert part == picked(new, 40, **doubts)


@pytest.mark.parametrize("sign", [1, -1])
def test_images_that_show_what_drifted_come_first(sign: int) -> None:
    """Images 2 and 5 are far out in contrast; only if contrast drifted, in that direction, does it count."""
    column, new = NAMES.index("contrast"), plain(rows(8, seed=1))
    new.values[:, column] = np.median(PROFILE.rows.values[:, column])
    new.values[[2, 5], column] += sign * 1000
    doubts = {"i1": [(3, 0.41)], "i5": [(3, 0.41)]}
    even = counted(1, 1)

    def found(**drifts: float) -> Picked:
        statistics = [
            Statistic(
                name=name, group="picture", effect=drifts.get(name, 0), p=1, drifted=name in drifts, before=0, now=0
            )
            for name in sorted(NAMES, key=lambda name: name not in drifts)  # as in watch.json: what drifted comes first
        ]
        return pick(even, new, scored(new, **doubts), THRESHOLDS, 8, statistics=statistics)

    first, second, third, *_ = found(contrast=0.5 * sign).picks
    assert [entry.image_id - 1 for entry in (first, second, third)] == [5, 2, 1]
    assert first.reasons == ("uncertain", "drifted")
    assert (second.reasons, second.statistic) == (("drifted",), "contrast")
    assert second.rarity == pytest.approx(math.log10(1 + len(PROFILE.rows)), abs=1e-4)
    assert second.value == pytest.approx((1 + second.doubt) * (1 + second.rarity), abs=1e-3)
    assert third.reasons == ("uncertain",)
    assert third.rarity is not None
    assert third.rarity < 0.5
    for steady in (found(), found(contrast=-0.5 * sign), found(brightness=0.5)):
        assert {1, 5} == {entry.image_id - 1 for entry in steady.picks[:2]}
    assert {entry.rarity for entry in found().picks} == {None}
