"""The gate's rules: may this candidate replace the champion? Pure functions of evaluations and their comparisons.

A missing number, NaN or a number that is not a fraction fails every rule that needs it. A metric that the data does not
have (null) fails only a rule that needs it. A rule with nothing to compare is skipped, and its sentence says so.

To add a rule: write a function Case -> Verdict, add it to RULES, add its threshold to GateConfig, and add its cases to
tests/trainer/promotion/test_rules.py.
"""

from collections.abc import Callable
from dataclasses import dataclass

from trainer.promotion import accuracy_rules, validity_rules
from trainer.promotion.case import Case, Other, Verdict, one_line
from trainer.promotion.evaluation import NoEvaluation


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """One row of the table of rules."""

    name: str
    judge: Callable[[Case], Verdict]
    needs: Other | None = None
    """The other model whose evaluation the rule compares with; without that evaluation `judge` is not called."""
    threshold: str = ""
    """The field of GateConfig that bounds a rule with `needs`."""


RULES = (
    Rule(name="finite", judge=validity_rules.finite),
    Rule(name="complete", judge=validity_rules.complete),
    Rule(name="objects", judge=validity_rules.objects),
    Rule(name="evidence", judge=validity_rules.evidence),
    # These two judge the candidate alone as well, with or without a champion.
    Rule(name="same_data", judge=validity_rules.same_data),
    Rule(name="classes", judge=validity_rules.classes),
    Rule(name="min_ap", judge=accuracy_rules.min_ap),
    Rule(name="min_delta", judge=accuracy_rules.min_delta, needs="champion", threshold="min_delta"),
    Rule(name="min_delta_best", judge=accuracy_rules.min_delta_best, needs="best", threshold="min_delta"),
    Rule(name="max_class_drop", judge=accuracy_rules.max_class_drop, needs="champion", threshold="max_class_drop"),
    Rule(name="max_size_drop", judge=accuracy_rules.max_size_drop, needs="champion", threshold="max_size_drop"),
    Rule(name="parity", judge=validity_rules.parity),
    Rule(name="max_latency_ms", judge=validity_rules.max_latency_ms),
)
"""In the order in which they are reported."""

RULE_NAMES = tuple(rule.name for rule in RULES)
"""Promotion asks for a verdict of each of them."""


def judge_rule(rule: Rule, case: Case) -> Verdict:
    """Judges one rule of the table."""
    if rule.needs is not None:
        other = case.other(rule.needs)
        if isinstance(other, NoEvaluation):
            return _without(rule.needs, other, case, threshold=getattr(case.config, rule.threshold))
    return rule.judge(case)


def _without(who: Other, other: NoEvaluation, case: Case, *, threshold: float) -> Verdict:
    """Skips a rule if there is no other model; fails it if there may be one, whose numbers are then unknown."""
    skipped = False
    if other.status == "none" and case.version(who):
        sentence = f"The registry names the {case.named(who)}, but its evaluation says that there is none."
    elif other.status == "none":
        skipped = True
        sentence = f"No {'champion' if who == 'champion' else 'earlier best version'}; rule skipped."
    elif other.status == "champion" and who == "best":
        skipped = True
        sentence = "The best version is the champion, which min_delta compares with; rule skipped."
    else:
        sentence = f"The {case.named(who)} could not be scored: {one_line(other.reason)}."
    return Verdict(value=None, threshold=threshold, status="skipped" if skipped else "fail", sentence=sentence)
