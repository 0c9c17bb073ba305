"""Judges a candidate: reads the evaluations, compares them by bootstrap, and decides by the rules.

The bootstrap needs matches.npz, which trainer.evaluate writes next to evaluation.json. A missing or damaged file holds
the candidate, and the decision says why.
"""

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.files import read_bytes
from trainer.coco import bootstrap, match_table
from trainer.coco.match_table import MatchTable
from trainer.promotion.decision import Decision, decide
from trainer.promotion.evaluation import MATCHES, PREDICTIONS, Evaluation, NoEvaluation, is_fraction, read_evaluation
from trainer.promotion.rules import SAME, Case
from trainer.shared.fixes import EVALUATE_AGAIN

if TYPE_CHECKING:
    from trainer.config.sections import GateConfig


def judge(
    candidate: str,
    champion: str | None,
    config: "GateConfig",
    champion_version: str = "",
    *,
    best: str | None = None,
    best_version: str = "",
) -> Decision:
    """Decides about a candidate.

    Args:
      candidate: URI of its evaluation.json.
      champion: URI of the champion's evaluation.json on the same images; None: there is no champion.
      config: the thresholds.
      champion_version: the champion's name in the registry, "" for none.
      best: URI of the evaluation.json of the version `best`; None: the best version is the champion.
      best_version: its name in the registry.

    Raises:
      InputError: the candidate's evaluation cannot be read, or it says that the model was not scored.
    """
    scored = read_evaluation(candidate)
    if isinstance(scored, NoEvaluation):
        raise InputError(f"{candidate}: status is {scored.status} ({scored.reason}); give a scored model's evaluation")
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
    """The champion's evaluation. A missing or broken file counts as a failed champion, which holds the candidate."""
    try:
        return read_evaluation(uri)
    except InputError as error:
        return NoEvaluation(status="failed", reason=str(error))


def read_matches(uri: str, evaluation: Evaluation) -> MatchTable:
    """The matches next to an evaluation.json.

    Raises:
      InputError: missing, truncated, or of another evaluation.
    """
    return match_table.from_bytes(read_checked(uri, evaluation, MATCHES), MATCHES)


def read_checked(uri: str, evaluation: Evaluation, name: str) -> bytes:
    """A file next to an evaluation.json, if it is still the one that was written with it.

    Raises:
      InputError: missing, or with another sha256 than the evaluation gives.
    """
    path = uri.rpartition("/")[0] + "/" + name if "/" in uri else name
    content = read_bytes(path, EVALUATE_AGAIN)
    if hashlib.sha256(content).hexdigest() != evaluation.files.get(name):
        raise InputError(f"{path}: is truncated or changed: its sha256 is not the evaluation's; {EVALUATE_AGAIN}")
    return content
