"""Promotion: publishes the judged model and makes it the champion, or changes nothing.

It reads the decision again and checks every rule in it again, so that a runner that takes the wrong branch of the
graph, or an edited file, promotes nothing.
"""

from collections.abc import Mapping
from typing import Any

from beam_preprocess.base.errors import Failure
from trainer.promotion.decision import Decision, RuleResult, read_decision
from trainer.promotion.evaluation import is_fraction
from trainer.promotion.serving import write_serving
from trainer.registry.base import BEST, CHALLENGER, CHAMPION, ChampionMoved, Registry, RegistryError
from trainer.registry.digest import model_digest
from trainer.registry.uri import open_registry


class PromotionRefused(Failure):
    """The decision does not allow this promotion."""


def promote(
    *, decision: str, model: str, registry: str, key: str, metadata: Mapping[str, Any], evaluation: str = ""
) -> str:
    """Publishes a model and makes it the champion, if the champion is still the one that the gate saw.

    After it died half-way, a second call with the same key completes it: the version is not published twice, and a
    champion that already is this version counts as done.

    Args:
      decision: URI of decision.json.
      model: URI of the SavedModel's folder.
      registry: the registry's folder, or `vertex://PROJECT/REGION/MODEL_ID`.
      key: identifies the run.
      metadata: JSON-able facts for version.json; `ap` and `data_digest` are added from the decision.
      evaluation: URI of the model's evaluation.json, for the thresholds in serving.json; "" publishes none.

    Returns:
      "promoted: v0002 (was v0001)", in text that kfp passes on unchanged (see `plain`).

    Raises:
      InputError: `decision` is not a decision file, or `model` is not a SavedModel.
      PromotionRefused: the decision says hold, a rule is missing or did not pass, or the judged model is not `model`,
        or not the version that already has this key.
      ChampionMoved: another promotion came first; the version stays published, as `challenger`.
    """
    judged = read_decision(decision)
    if judged.refusals:
        raise PromotionRefused(f"{decision}: does not allow promotion: {'; '.join(judged.refusals)}")
    digest = model_digest(model)
    if digest != judged.model_digest:
        raise PromotionRefused(
            f"{model}: is not the model that was judged: its digest is {digest[:12]}…, the decision's "
            f"{judged.model_digest[:12] or '(none)'}…; evaluate this model and judge it again"
        )
    store = open_registry(registry)
    facts = {**metadata, "ap": _rule(judged, "min_ap").value, "data_digest": _rule(judged, "same_data").value}
    facts["model_digest"] = digest
    version = store.publish(model, facts, key=key)
    published = store.version(version).path
    # The key may have published another model earlier, or the folder may have changed since its digest was taken.
    if published != model and model_digest(published) != digest:
        raise PromotionRefused(
            f"{published}: version {version}, which has the key {key!r}, is not the model that was judged; promote "
            "the judged model under another key"
        )
    if evaluation:  # before the alias moves: whoever finds the champion finds its thresholds
        print(write_serving(published, evaluation), flush=True)
    expected = judged.champion_version or None
    if store.alias(CHAMPION) != version:
        _challenge(store, version)
        try:
            store.swap_alias(CHAMPION, version, expected=expected)
        except ChampionMoved:
            _challenge(store, version)  # the winner may have set itself in the meantime
            raise
    _move_best(store, version, facts, judged)
    if version == expected:
        return plain(f"promoted: {version} (already champion)")
    return plain(f"promoted: {version} (was {expected})" if expected else f"promoted: {version} (no champion before)")


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


def _challenge(registry: Registry, version: str) -> None:
    """Marks the version that wants to be champion, so that one that loses the swap, or dies before it, can be found."""
    current = registry.alias(CHALLENGER)
    if current == version:
        return
    try:
        registry.swap_alias(CHALLENGER, version, expected=current)
    except ChampionMoved:
        return  # another promotion has just set its own


def _move_best(registry: Registry, version: str, facts: Mapping[str, Any], judged: Decision) -> None:
    """Moves `best` to a version with a higher AP.

    The gate's comparison on the same images decides where there is one, else the AP that the registry recorded. An AP
    on other validation data cannot be compared: then the new champion is the best version known on the current data.
    """
    current = registry.alias(BEST)
    if current == version:
        return
    who = "best" if judged.best_version else "champion"
    compared = judged.intervals[who]
    if compared is not None and current == (judged.best_version or judged.champion_version):
        if compared.delta <= 0:
            return
    elif current is not None:
        try:
            known = registry.version(current).metadata
        except RegistryError:
            known = {}  # a damaged version can no longer be the best
        same_data = known.get("data_digest") == facts["data_digest"]
        if same_data and is_fraction(known.get("ap")) and facts["ap"] <= known["ap"]:
            return
    try:
        registry.swap_alias(BEST, version, expected=current)
    except ChampionMoved:
        # A later promotion has just moved it, after a comparison of its own.
        return
