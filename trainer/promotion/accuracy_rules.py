"""The gate's rules about accuracy: is the candidate good enough, and not worse than champion and best version?

Where the models' classes differ, they are compared over the classes that both know.

Numbers are compared with >= as they are. Differences are first rounded to 9 decimals, so that 0.395 - 0.400 is -0.005
and not -0.0050000000000000044.
"""

import math
from collections.abc import Mapping
from dataclasses import replace

from trainer.coco.metrics import SIZES
from trainer.promotion.case import Case, Other, Verdict, one_line, status_of
from trainer.promotion.classes import listed, plural
from trainer.promotion.evaluation import Evaluation, is_fraction

DELTA_DECIMALS = 9


def min_ap(case: Case) -> Verdict:
    """AP is high enough, and not 0."""
    ap, minimum = case.candidate.metrics.get("ap"), case.config.min_ap
    passed = is_fraction(ap) and ap >= minimum and ap > 0
    if not is_fraction(ap):
        sentence = f"The candidate has no AP to compare with the minimum {minimum:.4f}."
    elif ap == 0:
        sentence = f"AP is 0: the candidate finds nothing. The minimum is {minimum:.4f}, and AP must be above 0."
    else:
        sentence = f"AP {ap:.4f} {'reaches' if passed else 'is below'} the minimum {minimum:.4f}."
    return Verdict(value=_jsonable(ap), threshold=minimum, status=status_of(passed), sentence=sentence)


def min_delta(case: Case) -> Verdict:
    """Not worse than the champion."""
    return _not_worse(case, "champion")


def min_delta_best(case: Case) -> Verdict:
    """Not worse than the best version."""
    return _not_worse(case, "best")


def _not_worse(case: Case, who: Other) -> Verdict:
    bound, named, shared = case.config.min_delta, case.named(who), case.shared.get(who)
    if shared is not None and not shared.category_ids:
        sentence = f"The {named} knows none of the candidate's classes; rule skipped."
        return Verdict(value=None, threshold=bound, status="skipped", sentence=sentence)
    new, old = (metrics.get("ap") for metrics in _metrics(case, who))
    found = case.comparisons.get(who, "it was not made")
    value: float | None = None
    passed = False
    if not is_fraction(new) or not is_fraction(old):
        sentence = f"There is no difference to compare: the candidate's AP is {new}, the {who}'s is {old}."
    elif isinstance(found, str):
        sentence = f"There is no bootstrap comparison with the {named}: {one_line(found)}."
    elif not math.isfinite(found.low):
        sentence = f"The bootstrap comparison with the {named} gave no number."
    else:
        value = round(found.low, DELTA_DECIMALS)
        passed = value >= bound
        over = ""
        if shared is not None:
            whole = [f"{entry:.4f}" if is_fraction(entry) else "-" for entry in _whole(case, who)]
            over = f" over {plural(len(shared.category_ids), 'common ')} ({whole[0]} against {whole[1]} over all)"
        sentence = (
            f"AP {new:.4f} against {old:.4f} of the {named} on the same images{over}: the difference is "
            f"{new - old:+.4f}, 95 % interval {found.low:+.4f} to {found.high:+.4f}, better with probability "
            f"{found.probability_better:.0%}; its lower end must be at least {bound:+.4f}."
        )
    return Verdict(value=value, threshold=bound, status=status_of(passed), sentence=sentence)


def _metrics(case: Case, who: Other) -> tuple[Mapping[str, float | None], Mapping[str, float | None]]:
    """The candidate's and the other model's metrics, over the classes that both know."""
    if shared := case.shared.get(who):
        return shared.new.metrics, shared.old.metrics
    return case.candidate.metrics, _scored(case, who).metrics


def _whole(case: Case, who: Other) -> tuple[float | None, float | None]:
    return case.candidate.metrics.get("ap"), _scored(case, who).metrics.get("ap")


def _scored(case: Case, who: Other) -> Evaluation:
    other = case.other(who)
    assert isinstance(other, Evaluation)  # rules.judge_rule
    return other


def max_class_drop(case: Case) -> Verdict:
    """No class that the champion knows lost too much."""
    champion = _scored(case, "champion")
    new = {entry.category_id: entry for entry in case.candidate.per_class}
    drops: dict[str, float] = {}
    unjudged: dict[str, int] = {}
    for old in champion.per_class:
        if old.category_id not in champion.classes.category_ids:
            continue  # a class that the champion does not know: the rule `classes` names it
        # Both models are scored on the same objects; a class may be missing from one file.
        found = new.get(old.category_id, replace(old, ap=None))
        if found.objects >= case.config.min_support:
            drops[f"class {old.name}"] = _lost(old.ap, found.ap)
        else:
            unjudged[old.name] = found.objects
    return _drop(case, case.config.max_class_drop, drops, unjudged, "class")


def max_size_drop(case: Case) -> Verdict:
    """No size of objects lost too much."""
    new, old = _metrics(case, "champion")
    shared = case.shared.get("champion")
    count = shared.new.objects_by_size if shared else case.candidate.objects_by_size
    drops: dict[str, float] = {}
    unjudged: dict[str, int] = {}
    for size in SIZES:
        if count.get(size, 0) >= case.config.min_support:
            drops[f"{size} objects"] = _lost(old.get(f"ap_{size}"), new.get(f"ap_{size}"))
        else:
            unjudged[size] = count.get(size, 0)
    return _drop(case, case.config.max_size_drop, drops, unjudged, "size")


def _lost(old: float | None, new: float | None) -> float:
    """AP lost; NaN where there are objects but one of the two has no AP: such a loss is unknown, not small."""
    return old - new if is_fraction(old) and is_fraction(new) else math.nan


def _drop(case: Case, bound: float, drops: Mapping[str, float], unjudged: Mapping[str, int], kind: str) -> Verdict:
    support = case.config.min_support
    broken = [what for what, drop in drops.items() if not math.isfinite(drop)]
    few = listed([f"{name} ({count})" for name, count in unjudged.items()])
    if broken:
        sentence = f"AP of {broken[0]} is missing or not a fraction in the candidate's or the champion's evaluation."
        return Verdict(value=None, threshold=bound, status="fail", sentence=one_line(sentence) + ".")
    if not drops:
        found = f": {few}" if few else ""
        sentence = f"No {kind} has the {support} objects that a comparison needs{found}; rule skipped."
        return Verdict(value=None, threshold=bound, status="skipped", sentence=one_line(sentence) + ".")
    worst = max(drops, key=lambda what: drops[what])
    value = round(drops[worst], DELTA_DECIMALS)
    sentence = (
        f"The largest loss against the champion, among {len(drops)} with {support} objects or more, is "
        f"{value:+.4f} AP of {worst}; at most {bound:.4f} is allowed."
    ) + (f" Not judged, with fewer objects: {few}." if few else "")
    return Verdict(value=value, threshold=bound, status=status_of(value <= bound), sentence=one_line(sentence) + ".")


def _jsonable(value: float | None) -> float | str | None:
    return value if value is None or math.isfinite(value) else str(value)
