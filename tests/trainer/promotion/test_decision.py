"""decision.json: written, read strictly, and never promoting after an edit."""

import json
from dataclasses import asdict, replace

import pytest

from beam_preprocess.base.errors import InputError
from trainer.coco.bootstrap import Comparison, Interval
from trainer.config.gate_config import GateConfig
from trainer.promotion.case import Evidence, status_of
from trainer.promotion.decision import (
    DECISION_SCHEMA,
    EVIDENCE,
    Decision,
    RuleResult,
    difference,
    parse_decision,
    read_decision,
)
from trainer.promotion.rules import RULE_NAMES


def rule(name: str, passed: bool = True, value: float | int | None = 0.5, threshold: float | int = 0.4) -> RuleResult:
    status = status_of(passed)
    return RuleResult(name=name, value=value, threshold=threshold, status=status, sentence="So it is.")


COMPARISON = {"delta": 0.1, "low": 0.0, "high": 0.2, "probability_better": 0.9, "resamples": 1000}

GOOD = Decision(promote=True, champion_version="v0001", rules=tuple(rule(name) for name in RULE_NAMES))


def changed(**values) -> str:
    return json.dumps({**json.loads(GOOD.to_json()), **values})


@pytest.mark.parametrize(
    ("decision", "reasons"),
    [
        (GOOD, ()),
        (Decision(promote=False, champion_version="", rules=GOOD.rules), ("the decision says promote: false",)),
        (Decision(promote=True, champion_version="", rules=GOOD.rules[1:]), ("rule finite occurs 0 times",)),
        (Decision(promote=True, champion_version="", rules=()), tuple(f"rule {n} occurs 0 times" for n in RULE_NAMES)),
        (
            Decision(promote=True, champion_version="", rules=(*GOOD.rules, rule("min_ap"))),
            ("rule min_ap occurs 2 times",),
        ),
        (  # the file says promote, a rule says no
            Decision(
                promote=True, champion_version="", rules=tuple(rule(name, name != "min_delta") for name in RULE_NAMES)
            ),
            ("min_delta: So it is",),
        ),
        (  # a rule of a later version, failed
            Decision(promote=True, champion_version="", rules=(*GOOD.rules, rule("latency", False))),
            ("latency: So it is",),
        ),
    ],
)
def test_refusals(decision, reasons):
    assert decision.refusals == reasons
    assert parse_decision(decision.to_json(), "x") == decision


@pytest.mark.parametrize(
    ("result", "brief"),
    [
        (rule("min_ap", False, value=0.41, threshold=0.5), "min_ap 0.4100 < 0.5000"),
        (rule("min_ap", False, value=0.49999, threshold=0.5), "min_ap 0.49999 < 0.5"),
        (rule("min_delta", False, value=-0.08, threshold=-0.005), "min_delta -0.0800 < -0.0050"),
        (rule("min_ap", False, value=None, threshold=0.5), "min_ap: So it is"),
        (rule("complete", False, value=71, threshold=72), "complete: So it is"),
    ],
)
def test_brief(result, brief):
    assert result.brief == brief


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "is a list, not an object"),
        ("{}", "schema_version is None"),
        (changed(schema_version=9), "schema_version is 9"),
        (changed(extra=1), "unknown key 'extra'"),
        (json.dumps({"schema_version": DECISION_SCHEMA, "promote": True}), "lacks champion_version, rules"),
        (changed(promote="true"), "promote: is 'true'"),
        (changed(promote=1), "promote: is 1"),
        (changed(champion_version=None), "champion_version: is None"),
        (changed(rules={}), "rules: is"),
        (changed(rules=[{"name": "finite"}]), "rules.0.: lacks"),
        (
            changed(rules=[{**json.loads(GOOD.to_json())["rules"][0], "status": "x"}]),
            "status: is 'x'; use one of 'pass', 'fail', 'skipped'",
        ),
        (changed(rules=[{**json.loads(GOOD.to_json())["rules"][0], "value": True}]), "value: is True"),
        (changed(rules=["finite"]), "rules.0.: is a text, not an object"),
        (changed(ap_interval={"low": 0.1}), "ap_interval: lacks high"),
        (changed(ap_interval={"low": 0.1, "high": True}), "ap_interval: high: is True"),
        (changed(intervals={"champion": None}), "intervals holds champion; champion and best are needed"),
        (changed(intervals={"champion": {"delta": 0.1}, "best": None}), "intervals.champion: lacks low"),
        (changed(intervals={"champion": {**COMPARISON, "resamples": 1.5}, "best": None}), "resamples: is 1.5"),
        (changed(intervals={"champion": {**COMPARISON, "delta": float("nan")}, "best": None}), "is not finite"),
        (changed(evidence={"candidate": None}), "evidence holds candidate; candidate, champion and best are needed"),
        (changed(gate={**asdict(GateConfig()), "min_ap": 7.0}), r"gate\.min_ap: 7\.0 is out of range"),
        (changed(gate={}), "gate: lacks min_ap"),
        (changed(promote=False), "was changed after it was written"),
        (changed(digest=""), "was changed after it was written"),
    ],
)
def test_strict(text, message):
    with pytest.raises(InputError, match=message) as error:
        parse_decision(text, "some/decision.json")
    assert "some/decision.json" in str(error.value)


def test_intervals_survive(tmp_path):
    found = Comparison(**COMPARISON)
    decision = replace(GOOD, ap_interval=Interval(low=0.4, high=0.5), intervals={"champion": found, "best": None})
    (tmp_path / "decision.json").write_text(decision.to_json())
    assert read_decision(str(tmp_path / "decision.json")) == decision


def test_texts_for_people():
    rules = (rule("finite"), replace(rule("min_delta"), status="skipped"), rule("min_ap", False))
    decision = replace(GOOD, promote=False, rules=rules, ap_interval=Interval(low=0.4, high=0.5))
    words = [line.split()[:2] for line in decision.to_text().splitlines()]
    assert words == [["pass", "finite"], ["skipped", "min_delta"], ["FAIL", "min_ap"], ["decision:", "hold"]]
    page = decision.to_markdown()
    assert page.startswith("# Hold\n\nAP, 95 % bootstrap interval: 0.4000 to 0.5000\n")
    assert "| min_ap | 0.5000 | 0.4000 | **FAIL** | So it is. |" in page
    assert "| min_delta | 0.5000 | 0.4000 | skipped | So it is. |" in page


def test_nan_is_refused_on_writing():
    decision = Decision(promote=False, champion_version="", rules=(rule("min_ap", value=float("nan")),))
    with pytest.raises(ValueError, match="JSON"):
        decision.to_json()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, ""),
        ({"rules": (replace(GOOD.rules[0], value=0.5 + 1e-9), *GOOD.rules[1:])}, ""),  # another processor
        ({"rules": (replace(GOOD.rules[0], sentence="In other words."), *GOOD.rules[1:])}, ""),
        ({"rules": (replace(GOOD.rules[0], value=0.51), *GOOD.rules[1:])}, "rules[0].value: 0.5 or 0.51"),
        ({"rules": (replace(GOOD.rules[0], value=None), *GOOD.rules[1:])}, "rules[0].value: 0.5 or None"),
        (
            {"rules": (replace(GOOD.rules[0], status="skipped"), *GOOD.rules[1:])},
            "rules[0].status: 'pass' or 'skipped'",
        ),
        ({"rules": GOOD.rules[1:]}, "rules: "),
        ({"champion_version": "v2"}, "champion_version: 'v0001' or 'v2'"),
        ({"evidence": {**dict.fromkeys(EVIDENCE), "best": Evidence(uri="x", digest="")}}, "evidence.best: None or"),
    ],
)
def test_difference(change, words):
    found = difference(GOOD, replace(GOOD, **change))
    assert found.startswith(words)
    assert bool(found) == bool(words)
