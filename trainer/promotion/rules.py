"""The gate's rules: may this candidate replace the champion? Pure functions of evaluations and their comparisons.

A missing number, NaN or a number that is not a fraction fails every rule that needs it. A metric that the data does not
have (null) fails only a rule that needs it. A rule with nothing to compare is skipped, and its sentence says so.

Numbers are compared with >= as they are. Differences are first rounded to 9 decimals, so that 0.395 - 0.400 is -0.005
and not -0.0050000000000000044.

To add a rule: write a function Case -> Verdict, add it to RULES, add its threshold to GateConfig, and add its cases to
tests/trainer/promotion/test_rules.py.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from trainer.coco.bootstrap import Comparison, Interval
from trainer.coco.metrics import SIZES
from trainer.promotion.evaluation import Evaluation, NoEvaluation, is_fraction

if TYPE_CHECKING:  # promotion reads decisions, which need the names of the rules but no configuration and no YAML
    from trainer.config.sections import GateConfig

DELTA_DECIMALS = 9
SAME = NoEvaluation(status="champion", reason="the best is the champion")

Other = Literal["champion", "best"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """Everything that the rules look at."""

    candidate: Evaluation
    champion: Evaluation | NoEvaluation
    """The current champion on the same images, or why there is none."""
    config: "GateConfig"
    champion_version: str = ""
    """The registry's name of the champion, "" for none."""
    best: Evaluation | NoEvaluation = SAME
    best_version: str = ""
    comparisons: dict[str, Comparison | str] = field(default_factory=dict)
    """"champion" and "best" to the bootstrap comparison with them, or why there is none."""
    ap_interval: Interval | None = None
    damage: str = ""
    """What is wrong with the files next to the candidate's evaluation.json; "" for nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What one rule found."""

    value: float | int | str | None
    """What was compared; None where there was nothing to compare."""
    threshold: float | int | str | None
    passed: bool
    """Also true for a skipped rule: it does not stop the candidate."""
    sentence: str
    """The verdict in words, with its numbers."""
    skipped: bool = False
    """Whether the rule had nothing to judge."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """One row of the table of rules."""

    name: str
    judge: Callable[[Case], Verdict]
    needs: Other | None = None
    """The other model whose evaluation the rule compares with; without that evaluation `judge` is not called."""
    threshold: str = ""
    """The field of GateConfig that bounds a rule with `needs`."""


def judge_rule(rule: Rule, case: Case) -> Verdict:
    """Judges one rule of the table."""
    if rule.needs is not None:
        other = case.champion if rule.needs == "champion" else case.best
        if isinstance(other, NoEvaluation):
            return _without(rule.needs, other, case, threshold=getattr(case.config, rule.threshold))
    return rule.judge(case)


def _without(who: Other, other: NoEvaluation, case: Case, *, threshold: float) -> Verdict:
    """Skips a rule if there is no other model; fails it if there may be one, whose numbers are then unknown."""
    version = _version(case, who)
    skipped = False
    if other.status == "none" and version:
        sentence = f"The registry names the {_named(case, who)}, but its evaluation says that there is none."
    elif other.status == "none":
        skipped = True
        sentence = f"No {'champion' if who == 'champion' else 'earlier best version'}; rule skipped."
    elif other.status == "champion" and who == "best":
        skipped = True
        sentence = "The best version is the champion, which min_delta compares with; rule skipped."
    else:
        sentence = f"The {_named(case, who)} could not be scored: {_one_line(other.reason)}."
    return Verdict(value=None, threshold=threshold, passed=skipped, skipped=skipped, sentence=sentence)


def _version(case: Case, who: Other) -> str:
    return case.champion_version if who == "champion" else case.best_version


def _named(case: Case, who: Other) -> str:
    return f"{who} {_version(case, who) or '(unnamed)'}"


def _finite(case: Case) -> Verdict:
    candidate = case.candidate
    numbers: dict[str, float | None] = {**candidate.metrics}
    for entry in candidate.per_class:
        name = f"class {entry.category_id} ({entry.name})"
        numbers |= {f"ap of {name}": entry.ap, f"ap50 of {name}": entry.ap50}
    broken = [f"{name} is {value}" for name, value in numbers.items() if value is not None and not is_fraction(value)]
    if "ap" not in numbers:
        broken.append("ap is missing")
    elif numbers["ap"] is None:
        broken.append("ap is null (the validation images have no objects)")
    shown = ", ".join(broken[:3]) + (f" and {len(broken) - 3} more" if len(broken) > 3 else "")
    sentence = f"Not a finite fraction: {shown}." if broken else "AP and every other metric is a finite fraction."
    return Verdict(value=len(broken), threshold=0, passed=not broken, sentence=sentence)


def _complete(case: Case) -> Verdict:
    candidate = case.candidate
    problem = "; ".join(filter(None, [candidate.incomplete, case.damage]))
    return Verdict(
        value=candidate.images_scored,
        threshold=candidate.images_expected,
        passed=not problem,
        sentence=f"The evaluation is not complete: {problem}."
        if problem
        else f"All {candidate.images_expected} validation images were scored exactly once.",
    )


def _same_data(case: Case) -> Verdict:
    candidate, champion = case.candidate, case.champion
    digest: str | None = None
    passed = skipped = False
    if not candidate.data_digest:
        sentence = "The candidate's evaluation does not say which data it was made on."
    elif isinstance(champion, NoEvaluation):
        passed = skipped = champion.status == "none"
        sentence = (
            "No champion; rule skipped."
            if skipped
            else "The champion could not be scored, so it is unknown whether its images are the same."
        )
    else:
        digest = champion.data_digest
        passed = candidate.data_digest == digest and not champion.incomplete
        if candidate.data_digest != digest:
            sentence = "Candidate and champion were scored on different validation data."
        elif champion.incomplete:
            sentence = f"The champion was not scored exactly once on every validation image: {champion.incomplete}."
        else:
            sentence = "Candidate and champion were scored on the same validation data."
    return Verdict(value=candidate.data_digest, threshold=digest, passed=passed, skipped=skipped, sentence=sentence)


def _min_ap(case: Case) -> Verdict:
    ap, minimum = case.candidate.metrics.get("ap"), case.config.min_ap
    passed = is_fraction(ap) and ap >= minimum
    if not is_fraction(ap):
        sentence = f"The candidate has no AP to compare with the minimum {minimum:.4f}."
    else:
        sentence = f"AP {ap:.4f} {'reaches' if passed else 'is below'} the minimum {minimum:.4f}."
    return Verdict(value=_jsonable(ap), threshold=minimum, passed=passed, sentence=sentence)


def _min_delta(case: Case) -> Verdict:
    return _not_worse(case, "champion", case.champion)


def _min_delta_best(case: Case) -> Verdict:
    return _not_worse(case, "best", case.best)


def _not_worse(case: Case, who: Other, other: Evaluation | NoEvaluation) -> Verdict:
    assert isinstance(other, Evaluation)  # judge_rule
    bound, named = case.config.min_delta, _named(case, who)
    new, old = case.candidate.metrics.get("ap"), other.metrics.get("ap")
    found = case.comparisons.get(who, "it was not made")
    value: float | None = None
    passed = False
    if not is_fraction(new) or not is_fraction(old):
        sentence = f"There is no difference to compare: the candidate's AP is {new}, the {who}'s is {old}."
    elif isinstance(found, str):
        sentence = f"There is no bootstrap comparison with the {named}: {_one_line(found)}."
    elif not math.isfinite(found.low):
        sentence = f"The bootstrap comparison with the {named} gave no number."
    else:
        value = round(found.low, DELTA_DECIMALS)
        passed = value >= bound
        sentence = (
            f"AP {new:.4f} against {old:.4f} of the {named} on the same images: the difference is "
            f"{new - old:+.4f}, 95 % interval {found.low:+.4f} to {found.high:+.4f}, better with probability "
            f"{found.probability_better:.0%}; its lower end must be at least {bound:+.4f}."
        )
    return Verdict(value=value, threshold=bound, passed=passed, sentence=sentence)


def _max_class_drop(case: Case) -> Verdict:
    assert isinstance(case.champion, Evaluation)  # judge_rule
    new = {entry.category_id: entry for entry in case.candidate.per_class}
    drops: dict[str, float] = {}
    for old in case.champion.per_class:
        # Both models are scored on the same objects; a class may be missing from one file.
        found = new.get(old.category_id, replace(old, ap=None))
        if found.objects >= case.config.min_support:
            drops[f"class {old.name}"] = _lost(old.ap, found.ap)
    return _drop(case, case.config.max_class_drop, drops, "class")


def _max_size_drop(case: Case) -> Verdict:
    assert isinstance(case.champion, Evaluation)  # judge_rule
    drops: dict[str, float] = {}
    for size in SIZES:
        if case.candidate.objects_by_size.get(size, 0) >= case.config.min_support:
            new, old = case.candidate.metrics.get(f"ap_{size}"), case.champion.metrics.get(f"ap_{size}")
            drops[f"{size} objects"] = _lost(old, new)
    return _drop(case, case.config.max_size_drop, drops, "size")


def _lost(old: float | None, new: float | None) -> float:
    """AP lost; NaN where there are objects but one of the two has no AP: such a loss is unknown, not small."""
    return old - new if is_fraction(old) and is_fraction(new) else math.nan


def _drop(case: Case, bound: float, drops: dict[str, float], kind: str) -> Verdict:
    support = case.config.min_support
    broken = [what for what, drop in drops.items() if not math.isfinite(drop)]
    if broken:
        sentence = f"AP of {broken[0]} is missing or not a fraction in the candidate's or the champion's evaluation."
        return Verdict(value=None, threshold=bound, passed=False, sentence=sentence)
    if not drops:
        sentence = f"No {kind} has the {support} objects that a comparison needs; rule skipped."
        return Verdict(value=None, threshold=bound, passed=True, skipped=True, sentence=sentence)
    worst = max(drops, key=lambda what: drops[what])
    value = round(drops[worst], DELTA_DECIMALS)
    sentence = (
        f"The largest loss against the champion, among {len(drops)} with {support} objects or more, is "
        f"{value:+.4f} AP of {worst}; at most {bound:.4f} is allowed."
    )
    return Verdict(value=value, threshold=bound, passed=value <= bound, sentence=sentence)


def _parity(case: Case) -> Verdict:
    parity = case.candidate.parity
    if parity is None:
        required = case.config.require_parity
        sentence = "The export was not compared with its checkpoint" + ("." if required else "; rule skipped.")
        return Verdict(value=None, threshold=None, passed=not required, skipped=not required, sentence=sentence)
    passed = parity.get("passed") is True
    delta = parity.get("max_score_delta")
    value = float(delta) if isinstance(delta, int | float) and math.isfinite(delta) else None
    agrees = "agrees" if passed else "does not agree"
    sentence = f"The export {agrees} with its checkpoint within the export's bounds."
    return Verdict(value=value, threshold=None, passed=passed, sentence=sentence)


def _max_latency(case: Case) -> Verdict:
    bound, latency = case.config.max_latency_ms, case.candidate.latency_ms
    measured = latency if latency is not None and math.isfinite(latency) else None
    found = "The latency was not measured" if measured is None else f"One image takes {measured:.1f} ms (median)"
    limit = f"at most {bound:.1f} ms are allowed." if bound else "no bound is set; rule skipped."
    return Verdict(
        value=measured,
        threshold=bound or None,
        passed=not bound or (measured is not None and measured <= bound),
        skipped=not bound,
        sentence=f"{found}; {limit}",
    )


RULES = (
    Rule(name="finite", judge=_finite),
    Rule(name="complete", judge=_complete),
    Rule(name="same_data", judge=_same_data),  # judges the candidate's own digest as well, with or without a champion
    Rule(name="min_ap", judge=_min_ap),
    Rule(name="min_delta", judge=_min_delta, needs="champion", threshold="min_delta"),
    Rule(name="min_delta_best", judge=_min_delta_best, needs="best", threshold="min_delta"),
    Rule(name="max_class_drop", judge=_max_class_drop, needs="champion", threshold="max_class_drop"),
    Rule(name="max_size_drop", judge=_max_size_drop, needs="champion", threshold="max_size_drop"),
    Rule(name="parity", judge=_parity),
    Rule(name="max_latency_ms", judge=_max_latency),
)
"""In the order in which they are reported."""

RULE_NAMES = tuple(rule.name for rule in RULES)
"""Promotion asks for a verdict of each of them."""


def _jsonable(value: float | None) -> float | str | None:
    return value if value is None or math.isfinite(value) else str(value)


def _one_line(text: str) -> str:
    return " ".join(text.split()).rstrip(".")
