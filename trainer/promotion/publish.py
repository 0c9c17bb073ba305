"""Promotion: a decision becomes a published version and the champion, or nothing happens.

The decision is read again and every rule in it checked again: a runner that enters the wrong branch of the
graph, or an edited file, promotes nothing.
"""

from collections.abc import Mapping
from typing import Any

from trainer.promotion.decision import Decision, RuleResult, read_decision
from trainer.promotion.evaluation import is_fraction
from trainer.registry.base import BEST, CHALLENGER, CHAMPION, ChampionMoved, Registry, RegistryError
from trainer.registry.digest import model_digest
from trainer.registry.uri import open_registry


class PromotionRefused(RuntimeError):
    """The decision does not allow this promotion."""


def promote(*, decision: str, model: str, registry: str, key: str, metadata: Mapping[str, Any]) -> str:
    """Publishes a model and makes it the champion, if the champion is still the one that the gate saw.

    Running it again with the same key after it died half-way finishes it: the version is not published twice,
    and a champion that already is this version counts as done.

    Args:
      decision: URI of decision.json.
      model: URI of the SavedModel's folder.
      registry: the registry's folder, or `vertex://PROJECT/REGION/MODEL_ID`.
      key: identifies the run and stage.
      metadata: JSON-able facts for version.json; `ap` and `data_digest` are added from the decision.

    Returns:
      "promoted: v0002 (was v0001)", text that survives as a kfp parameter (see `plain`).

    Raises:
      InputError: the decision is no decision file, the model no SavedModel.
      PromotionRefused: the decision says hold, a rule is missing or did not pass, or it judged another model than
        `model`, or than the version that has this key already.
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
    # The key may have published another model before, and the model's folder may have changed since it was looked at.
    if published != model and model_digest(published) != digest:
        raise PromotionRefused(
            f"{published}: version {version}, which has the key {key!r}, is not the model that was judged; promote "
            f"it with a key of its own"
        )
    expected = judged.champion_version or None
    if store.alias(CHAMPION) != version:
        _challenge(store, version)
        try:
            store.swap_alias(CHAMPION, version, expected=expected)
        except ChampionMoved:
            _challenge(store, version)  # the winner may have set itself meanwhile
            raise
    _move_best(store, version, facts, judged)
    if version == expected:
        return plain(f"promoted: {version} (already champion)")
    return plain(f"promoted: {version} (was {expected})" if expected else f"promoted: {version} (no champion before)")


def hold(decision: Decision) -> str:
    """Why the champion stays: "held: min_ap 0.4100 < 0.5000; …", text that survives as a kfp parameter."""
    return plain("held: " + "; ".join(decision.refusals))


def plain(text: str) -> str:
    """Text that kfp passes on unchanged: one line, without quotes, without "python3" (its local runner replaces
    that by the interpreter's path) and without "{{" (placeholders)."""
    for taken, instead in (("'", ""), ('"', ""), ("python3", "python"), ("{{", "{")):
        while taken in text:
            text = text.replace(taken, instead)
    return " ".join(text.split())


def _rule(decision: Decision, name: str) -> RuleResult:
    return next(rule for rule in decision.rules if rule.name == name)


def _challenge(registry: Registry, version: str) -> None:
    """Says which published version wants to be champion: who loses the swap, or dies before it, can be found."""
    current = registry.alias(CHALLENGER)
    if current == version:
        return
    try:
        registry.swap_alias(CHALLENGER, version, expected=current)
    except ChampionMoved:
        return  # another promotion set its own in this moment


def _move_best(registry: Registry, version: str, facts: Mapping[str, Any], judged: Decision) -> None:
    """Moves `best` to a version with a higher AP: by the gate's comparison on the same images where it made one, else
    by the AP that the registry recorded. An AP on other validation data cannot be compared: then the new champion is
    the best that is known on the data of today."""
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
            known = {}  # damaged from outside: it can be best no longer
        same_data = known.get("data_digest") == facts["data_digest"]
        if same_data and is_fraction(known.get("ap")) and facts["ap"] <= known["ap"]:
            return
    try:
        registry.swap_alias(BEST, version, expected=current)
    except ChampionMoved:
        # A later promotion has moved it in this moment and has compared for itself.
        return
