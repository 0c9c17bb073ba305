"""Judges a candidate: reads evaluations, compares them by bootstrap, and decides by the rules of `rules`.

matches.npz, which trainer.evaluate writes next to evaluation.json, is needed for the bootstrap. What is missing or
damaged holds the candidate, with the reason.
"""

import hashlib
from dataclasses import replace

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.files import read_bytes
from trainer.coco import bootstrap, match_table
from trainer.coco.match_table import MatchTable
from trainer.config.sections import GateConfig
from trainer.promotion.decision import Decision
from trainer.promotion.evaluation import MATCHES, PREDICTIONS, Evaluation, NoEvaluation, is_fraction, read_evaluation
from trainer.promotion.rules import SAME, Case, decide

FIX = "evaluate the model again"


def judge(
    candidate: str,
    champion: str | None,
    config: GateConfig,
    champion_version: str = "",
    *,
    best: str | None = None,
    best_version: str = "",
) -> Decision:
    """Decides about a candidate.

    Args:
      candidate: URI of its evaluation.json.
      champion: URI of the champion's on the same images; None: there is none.
      config: the thresholds.
      champion_version: the registry's name of the champion, "" for none.
      best: URI of the evaluation of the registry's `best`; None: the best is the champion.
      best_version: its name.

    Raises:
      InputError: the candidate's evaluation cannot be read or is none.
    """
    scored = read_evaluation(candidate)
    if isinstance(scored, NoEvaluation):
        raise InputError(f"{candidate}: says {scored.status} ({scored.reason}); give a scored model's")
    none = NoEvaluation(status="none", reason="no champion was given")
    others = {
        "champion": none if champion is None else read_champion(champion),
        "best": SAME if best is None else read_champion(best),
    }
    case = Case(
        candidate=scored,
        champion=others["champion"],
        config=config,
        champion_version=champion_version,
        best=others["best"],
        best_version=best_version,
    )
    try:
        own = read_matches(candidate, scored)
        read_checked(candidate, scored, PREDICTIONS)
    except InputError as error:
        problem = str(error)
        return decide(replace(case, damage=problem, comparisons={"champion": problem, "best": problem}))
    weights = bootstrap.draw(len(own.image_ids), config.resamples)
    aps = bootstrap.resampled_ap(own, weights)
    comparisons: dict[str, bootstrap.Comparison | str] = {}
    for who, uri in (("champion", champion), ("best", best)):
        other = others[who]
        if uri is None or isinstance(other, NoEvaluation):
            continue
        try:
            matches = read_matches(uri, other)
            bootstrap.check_paired(own, matches)
        except InputError as error:
            comparisons[who] = str(error)
            continue
        new, old = scored.metrics.get("ap"), other.metrics.get("ap")
        delta = new - old if is_fraction(new) and is_fraction(old) else 0.0
        found = bootstrap.compare(delta, aps, bootstrap.resampled_ap(matches, weights))
        comparisons[who] = found or "no resample had any object"
    return decide(replace(case, comparisons=comparisons, ap_interval=bootstrap.interval(aps)))


def read_champion(uri: str) -> Evaluation | NoEvaluation:
    """The champion's evaluation; a file that is missing or broken counts as a champion that failed: held."""
    try:
        return read_evaluation(uri)
    except InputError as error:
        return NoEvaluation(status="failed", reason=str(error))


def read_matches(uri: str, evaluation: Evaluation) -> MatchTable:
    """The matches that stand beside an evaluation.json.

    Raises:
      InputError: missing, truncated, or not those of this evaluation.
    """
    return match_table.from_bytes(read_checked(uri, evaluation, MATCHES), MATCHES)


def read_checked(uri: str, evaluation: Evaluation, name: str) -> bytes:
    """A file beside an evaluation.json, if it is still the one that was written with it.

    Raises:
      InputError: it is missing, or its sha256 is another one.
    """
    path = uri.rpartition("/")[0] + "/" + name if "/" in uri else name
    content = read_bytes(path, FIX)
    if hashlib.sha256(content).hexdigest() != evaluation.files.get(name):
        raise InputError(f"{path}: is truncated or changed: its sha256 is not the evaluation's; {FIX}")
    return content


def table(decision: Decision) -> str:
    """The rules as text lines, for a terminal."""
    lines = [f"{'pass' if rule.passed else 'FAIL'}  {rule.name:<14} {rule.sentence}" for rule in decision.rules]
    return "\n".join([*lines, "decision: promote" if decision.promote else "decision: hold"])


def markdown(decision: Decision) -> str:
    """The decision as a Markdown page."""
    lines = [f"# {'Promote' if decision.promote else 'Hold'}", ""]
    if decision.ap_interval:
        lines += [f"AP, 95 % bootstrap interval: {decision.ap_interval.low:.4f} to {decision.ap_interval.high:.4f}", ""]
    lines += ["| rule | value | threshold | | |", "|---|---|---|---|---|"]
    for rule in decision.rules:
        value, threshold = (f"{v:.4f}" if isinstance(v, float) else f"{v}" for v in (rule.value, rule.threshold))
        verdict = "pass" if rule.passed else "**FAIL**"
        sentence = rule.sentence.replace("|", "/")
        lines.append(f"| {rule.name} | {value[:12]} | {threshold[:12]} | {verdict} | {sentence} |")
    return "\n".join(lines) + "\n"
