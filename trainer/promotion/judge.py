"""Judges a candidate: reads the evaluations, proves their numbers, compares them by bootstrap, decides by the rules.

All of it rests on matches.npz, which trainer.evaluate writes next to evaluation.json: the metrics are computed from it
again and compared with those that evaluation.json states. A missing, damaged or disagreeing file holds the candidate,
and the decision says why.
"""

import hashlib
import math
import os
from collections.abc import Collection
from dataclasses import replace

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.files import read_bytes
from trainer.coco import bootstrap, match_table
from trainer.coco.match_table import MatchTable
from trainer.coco.recount import Recount, recount
from trainer.coco.resampling import resampled_ap
from trainer.config.gate_config import GateConfig
from trainer.promotion.case import SAME, Case, Evidence, Shared
from trainer.promotion.decision import EVIDENCE, OTHERS, Decision, decide
from trainer.promotion.evaluation import MATCHES, PREDICTIONS, Evaluation, NoEvaluation, is_fraction, read_evaluation
from trainer.shared.fixes import EVALUATE_AGAIN, GATE_AGAIN

SAME_NUMBER = 1e-9
"""Metrics of the same matches may differ by this much: processors sum in different orders."""


def judge(
    candidate: str,
    champion: str | None,
    config: GateConfig,
    champion_version: str = "",
    *,
    best: str | None = None,
    best_version: str = "",
    expected_objects: int | None = None,
) -> Decision:
    """Decides about a candidate.

    Args:
      candidate: URI of its evaluation.json.
      champion: URI of the champion's evaluation.json on the same images; None: there is no champion.
      config: the thresholds.
      champion_version: the champion's name in the registry, "" for none.
      best: URI of the evaluation.json of the version `best`; None: the best version is the champion.
      best_version: its name in the registry.
      expected_objects: number of validation objects that the data check counted; None: no data check was given.

    Raises:
      InputError: the candidate's evaluation cannot be read, or it says that the model was not scored.
    """
    given = zip(EVIDENCE, (candidate, champion, best), strict=True)
    uris = {name: _absolute(uri) for name, uri in given if uri is not None}
    scored = read_evaluation(candidate)
    if isinstance(scored, NoEvaluation):
        raise InputError(f"{candidate}: status is {scored.status} ({scored.reason}); give a scored model's evaluation")
    none = NoEvaluation(status="none", reason="no champion was given")
    others = {
        "champion": none if champion is None else read_champion(champion),
        "best": SAME if best is None else read_champion(best),
    }
    read: dict[str, Evaluation | NoEvaluation] = {"candidate": scored, **others}
    case = Case(
        candidate=scored,
        champion=others["champion"],
        config=config,
        champion_version=champion_version,
        best=others["best"],
        best_version=best_version,
        expected_objects=expected_objects,
        evidence={name: Evidence(uri=uri, digest=read[name].digest) for name, uri in uris.items()},
    )
    return decide(_compared(case, uris))


def judge_again(decision: Decision) -> Decision:
    """The decision that the same evidence gives now.

    Raises:
      InputError: see `judge`.
    """
    uris = {name: found.uri for name, found in decision.evidence.items() if found is not None}
    if "candidate" not in uris:
        raise InputError(f"the decision does not name the evaluation that it judged; {GATE_AGAIN}")
    return judge(
        uris["candidate"],
        uris.get("champion"),
        decision.gate,
        decision.champion_version,
        best=uris.get("best"),
        best_version=decision.best_version,
        expected_objects=decision.expected_objects,
    )


def _compared(case: Case, uris: dict[str, str]) -> Case:
    """The case with what matches.npz of each model proves."""
    damage: dict[str, str] = {}
    tables: dict[str, MatchTable] = {}
    for name, evaluation in (("candidate", case.candidate), ("champion", case.champion), ("best", case.best)):
        if isinstance(evaluation, Evaluation):
            try:
                tables[name] = read_proven(uris[name], evaluation)
                if name == "candidate":
                    read_checked(uris[name], evaluation, PREDICTIONS)
            except InputError as error:
                damage[name] = str(error)
    if problem := damage.get("candidate"):
        return replace(case, damage=damage, comparisons=dict.fromkeys(OTHERS, problem))
    own = tables["candidate"]
    weights = bootstrap.draw_for(own, case.config.resamples)
    aps = resampled_ap(own, weights)
    comparisons: dict[str, bootstrap.Comparison | str] = {who: damage[who] for who in OTHERS if who in damage}
    shared: dict[str, Shared] = {}
    for who in OTHERS:
        if who not in tables:
            continue
        theirs, other = tables[who], case.champion if who == "champion" else case.best
        assert isinstance(other, Evaluation)  # it has a table
        try:
            bootstrap.check_paired(own, theirs)
        except InputError as error:
            comparisons[who] = str(error)
            continue
        common = case.candidate.classes.category_ids & other.classes.category_ids
        if common >= set(own.category_ids.tolist()):
            comparisons[who] = _comparison(
                case.candidate.metrics.get("ap"),
                other.metrics.get("ap"),
                aps,
                resampled_ap(theirs, weights),
            )
            continue
        new, old = match_table.only(own, common), match_table.only(theirs, common)
        shared[who] = Shared(category_ids=tuple(sorted(common)), new=recount(new), old=recount(old))
        if common:
            comparisons[who] = _comparison(
                shared[who].new.metrics["ap"],
                shared[who].old.metrics["ap"],
                resampled_ap(new, weights),
                resampled_ap(old, weights),
            )
    return replace(case, damage=damage, comparisons=comparisons, shared=shared, ap_interval=bootstrap.interval(aps))


def _comparison(
    new: float | None, old: float | None, new_aps: bootstrap.Floats, old_aps: bootstrap.Floats
) -> bootstrap.Comparison | str:
    delta = new - old if is_fraction(new) and is_fraction(old) else 0.0
    return bootstrap.compare(delta, new_aps, old_aps) or "no resample had any object"


def read_champion(uri: str) -> Evaluation | NoEvaluation:
    """The champion's evaluation. A missing or broken file counts as a failed champion, which holds the candidate."""
    try:
        return read_evaluation(uri)
    except InputError as error:
        return NoEvaluation(status="failed", reason=str(error))


def read_proven(uri: str, evaluation: Evaluation) -> MatchTable:
    """The matches next to an evaluation.json, if they give the numbers that it states.

    Raises:
      InputError: missing, truncated, of another evaluation, or they give other numbers.
    """
    table = match_table.from_bytes(read_checked(uri, evaluation, MATCHES), MATCHES)
    if problem := _disagreement(evaluation, recount(table)):
        raise InputError(f"{uri}: {problem}; {EVALUATE_AGAIN}")
    return table


def _disagreement(evaluation: Evaluation, proven: Recount) -> str:
    """Which number of evaluation.json is not the one that matches.npz gives; "" if all are."""
    pairs: list[tuple[str, float | None, float | None]] = [
        (name, evaluation.metrics.get(name), value) for name, value in proven.metrics.items()
    ]
    pairs += [
        ("images_expected", evaluation.images_expected, proven.images),
        ("objects", evaluation.objects, proven.objects),
    ]
    pairs += [
        (f"objects_by_size.{size}", evaluation.objects_by_size.get(size), count)
        for size, count in proven.objects_by_size.items()
    ]
    stated = {entry.category_id: entry for entry in evaluation.per_class}
    found = {entry.category_id: entry for entry in proven.per_class}
    if len(stated) != len(evaluation.per_class) or set(stated) != set(found):
        return f"lists the classes {_ids(stated)}, but {MATCHES} those of {_ids(found)}"
    for number, entry in found.items():
        pairs += [
            (f"{name} of class {number}", getattr(stated[number], name), getattr(entry, name))
            for name in ("ap", "ap50", "images", "objects")
        ]
    for name, said, value in pairs:
        if not _same(said, value):
            return f"{name} is {said}, but {MATCHES} gives {value}"
    if not evaluation.classes.category_ids <= set(found):
        return f"classes.matched names the categories {_ids(evaluation.classes.category_ids)}, {MATCHES} {_ids(found)}"
    return ""


def _ids(numbers: Collection[int]) -> str:
    return ", ".join(map(str, sorted(numbers))) or "none"


def _same(stated: float | None, proven: float | None) -> bool:
    if stated is None or proven is None:
        return stated is proven
    return math.isclose(stated, proven, rel_tol=0, abs_tol=SAME_NUMBER)


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


def _absolute(uri: str) -> str:
    """A local path as it is found from any working folder."""
    return uri if "://" in uri else os.path.abspath(uri)
