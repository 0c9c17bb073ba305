"""Promotion: publishes the judged model and makes it the champion, or changes nothing.

With `gate.approval: required` it publishes the model as challenger, and a person makes it the champion
(`trainer.promotion.approve`).

It judges again from the evidence that the decision names, and promotes only if the answer is the same: a runner that
takes the wrong branch of the graph, or an edit of one file, promotes nothing. Someone who rewrites all files, with
their digests, can still promote any model.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from beam_preprocess.base.errors import Failure, InputError
from trainer.config.gate_config import GateConfig
from trainer.promotion.champion import challenge, move_best
from trainer.promotion.decision import Decision, RuleResult, difference, read_decision
from trainer.promotion.evaluation import Evaluation
from trainer.promotion.judge import judge_again, read_champion
from trainer.promotion.profile import write_profile
from trainer.promotion.record import record
from trainer.promotion.resolve import REPLACED, published, was_champion
from trainer.promotion.serving import write_serving
from trainer.promotion.smoke import write_smoke
from trainer.registry.approval import NOTE, PENDING, Approval
from trainer.registry.base import BEST, CHAMPION, ChampionMoved, Registry, moved
from trainer.registry.digest import model_digest
from trainer.registry.uri import open_registry


class PromotionRefused(Failure):
    """The decision does not allow this promotion."""


def promote(
    *,
    decision: str,
    model: str,
    registry: str,
    key: str,
    metadata: Mapping[str, Any],
    gate: GateConfig | None = None,
    evaluation: str = "",
) -> str:
    """Publishes a model and makes it the champion, if the champion is still the one that the gate saw.

    If the decision asks for approval, it becomes challenger instead, and its version's note says what it waits for.

    After it died half-way, a second call with the same key completes it: the version is not published twice, and a
    champion that already is this version counts as done. So does one that was: another promotion or a rollback came
    after it, and that stays.

    Args:
      decision: URI of decision.json.
      model: URI of the SavedModel's folder.
      registry: the registry's folder, or `vertex://PROJECT/REGION/MODEL_ID`.
      key: identifies the run.
      metadata: JSON-able facts for version.json. `ap`, `data_digest`, `model_digest` and the replaced versions are
        added.
      gate: the thresholds of the run, which must be those of the decision; None: they are not known here.
      evaluation: URI of the model's evaluation.json, for the score thresholds in serving.json; "" takes the one that
        the decision was made from.

    Returns:
      "promoted: v0002 (was v0001)" or "pending approval: v0002 (champion is v0001)", in text that kfp passes on
      unchanged (see `plain`).

    Raises:
      InputError: `decision` is not a decision file or was changed after it was written, or `model` is not a SavedModel.
      PromotionRefused: the decision says hold, a rule is missing or failed, the evidence is gone or gives another
        decision, the judged model is not `model`, or not the version that already has this key, or the candidate was
        compared with another model than the registry's champion or best version.
      ChampionMoved: another promotion came first; the version stays published, as `challenger`.
    """
    judged = read_decision(decision)
    if judged.refusals:
        raise PromotionRefused(f"{decision}: does not allow promotion: {'; '.join(judged.refusals)}")
    if gate is not None and gate != judged.gate:
        raise PromotionRefused(f"{decision}: was judged by other thresholds than the run's gate section; judge again")
    _check_evidence(judged, decision)
    digest = model_digest(model)
    if digest != judged.model_digest:
        raise PromotionRefused(
            f"{model}: is not the model that was judged: its digest is {digest[:12]}…, the decision's "
            f"{judged.model_digest[:12] or '(none)'}…; evaluate this model and judge it again"
        )
    store = open_registry(registry)
    own = published(store, key)
    done = own is not None and was_champion(store, own.version)
    if not done:
        _check_compared(store, judged, decision)
    measured = _measured(judged)
    facts = {**metadata, "ap": measured["ap"], "data_digest": measured["data_digest"], "model_digest": digest}
    facts[REPLACED] = {CHAMPION: judged.champion_version, BEST: measured["compared_with"]}
    version = store.publish(model, facts, key=key)
    path = store.version(version).path
    # The key may have published another model earlier, or the folder may have changed since its digest was taken.
    if path != model and model_digest(path) != digest:
        raise PromotionRefused(
            f"{path}: version {version}, which has the key {key!r}, is not the model that was judged; promote "
            "the judged model under another key"
        )
    expected = judged.champion_version or None
    champion = store.alias(CHAMPION)
    if done and champion != version:
        return plain(f"promoted: {version} (was {expected or 'the first champion'}; champion is {champion} now)")
    judged_from = judged.evidence["candidate"]
    evaluation = evaluation or (judged_from.uri if judged_from else "")
    if evaluation:  # before the alias moves: where the champion is, its thresholds are
        print(write_serving(path, evaluation), flush=True)
        print(write_smoke(path, evaluation), flush=True)
        print(write_profile(path, evaluation), flush=True)
    if champion != version:
        if judged.gate.asks:
            _ask(store, version, judged, decision)
            record(store, version, decision, evaluation)
            return plain(f"{PENDING}: {version} ({f'champion is {expected}' if expected else 'no champion yet'})")
        challenge(store, version)
        try:
            store.swap_alias(CHAMPION, version, expected=expected)
        except ChampionMoved:
            challenge(store, version)  # the winner may have set itself in the meantime
            raise
    move_best(store, version, **measured)
    record(store, version, decision, evaluation)
    if version == expected:
        return plain(f"promoted: {version} (already champion)")
    return plain(f"promoted: {version} (was {expected})" if expected else f"promoted: {version} (no champion before)")


def _ask(store: Registry, version: str, judged: Decision, decision: str) -> None:
    """Makes the version the challenger that waits for a person.

    Raises:
      ChampionMoved: another version than the one that the gate saw is champion: there is nothing to approve.
    """
    expected = judged.champion_version or None
    if (current := store.alias(CHAMPION)) != expected:
        challenge(store, version)
        raise moved(CHAMPION, version, current, expected)
    asked = Approval(
        champion=judged.champion_version,
        decision=decision,
        decision_digest=judged.digest,
        since=datetime.now(UTC).isoformat(timespec="seconds"),
        **_measured(judged),
    )
    store.note(version, NOTE, asked.to_note())
    challenge(store, version)


def _measured(judged: Decision) -> dict[str, Any]:
    """What decides whether the new champion is the best version too, see `move_best`."""
    compared = judged.intervals["best" if judged.best_version else "champion"]
    return {
        "ap": _rule(judged, "min_ap").value,
        "data_digest": _rule(judged, "same_data").value,
        "compared_with": judged.best_version or judged.champion_version,
        "delta": compared.delta if compared else None,
    }


def _check_evidence(judged: Decision, where: str) -> None:
    """Judges again.

    Raises:
      PromotionRefused: the evidence is gone or changed, or gives another decision.
    """
    moved = "promotion judges again from the files that the gate read; put them back, or judge again where they are now"
    try:
        again = judge_again(judged)
    except InputError as error:
        raise PromotionRefused(f"{where}: its evidence cannot be read ({error}): {moved}") from error
    for name, found in judged.evidence.items():
        now = again.evidence[name]
        if found is not None and found.digest and (now is None or not now.digest):
            raise PromotionRefused(f"{where}: its evidence {found.uri} is gone or was changed: {moved}")
    if again.refusals:
        raise PromotionRefused(f"{where}: judged again, the candidate is held: {'; '.join(again.refusals)}; {moved}")
    if found_difference := difference(judged, again):
        raise PromotionRefused(f"{where}: judged again, the decision differs in {found_difference}; judge again")


def _check_compared(store: Registry, judged: Decision, where: str) -> None:
    """Checks that the candidate was compared with the registry's champion and best version, not with other models.

    Where the champion has moved, the swap of the alias finds it.

    Raises:
      PromotionRefused: an evaluation that the decision rests on is of another model than the version that it names, or
        the best version was left out.
    """
    champion, best = store.alias(CHAMPION), store.alias(BEST)
    if champion != (judged.champion_version or None):
        return
    if best and best not in (judged.champion_version, judged.best_version):
        raise PromotionRefused(
            f"{where}: the candidate was not compared with the best version, {best}; evaluate that one too, and judge "
            "again with --best and --best-version"
        )
    for name, version in ((CHAMPION, judged.champion_version), (BEST, judged.best_version)):
        found = judged.evidence[name]
        if not version or found is None or not isinstance(scored := read_champion(found.uri), Evaluation):
            continue  # judge_again found nothing wrong with that
        digest = store.version(version).metadata.get("model_digest")
        if digest and digest != scored.model_digest:
            raise PromotionRefused(
                f"{where}: {found.uri} is not of {version}, the {name}, but of {scored.model}, another model; evaluate "
                f"{version} and judge again"
            )


def hold(decision: Decision) -> str:
    """Why the champion stays: "held: min_ap 0.4100 < 0.5000; …", in text that kfp passes on unchanged."""
    return plain("held: " + "; ".join(decision.refusals))


def plain(text: str) -> str:
    """Text that kfp passes on unchanged: one line, without quotes, without "python3" (its local runner replaces that
    with the interpreter's path) and without "{{" (placeholders)."""
    for taken, instead in (("'", ""), ('"', ""), ("python3", "python"), ("{{", "{")):
        while taken in text:
            text = text.replace(taken, instead)
    return " ".join(text.split())


def _rule(decision: Decision, name: str) -> RuleResult:
    return next(rule for rule in decision.rules if rule.name == name)
