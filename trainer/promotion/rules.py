"""The gate's rules: may this candidate replace the champion? A pure function of evaluations and their comparisons.

A number that is missing, NaN or no fraction never passes a rule that needs it; a metric that this data does not have
(null) fails only a rule that names it. Numbers are compared with >= as they are; differences are first rounded to 9
decimals, so that 0.395 - 0.400 is -0.005 and not -0.0050000000000000044.

To add a rule: a function Case -> RuleResult in RULES, its name in decision.RULE_NAMES, its threshold in GateConfig, and
its cases in the tests' table.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TypeGuard

from trainer.coco.bootstrap import Comparison, Interval
from trainer.coco.metrics import SIZES
from trainer.config.sections import GateConfig
from trainer.promotion.decision import Decision, RuleResult
from trainer.promotion.evaluation import Evaluation, NoEvaluation, is_fraction

DELTA_DECIMALS = 9


SAME = NoEvaluation(status="champion", reason="the best is the champion")


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """Everything that the rules look at."""

    candidate: Evaluation
    champion: Evaluation | NoEvaluation
    """The current champion on the same images, or why there is none."""
    config: GateConfig
    champion_version: str = ""
    """The registry's name of the champion, "" for none."""
    best: Evaluation | NoEvaluation = SAME
    best_version: str = ""
    comparisons: dict[str, Comparison | str] = field(default_factory=dict)
    """"champion" and "best" to the bootstrap against them, or why there is none."""
    ap_interval: Interval | None = None
    damage: str = ""
    """What is wrong with the candidate's files beside evaluation.json."""


def decide(case: Case) -> Decision:
    """Judges all rules; every one is reported, also after one failed."""
    rules = tuple(rule(case) for rule in RULES)
    compared = {name: case.comparisons.get(name) for name in ("champion", "best")}
    return Decision(
        promote=all(rule.passed for rule in rules),
        champion_version=case.champion_version,
        best_version=case.best_version,
        model_digest=case.candidate.model_digest,
        ap_interval=case.ap_interval,
        intervals={name: found if _is_comparison(found) else None for name, found in compared.items()},
        rules=rules,
    )


def _is_comparison(found: Comparison | str | None) -> TypeGuard[Comparison]:
    return isinstance(found, Comparison) and all(map(math.isfinite, (found.delta, found.low, found.high)))


def _finite(case: Case) -> RuleResult:
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
    return RuleResult(
        name="finite",
        value=len(broken),
        threshold=0,
        passed=not broken,
        sentence=f"Not a finite fraction: {shown}." if broken else "AP and every other metric is a finite fraction.",
    )


def _complete(case: Case) -> RuleResult:
    candidate = case.candidate
    problem = "; ".join(filter(None, [candidate.incomplete, case.damage]))
    return RuleResult(
        name="complete",
        value=candidate.images_scored,
        threshold=candidate.images_expected,
        passed=not problem,
        sentence=f"The evaluation is not complete: {problem}."
        if problem
        else f"All {candidate.images_expected} validation images were scored exactly once.",
    )


def _same_data(case: Case) -> RuleResult:
    candidate, champion = case.candidate, case.champion
    digest: str | None = None
    passed = False
    if not candidate.data_digest:
        sentence = "The candidate's evaluation does not say on which data it was made."
    elif isinstance(champion, NoEvaluation):
        passed = champion.status == "none"
        sentence = (
            "There was no champion, so there are no other validation images to differ from."
            if passed
            else "The champion could not be scored, so it is unknown whether its images are the same."
        )
    else:
        digest = champion.data_digest
        passed = candidate.data_digest == digest and not champion.incomplete
        if candidate.data_digest != digest:
            sentence = "Candidate and champion were scored on different validation data."
        elif champion.incomplete:
            sentence = f"The champion was not scored on every validation image once: {champion.incomplete}."
        else:
            sentence = "Candidate and champion were scored on the same validation data."
    return RuleResult(name="same_data", value=candidate.data_digest, threshold=digest, passed=passed, sentence=sentence)


def _min_ap(case: Case) -> RuleResult:
    candidate, config = case.candidate, case.config
    ap = candidate.metrics.get("ap")
    passed = is_fraction(ap) and ap >= config.min_ap
    if not is_fraction(ap):
        sentence = f"The candidate has no AP to compare with the minimum {config.min_ap:.4f}."
    else:
        sentence = f"AP {ap:.4f} {'reaches' if passed else 'is below'} the minimum {config.min_ap:.4f}."
    return RuleResult(name="min_ap", value=_jsonable(ap), threshold=config.min_ap, passed=passed, sentence=sentence)


def _min_delta(case: Case) -> RuleResult:
    return _not_worse(case, "min_delta", "champion", case.champion, case.champion_version)


def _min_delta_best(case: Case) -> RuleResult:
    if isinstance(case.best, NoEvaluation) and case.best.status == "champion":
        return RuleResult(
            name="min_delta_best",
            value=None,
            threshold=case.config.min_delta,
            passed=True,
            sentence="The best known version is the champion: min_delta judges the difference.",
        )
    return _not_worse(case, "min_delta_best", "best", case.best, case.best_version)


def _not_worse(case: Case, name: str, who: str, other: Evaluation | NoEvaluation, version: str) -> RuleResult:
    bound = case.config.min_delta
    value: float | None = None
    passed = False
    named = f"{who} {version or '(unnamed)'}"
    if isinstance(other, NoEvaluation):
        passed = other.status == "none" and not version
        if passed:
            sentence = f"There was no {who} to compare with: a first model needs only the other rules."
        elif other.status == "none":
            sentence = f"The registry names the {named}, but its evaluation says that there is none."
        else:
            sentence = f"The {named} could not be scored: {_one_line(other.reason)}."
    else:
        new, old = case.candidate.metrics.get("ap"), other.metrics.get("ap")
        found = case.comparisons.get(who, "it was not made")
        if not is_fraction(new) or not is_fraction(old):
            sentence = f"There is no difference to compare: the candidate's AP is {new}, the {who}'s {old}."
        elif isinstance(found, str):
            sentence = f"There is no bootstrap against the {named}: {_one_line(found)}."
        elif not math.isfinite(found.low):
            sentence = f"The bootstrap against the {named} gave no number."
        else:
            value = round(found.low, DELTA_DECIMALS)
            passed = value >= bound
            sentence = (
                f"AP {new:.4f} against {old:.4f} of the {named} on the same images: the difference is "
                f"{new - old:+.4f}, 95 % interval {found.low:+.4f} to {found.high:+.4f}, better with probability "
                f"{found.probability_better:.0%}; its lower end must be at least {bound:+.4f}."
            )
    return RuleResult(name=name, value=value, threshold=bound, passed=passed, sentence=sentence)


def _max_class_drop(case: Case) -> RuleResult:
    drops: dict[str, float] = {}
    if isinstance(case.champion, Evaluation):
        new = {entry.category_id: entry for entry in case.candidate.per_class}
        for old in case.champion.per_class:
            # The objects are those of the validation images, the same for both; a class may be missing from one file.
            found = new.get(old.category_id, replace(old, ap=None))
            if found.objects >= case.config.min_support:
                drops[f"class {old.name}"] = _lost(old.ap, found.ap)
    return _drop(case, "max_class_drop", case.config.max_class_drop, drops, "class")


def _max_size_drop(case: Case) -> RuleResult:
    drops: dict[str, float] = {}
    if isinstance(case.champion, Evaluation):
        for size in SIZES:
            if case.candidate.objects_by_size.get(size, 0) >= case.config.min_support:
                new, old = case.candidate.metrics.get(f"ap_{size}"), case.champion.metrics.get(f"ap_{size}")
                drops[f"{size} objects"] = _lost(old, new)
    return _drop(case, "max_size_drop", case.config.max_size_drop, drops, "size")


def _lost(old: float | None, new: float | None) -> float:
    """AP lost; NaN where there are objects, but one of the two has no AP: that loss is unknown, not small."""
    return old - new if is_fraction(old) and is_fraction(new) else math.nan


def _drop(case: Case, name: str, bound: float, drops: dict[str, float], kind: str) -> RuleResult:
    support = case.config.min_support
    if isinstance(case.champion, NoEvaluation):
        passed = case.champion.status == "none"
        sentence = "There was no champion to compare with." if passed else "The champion could not be scored."
        return RuleResult(name=name, value=None, threshold=bound, passed=passed, sentence=sentence)
    broken = [what for what, drop in drops.items() if not math.isfinite(drop)]
    if broken:
        sentence = f"AP of {broken[0]} is missing or no fraction, in the candidate's evaluation or in the champion's."
        return RuleResult(name=name, value=None, threshold=bound, passed=False, sentence=sentence)
    if not drops:
        sentence = f"No {kind} has the {support} objects that a comparison needs."
        return RuleResult(name=name, value=None, threshold=bound, passed=True, sentence=sentence)
    worst = max(drops, key=lambda what: drops[what])
    value = round(drops[worst], DELTA_DECIMALS)
    sentence = (
        f"Of {len(drops)} with {support} objects or more, {worst} lost most against the champion: "
        f"{value:+.4f} AP, at most {bound:.4f} is allowed."
    )
    return RuleResult(name=name, value=value, threshold=bound, passed=value <= bound, sentence=sentence)


def _parity(case: Case) -> RuleResult:
    parity = case.candidate.parity
    if parity is None:
        passed = not case.config.require_parity
        sentence = "The export was not compared with its checkpoint."
        return RuleResult(name="parity", value=None, threshold=None, passed=passed, sentence=sentence)
    passed = parity.get("passed") is True
    delta = parity.get("max_score_delta")
    value = float(delta) if isinstance(delta, int | float) and math.isfinite(delta) else None
    sentence = f"The export {'agrees' if passed else 'does not agree'} with its checkpoint within the export's bounds."
    return RuleResult(name="parity", value=value, threshold=None, passed=passed, sentence=sentence)


def _max_latency(case: Case) -> RuleResult:
    bound, latency = case.config.max_latency_ms, case.candidate.latency_ms
    measured = latency is not None and math.isfinite(latency)
    said = f"One image takes {latency:.1f} ms (median)" if measured else "The latency was not measured"
    passed = not bound or (latency is not None and measured and latency <= bound)
    sentence = f"{said}; " + (f"at most {bound:.1f} ms are allowed." if bound else "no bound is set.")
    return RuleResult(
        name="max_latency_ms",
        value=latency if measured else None,
        threshold=bound or None,
        passed=passed,
        sentence=sentence,
    )


Rule = Callable[[Case], RuleResult]

RULES: tuple[Rule, ...] = (
    _finite,
    _complete,
    _same_data,
    _min_ap,
    _min_delta,
    _min_delta_best,
    _max_class_drop,
    _max_size_drop,
    _parity,
    _max_latency,
)
"""In the order of decision.RULE_NAMES."""


def _jsonable(value: float | None) -> float | str | None:
    return value if value is None or math.isfinite(value) else str(value)


def _one_line(text: str) -> str:
    return " ".join(text.split()).rstrip(".")
