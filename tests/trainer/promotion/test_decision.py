import json

import pytest

from beam_preprocess.base.errors import InputError
from trainer.promotion.decision import RULE_NAMES, Decision, RuleResult


def rule(name: str, passed: bool = True, value: float | int | None = 0.5, threshold: float | int = 0.4) -> RuleResult:
    return RuleResult(name=name, value=value, threshold=threshold, passed=passed, sentence="So it is.")


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
    assert Decision.from_json(decision.to_json(), "x") == decision


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
        ("[]", "schema_version is None"),
        (changed(schema_version=9), "schema_version is 9"),
        (changed(extra=1), "needs exactly"),
        (json.dumps({"schema_version": 2, "promote": True}), "needs exactly"),
        (changed(promote="true"), "promote is 'true'"),
        (changed(promote=1), "promote is 1"),
        (changed(champion_version=None), "champion_version is None"),
        (changed(rules={}), "rules is"),
        (changed(rules=[{"name": "finite"}]), "needs exactly"),
        (changed(rules=[{**json.loads(GOOD.to_json())["rules"][0], "passed": 1}]), "passed is 1"),
        (changed(rules=[{**json.loads(GOOD.to_json())["rules"][0], "value": True}]), "value is True"),
        (changed(rules=["finite"]), "holds 'finite'"),
    ],
)
def test_strict(text, message):
    with pytest.raises(InputError, match=message) as error:
        Decision.from_json(text, "some/decision.json")
    assert "some/decision.json" in str(error.value)


def test_nan_is_refused_on_writing():
    decision = Decision(promote=False, champion_version="", rules=(rule("min_ap", value=float("nan")),))
    with pytest.raises(ValueError, match="JSON"):
        decision.to_json()
