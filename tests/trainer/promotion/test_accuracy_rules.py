"""Rules about accuracy: AP 0, common classes, and classes too rare to judge. test_rules.py has the other cases."""

from dataclasses import replace
from typing import Any

import pytest

from tests.trainer.made_decision import NONE, evaluation
from tests.trainer.made_evaluation import table_with
from trainer.coco.bootstrap import Comparison
from trainer.coco.metrics import ClassMetrics
from trainer.coco.recount import Recount, recount
from trainer.config.gate_config import GateConfig
from trainer.promotion.accuracy_rules import max_class_drop, max_size_drop, min_ap, min_delta, min_delta_best
from trainer.promotion.case import Case, Shared
from trainer.promotion.classes import Classes, match_classes

NAMES = ("ant", "bee", "cat")
DATA = list(enumerate(NAMES))


def case(**changes: Any) -> Case:
    return Case(**{"candidate": evaluation(), "champion": evaluation(), "config": GateConfig(), **changes})


@pytest.mark.parametrize(
    ("ap", "minimum", "status", "words"),
    [
        (0.0, 0.0, "fail", "AP is 0: the candidate finds nothing"),
        (1e-6, 0.0, "pass", "reaches the minimum 0.0000"),
        (0.4, 0.4, "pass", "reaches"),
        (0.39, 0.4, "fail", "is below"),
    ],
)
def test_a_model_that_finds_nothing_is_never_promoted(ap: float, minimum: float, status: str, words: str) -> None:
    verdict = min_ap(case(candidate=evaluation(ap), champion=NONE, config=GateConfig(min_ap=minimum)))
    assert verdict.status == status
    assert words in verdict.sentence


def per_class(**aps: tuple[float | None, int]) -> tuple[ClassMetrics, ...]:
    return tuple(
        ClassMetrics(category_id=i, name=name, ap=aps[name][0], ap50=0.5, images=9, objects=aps[name][1])
        for i, name in DATA
        if name in aps
    )


def known(*names: str) -> Classes:
    return match_classes([entry for entry in DATA if entry[1] in names], DATA)


def dropping(new: dict[str, tuple[float | None, int]], champion_knows: tuple[str, ...] = NAMES) -> Case:
    old = {name: (0.5, objects) for name, (_, objects) in new.items()}
    return case(
        candidate=evaluation(per_class=per_class(**new), classes=known(*NAMES)),
        champion=evaluation(per_class=per_class(**old), classes=known(*champion_knows)),
    )


@pytest.mark.parametrize(
    ("found", "status", "words"),
    [
        (
            dropping({"ant": (0.45, 100), "bee": (0.1, 99), "cat": (0.1, 3)}),
            "pass",
            "among 1 with 100 objects or more, is +0.0500 AP of class ant; at most 0.1000 is allowed. "
            "Not judged, with fewer objects: bee (99), cat (3).",
        ),
        (
            dropping({"ant": (0.1, 100), "bee": (0.1, 9)}),
            "fail",
            "AP of class ant; at most 0.1000 is allowed. Not judged",
        ),
        (dropping({"ant": (0.1, 9), "bee": (0.1, 8)}), "skipped", "comparison needs: ant (9), bee (8); rule skipped"),
        # The champion does not know the class: it lost nothing, and `classes` names it.
        (dropping({"ant": (0.5, 100), "bee": (0.0, 500)}, ("ant", "cat")), "pass", "among 1 with 100 objects"),
    ],
)
def test_classes_that_could_not_be_judged_are_named(found: Case, status: str, words: str) -> None:
    verdict = max_class_drop(found)
    assert verdict.status == status
    assert words in verdict.sentence


def test_sizes_that_could_not_be_judged_are_named() -> None:
    verdict = max_size_drop(case(candidate=evaluation(objects_by_size={"small": 4, "medium": 300})))
    assert verdict.status == "pass"
    assert verdict.sentence.endswith("Not judged, with fewer objects: small (4), large (0).")


COMPARISON = Comparison(delta=0.1, low=0.05, high=0.15, probability_better=1.0, resamples=1000)


def proven(ap: float) -> Recount:
    return recount(table_with(ap))


def test_different_classes_are_compared_over_the_common_ones() -> None:
    """Over all classes the champion looks worse, because it does not know the new one."""
    shared = Shared(category_ids=(3,), new=proven(0.5), old=proven(0.6))
    comparison = replace(COMPARISON, delta=-0.1, low=-0.15, high=-0.05)
    found = case(
        candidate=evaluation(0.5),
        champion=evaluation(0.3),
        champion_version="v0001",
        shared={"champion": shared},
        comparisons={"champion": comparison},
    )
    verdict = min_delta(found)
    assert verdict.status == "fail"
    ap = {which: entry.metrics["ap"] for which, entry in (("new", shared.new), ("old", shared.old))}
    assert f"AP {ap['new']:.4f} against {ap['old']:.4f} of the champion v0001" in verdict.sentence
    assert "over 1 common class (0.5000 against 0.3000 over all)" in verdict.sentence
    assert f"the difference is {ap['new'] - ap['old']:+.4f}" in verdict.sentence
    # The sizes as well: only large objects, of which the candidate finds fewer.
    sizes = max_size_drop(found)
    assert sizes.status == "fail"
    assert "AP of large objects" in sizes.sentence


def test_no_class_in_common_is_nothing_to_compare() -> None:
    nothing = Shared(category_ids=(), new=proven(0.5), old=proven(0.5))
    for rule, who in ((min_delta, "champion"), (min_delta_best, "best")):
        verdict = rule(case(best=evaluation(), shared={who: nothing}, comparisons={}))
        assert verdict.status == "skipped"
        assert "rule skipped" in verdict.sentence
