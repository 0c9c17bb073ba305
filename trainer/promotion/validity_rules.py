"""The gate's rules about the evaluation itself: is it whole, unchanged, and of the same data and classes?"""

import math

from trainer.promotion.case import Case, Other, Status, Verdict, one_line, status_of
from trainer.promotion.classes import SHOWN, alike, listed, plural
from trainer.promotion.evaluation import Evaluation, NoEvaluation, is_fraction


def finite(case: Case) -> Verdict:
    """AP is present, and no metric is a broken number."""
    candidate = case.candidate
    numbers: dict[str, float | None] = {**candidate.metrics}
    for entry in candidate.per_class:
        name = f"class {entry.category_id} ({entry.name})"
        numbers |= {f"ap of {name}": entry.ap, f"ap50 of {name}": entry.ap50}
    broken = [f"{name} is {value}" for name, value in numbers.items() if value is not None and not is_fraction(value)]
    if "ap" not in numbers:
        broken.append("ap is missing")
    elif numbers["ap"] is None:
        why = "the validation images have no objects" if not candidate.objects else "no object counts for it"
        broken.append(f"ap is null ({why})")
    shown = ", ".join(broken[:3]) + (f" and {len(broken) - 3} more" if len(broken) > 3 else "")
    sentence = f"Not a finite fraction: {shown}." if broken else "AP and every other metric is a finite fraction."
    return Verdict(value=len(broken), threshold=0, status=status_of(not broken), sentence=one_line(sentence) + ".")


def complete(case: Case) -> Verdict:
    """Every image was scored exactly once, as the model is served."""
    candidate = case.candidate
    problem = candidate.incomplete
    return Verdict(
        value=candidate.images_scored,
        threshold=candidate.images_expected,
        status=status_of(not problem),
        sentence=f"The evaluation is not complete: {problem}."
        if problem
        else f"All {candidate.images_expected} validation images were scored exactly once.",
    )


def objects(case: Case) -> Verdict:
    """What was scored is what the data check counted."""
    scored, expected = case.candidate.objects, case.expected_objects
    status: Status = "skipped"
    if expected is None:
        sentence = "No data check was given; rule skipped."
    elif scored == expected:
        status, sentence = "pass", f"All {expected} objects that the data check counted were scored."
    else:
        status, sentence = "fail", f"{scored} objects were scored, but the data check counted {expected}."
    return Verdict(value=scored, threshold=expected, status=status, sentence=sentence)


def evidence(case: Case) -> Verdict:
    """The files of every evaluation are unchanged, and prove its numbers."""
    problems = [f"of the {who}: {one_line(found)}" for who, found in case.damage.items()]
    return Verdict(
        value=len(problems),
        threshold=0,
        status=status_of(not problems),
        sentence=f"Evidence {'; '.join(problems)}."
        if problems
        else "The files of the evaluation are unchanged, and matches.npz gives the numbers that it states.",
    )


def same_data(case: Case) -> Verdict:
    """Candidate, champion and best version were scored on the same images and annotations."""
    candidate, champion, best = case.candidate, case.champion, case.best
    digest: str | None = None
    status: Status = "fail"
    if not candidate.data_digest:
        sentence = "The candidate's evaluation does not say which data it was made on."
    elif isinstance(champion, Evaluation) and (problem := _other_data(candidate, champion, "champion")):
        digest, sentence = champion.data_digest, problem
    elif isinstance(best, Evaluation) and (problem := _other_data(candidate, best, "best version")):
        digest, sentence = best.data_digest, problem
    elif isinstance(champion, NoEvaluation):
        status = "skipped" if champion.status == "none" else "fail"
        sentence = (
            "No champion; rule skipped."
            if status == "skipped"
            else "The champion could not be scored, so it is unknown whether its images are the same."
        )
    else:
        digest, status = champion.data_digest, "pass"
        sentence = "Candidate and champion were scored on the same validation data."
    return Verdict(value=candidate.data_digest, threshold=digest, status=status, sentence=sentence)


def _other_data(candidate: Evaluation, other: Evaluation, named: str) -> str:
    """Why another model's scores are not of the candidate's data; "" if they are."""
    if candidate.data_digest != other.data_digest:
        return f"Candidate and {named} were scored on different validation data."
    if other.incomplete:
        return f"The {named} was not scored as served, exactly once on every validation image: {other.incomplete}."
    return ""


def classes(case: Case) -> Verdict:
    """No class of the champion or of the best version was lost or became ambiguous; new classes are welcome."""
    own = case.candidate.classes
    problems = [f"the candidate does not know {listed(own.only_in_data)}"] if own.only_in_data else []
    problems += [f"several classes of the candidate are named {listed(own.ambiguous)}"] if own.ambiguous else []
    notes: list[str] = []
    others: tuple[Other, Other] = ("champion", "best")
    for who in others:
        other = case.other(who)
        if isinstance(other, Evaluation):
            _compare_classes(case, who, other, problems, notes)
        elif who == "champion" and (other.status != "none" or case.champion_version):
            problems.append("the champion could not be scored, so its classes are unknown")
    known = len(own.matched)
    alone = isinstance(case.champion, NoEvaluation) and isinstance(case.best, NoEvaluation)
    status: Status = "fail" if problems else "skipped" if alone else "pass"
    if status == "skipped":
        sentence = "No champion; rule skipped"
    else:
        sentence = "; ".join(problems) or "; ".join(notes) or f"The models know the same {plural(known)}"
    sentence = one_line(sentence[0].upper() + sentence[1:]) + "."
    return Verdict(value=known, threshold=None, status=status, sentence=sentence)


def _compare_classes(case: Case, who: Other, other: Evaluation, problems: list[str], notes: list[str]) -> None:
    own, accepted = case.candidate.classes, case.config.vanished_classes
    gone = [name for name in other.classes.only_in_model if name not in own.only_in_model]
    unscored = [name for name in other.classes.only_in_model if name in own.only_in_model]
    # Two classes of one name match by their ids, which an export may swap.
    unsure = list(dict.fromkeys((*other.classes.ambiguous, *other.classes.of_one_name)))
    named = case.named(who)
    if vanished := [name for name in gone if name not in accepted]:
        fix = "list in gate.vanished_classes what was dropped on purpose"
        hints = [f"{old!r} may be {new!r}" for old in vanished for new in other.classes.only_in_data if alike(old, new)]
        fix = "; ".join([*hints[:SHOWN], fix])
        problems.append(f"classes of the {named} that vanished from the data: {listed(vanished)} ({fix})")
    if unclear := [name for name in unsure if name not in accepted]:
        fix = "several have the name: rename them, and list it in gate.vanished_classes"
        problems.append(f"classes of the {named} that cannot be matched: {listed(unclear)} ({fix})")
    if dropped := [name for name in (*gone, *unsure) if name in accepted]:
        notes.append(f"classes of the {named} that gate.vanished_classes accepts: {listed(dropped)}")
    if unscored:
        notes.append(f"classes of the {named} that nobody scored, because the file lacks them: {listed(unscored)}")
    if other.classes.only_in_data:
        common = len(own.category_ids & other.classes.category_ids)
        new = listed(other.classes.only_in_data)
        notes.append(f"classes that the {named} does not know: {new}; it is compared over {plural(common, 'common ')}")


def parity(case: Case) -> Verdict:
    """The export agreed with its checkpoint."""
    found = case.candidate.parity
    if found is None:
        required = case.config.require_parity
        sentence = "The export was not compared with its checkpoint" + ("." if required else "; rule skipped.")
        return Verdict(value=None, threshold=None, status="fail" if required else "skipped", sentence=sentence)
    passed = found.get("passed") is True
    delta = found.get("max_score_delta")
    value = float(delta) if isinstance(delta, int | float) and math.isfinite(delta) else None
    agrees = "agrees" if passed else "does not agree"
    sentence = f"The export {agrees} with its checkpoint within the export's bounds."
    return Verdict(value=value, threshold=None, status=status_of(passed), sentence=sentence)


def max_latency_ms(case: Case) -> Verdict:
    """A single-image call is fast enough."""
    bound, latency = case.config.max_latency_ms, case.candidate.latency_ms
    measured = latency if latency is not None and math.isfinite(latency) else None
    found = "The latency was not measured" if measured is None else f"One image takes {measured:.1f} ms (median)"
    limit = f"at most {bound:.1f} ms are allowed." if bound else "no bound is set; rule skipped."
    return Verdict(
        value=measured,
        threshold=bound or None,
        status="skipped" if not bound else status_of(measured is not None and measured <= bound),
        sentence=f"{found}; {limit}",
    )
