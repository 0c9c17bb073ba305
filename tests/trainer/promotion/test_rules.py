"""Every rule of the gate, at and around its threshold."""

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_preprocess.base.errors import InputError
from tests.trainer.made_decision import FAILED, NONE, decide, evaluation
from trainer.coco.metrics import METRIC_NAMES, ClassMetrics
from trainer.config.sections import GateConfig
from trainer.promotion.case import SAME
from trainer.promotion.decision import parse_decision
from trainer.promotion.evaluation import NoEvaluation
from trainer.promotion.rules import RULE_NAMES, RULES


def metrics(**values) -> dict:
    return {**dict.fromkeys(METRIC_NAMES, 0.5), **values}


def class_with(**values) -> tuple[ClassMetrics, ...]:
    return (replace(evaluation().per_class[0], **values),)


STRICT = GateConfig(min_ap=0.4, min_delta=-0.005)
UNSCORED = {"same_data", "classes", "min_delta", "max_class_drop", "max_size_drop"}
"""Rules that fail when the champion could not be scored."""
CASES = [
    # candidate, champion, champion version, failed rules, id
    (evaluation(0.5), evaluation(0.5), "v0001", set(), "equal"),
    (evaluation(0.5), evaluation(0.4), "v0001", set(), "better"),
    (evaluation(0.4), NONE, "", set(), "AP exactly at the minimum"),
    (evaluation(math.nextafter(0.4, 0)), NONE, "", {"min_ap"}, "AP just below the minimum"),
    (evaluation(0.495), evaluation(0.5), "v0001", set(), "difference exactly at the threshold"),
    (evaluation(0.4949999), evaluation(0.5), "v0001", {"min_delta"}, "difference just below the threshold"),
    (evaluation(0.42), evaluation(0.5), "v0001", {"min_delta"}, "worse"),
    (evaluation(0.3), evaluation(0.5), "v0001", {"min_ap", "min_delta"}, "worse and too low: both are reported"),
    (evaluation(None), evaluation(0.5), "v0001", {"finite", "min_ap", "min_delta"}, "no AP"),
    (evaluation(math.nan), evaluation(0.5), "v0001", {"finite", "min_ap", "min_delta"}, "AP NaN"),
    (evaluation(math.inf), evaluation(0.5), "v0001", {"finite", "min_ap", "min_delta"}, "AP infinite"),
    (evaluation(50.1), evaluation(0.5), "v0001", {"finite", "min_ap", "min_delta"}, "AP in percent"),
    (evaluation(-1.0), NONE, "", {"finite", "min_ap"}, "pycocotools' -1"),
    (evaluation(metrics={"ap50": 0.9}), NONE, "", {"finite", "min_ap"}, "AP missing"),
    (evaluation(metrics=metrics(ap_small=None)), NONE, "", set(), "no small objects: null is not a failure"),
    (evaluation(metrics=metrics(ap_small=math.nan)), NONE, "", {"finite"}, "another metric NaN"),
    (evaluation(per_class=class_with(ap=math.nan)), NONE, "", {"finite"}, "a class's AP NaN"),
    (evaluation(per_class=class_with(ap=None, ap50=None)), NONE, "", set(), "a class without objects"),
    (evaluation(images_scored=71, images_missing=1, images_missing_ids=(7,)), NONE, "", {"complete"}, "missing image"),
    (evaluation(images_missing=1), NONE, "", {"complete"}, "missing image, counts disagree"),
    (evaluation(images_repeated=1), NONE, "", {"complete"}, "repeated image"),
    (evaluation(images_scored=73), NONE, "", {"complete"}, "one image too many"),
    (evaluation(signature="augmented"), NONE, "", {"complete"}, "not what is served"),
    (evaluation(), evaluation(signature="augmented"), "v0001", {"same_data"}, "champion not as it is served"),
    (evaluation(images_expected=0, images_scored=0), NONE, "", {"complete"}, "no images"),
    (evaluation(data_digest="other"), evaluation(), "v0001", {"same_data"}, "other data"),
    (evaluation(data_digest=""), evaluation(data_digest=""), "v0001", {"same_data"}, "unknown data"),
    (evaluation(data_digest=""), NONE, "", {"same_data"}, "unknown data, no champion"),
    (evaluation(), evaluation(images_scored=70, images_missing=2), "v0001", {"same_data"}, "champion incomplete"),
    (evaluation(), evaluation(images_repeated=1), "v0001", {"same_data"}, "champion repeated"),
    (evaluation(), evaluation(None), "v0001", {"min_delta"}, "champion without AP"),
    (evaluation(), evaluation(math.nan), "v0001", {"min_delta"}, "champion NaN"),
    (evaluation(), evaluation(metrics={}), "v0001", {"min_delta", "max_size_drop"}, "champion AP missing"),
    (evaluation(), NONE, "", set(), "no champion"),
    (evaluation(), NONE, "v0003", UNSCORED - {"same_data"}, "no champion, but the registry names one"),
    (evaluation(), FAILED, "v0003", UNSCORED, "champion failed"),
    (evaluation(), FAILED, "", UNSCORED, "champion failed, unnamed"),
]


@pytest.mark.parametrize(("candidate", "champion", "version", "failed", "case"), CASES, ids=[c[-1] for c in CASES])
def test_rules(candidate, champion, version, failed, case):
    decision = decide(candidate, champion, STRICT, version)
    assert {rule.name for rule in decision.rules if not rule.passed} == failed
    assert decision.promote is (not failed)
    assert decision.champion_version == version
    assert tuple(rule.name for rule in decision.rules) == RULE_NAMES
    assert all(rule.sentence.endswith(".") and "\n" not in rule.sentence for rule in decision.rules)
    assert bool(decision.refusals) is bool(failed)
    json.loads(decision.to_json(), parse_constant=lambda name: pytest.fail(f"{name} in strict JSON"))
    assert parse_decision(decision.to_json(), "x") == decision


@pytest.mark.parametrize(
    ("candidate", "champion", "version", "rule", "words"),
    [
        (evaluation(), NONE, "v0003", "max_size_drop", "registry names the champion v0003, but its evaluation"),
        (evaluation(), NONE, "", "min_delta", "No champion; rule skipped"),
        (evaluation(), NONE, "", "same_data", "No champion; rule skipped"),
        (evaluation(), FAILED, "v0003", "min_delta", "v0003 could not be scored: saved_model.pb is missing"),
        (evaluation(0.42), evaluation(0.5), "v0001", "min_delta", "0.4200 against 0.5000 of the champion v0001"),
        (evaluation(0.42), evaluation(0.5), "v0001", "min_delta", "lower end must be at least -0.0050"),
        (evaluation(0.3), NONE, "", "min_ap", "0.3000 is below the minimum 0.4000"),
        (evaluation(None), NONE, "", "finite", "ap is null"),
        (evaluation(images_scored=71, images_missing=1, images_missing_ids=(7,)), NONE, "", "complete", "ids 7"),
    ],
)
def test_sentences(candidate, champion, version, rule, words):
    decision = decide(candidate, champion, STRICT, version)
    assert words in next(r.sentence for r in decision.rules if r.name == rule)


numbers = st.one_of(st.floats(0, 1), st.none(), st.floats(), st.sampled_from([0.4, 0.5, 0.495]))
evaluations = st.builds(
    evaluation,
    ap=numbers,
    data_digest=st.sampled_from(["abc", "def"]),
    images_scored=st.sampled_from([72, 72, 71]),
    images_repeated=st.sampled_from([0, 0, 1]),
)


@given(evaluations, st.one_of(evaluations, st.sampled_from([NONE, FAILED])), st.sampled_from(["", "v0001"]))
def test_promotes_if_and_only_if_every_rule_passes(candidate, champion, version):
    decision = decide(candidate, champion, STRICT, version)
    assert decision.promote == all(rule.passed for rule in decision.rules) == (not decision.refusals)
    if decision.promote:
        ap = candidate.metrics["ap"]
        assert ap is not None
        assert ap >= 0.4
        assert ap > 0
        assert isinstance(champion, NoEvaluation) or ap >= champion.metrics["ap"] - 0.005 - 1e-9


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_a_higher_ap_never_turns_promotion_into_a_hold(low, high, champion):
    low, high = sorted((low, high))
    if decide(evaluation(low), evaluation(champion), STRICT, "v0001").promote:
        assert decide(evaluation(high), evaluation(champion), STRICT, "v0001").promote


@pytest.mark.parametrize(
    "values", [{"min_ap": -0.1}, {"min_ap": 40.0}, {"min_ap": math.nan}, {"min_delta": math.nan}, {"min_delta": -5.0}]
)
def test_bad_config(values):
    with pytest.raises(InputError, match=rf"gate\.{next(iter(values))}: .* use a fraction"):
        GateConfig(**values)


def failed_rules(**changes) -> set[str]:
    return {
        rule.name
        for rule in decide(
            evaluation(0.5, **{k: v for k, v in changes.items() if k != "config"}),
            evaluation(0.5, metrics=metrics(ap_small=0.6), per_class=class_with(ap=0.9, objects=500)),
            changes.get("config", GateConfig()),
            "v0001",
        ).rules
        if not rule.passed
    }


@pytest.mark.parametrize(
    ("changes", "failed"),
    [
        ({"metrics": metrics(ap_small=0.56)}, set()),
        ({"metrics": metrics(ap_small=0.54)}, {"max_size_drop"}),
        ({"metrics": metrics(ap_small=0.1), "objects_by_size": {"small": 99}}, set()),
        ({"metrics": metrics(ap_small=None), "objects_by_size": {"small": 0}}, set()),
        ({"metrics": metrics(ap_small=None)}, {"max_size_drop"}),
        ({"metrics": metrics(ap_small=0.6), "per_class": class_with(ap=0.79, objects=100)}, {"max_class_drop"}),
        ({"metrics": metrics(ap_small=0.6), "per_class": class_with(ap=0.79, objects=99)}, set()),
        ({"metrics": metrics(ap_small=0.6), "per_class": class_with(ap=0.8, objects=100)}, set()),
        ({"metrics": metrics(ap_small=0.6), "per_class": class_with(ap=None, objects=500)}, {"max_class_drop"}),
        ({"metrics": metrics(ap_small=0.6), "per_class": ()}, {"max_class_drop"}),
        ({"metrics": metrics(ap_small=0.6), "parity": {"passed": False}}, {"parity"}),
        ({"metrics": metrics(ap_small=0.6), "parity": None}, {"parity"}),
        ({"metrics": metrics(ap_small=0.6), "parity": None, "config": GateConfig(require_parity=False)}, set()),
        ({"metrics": metrics(ap_small=0.6), "config": GateConfig(max_latency_ms=50.0)}, {"max_latency_ms"}),
        (
            {"metrics": metrics(ap_small=0.6), "latency_ms": 50.1, "config": GateConfig(max_latency_ms=50.0)},
            {"max_latency_ms"},
        ),
        ({"metrics": metrics(ap_small=0.6), "latency_ms": 50.0, "config": GateConfig(max_latency_ms=50.0)}, set()),
    ],
)
def test_rules_other_than_ap(changes, failed):
    assert failed_rules(**changes) == failed


@pytest.mark.parametrize(
    ("champion", "best", "config", "skipped"),
    [
        (
            NONE,
            NONE,
            GateConfig(),
            {"min_delta", "min_delta_best", "max_class_drop", "max_size_drop", "max_latency_ms"}
            | {"objects", "same_data", "classes"},
        ),
        # min_delta_best: the champion is the best. max_class_drop: the class has too few objects.
        (evaluation(), SAME, GateConfig(), {"min_delta_best", "max_class_drop", "max_latency_ms", "objects"}),
        (evaluation(), SAME, GateConfig(min_support=1, max_latency_ms=9.0), {"min_delta_best", "objects"}),
        (FAILED, FAILED, GateConfig(min_support=1, max_latency_ms=9.0), {"objects"}),
    ],
)
def test_a_rule_with_nothing_to_compare_is_skipped(
    champion: Any, best: Any, config: GateConfig, skipped: set[str]
) -> None:
    decision = decide(evaluation(latency_ms=5.0), champion, config, "", best=best)
    found = {rule.name: rule for rule in decision.rules if rule.skipped}
    assert set(found) == skipped
    assert all(rule.passed and rule.verdict == "skipped" for rule in found.values())
    assert all("rule skipped" in rule.sentence or rule.name == "max_latency_ms" for rule in found.values())


def test_parity_is_skipped_only_where_it_is_not_required() -> None:
    for required, verdict in ((True, "FAIL"), (False, "skipped")):
        decision = decide(evaluation(parity=None), NONE, GateConfig(require_parity=required), "")
        assert next(rule.verdict for rule in decision.rules if rule.name == "parity") == verdict


def test_the_table_of_rules() -> None:
    assert len(set(RULE_NAMES)) == len(RULES)
    for rule in RULES:
        assert rule.needs is None or hasattr(GateConfig(), rule.threshold), rule.name
