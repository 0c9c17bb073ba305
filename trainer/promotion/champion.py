"""What moves with the champion: the aliases `challenger` and `best`. For promotion and for approval."""

from typing import Any

from trainer.promotion.evaluation import is_fraction
from trainer.registry.base import BEST, CHALLENGER, ChampionMoved, Registry, RegistryError


def challenge(store: Registry, version: str) -> None:
    """Marks the version that wants to be champion, so that one that loses the swap, or dies before it, can be found."""
    current = store.alias(CHALLENGER)
    if current == version:
        return
    try:
        store.swap_alias(CHALLENGER, version, expected=current)
    except ChampionMoved:
        return  # another promotion has just set its own


def move_best(
    store: Registry, version: str, *, ap: Any, data_digest: Any, compared_with: str, delta: float | None
) -> None:
    """Moves `best` to a version with a higher AP.

    The gate's comparison on the same images decides where there is one, else the AP that the registry recorded. An AP
    on other validation data cannot be compared: then the new champion is the best version known on the current data.

    Args:
      store: where.
      version: the new champion.
      ap, data_digest: what the gate measured, and on which data.
      compared_with: the version that the gate compared it with, "" for none.
      delta: AP of the new champion minus AP of that version; None: they were not compared.
    """
    current = store.alias(BEST)
    if current == version:
        return
    if delta is not None and current == compared_with:
        if delta <= 0:
            return
    elif current is not None:
        try:
            known = store.version(current).metadata
        except RegistryError:
            known = {}  # a damaged version can no longer be the best
        same_data = known.get("data_digest") == data_digest
        if same_data and is_fraction(known.get("ap")) and ap <= known["ap"]:
            return
    try:
        store.swap_alias(BEST, version, expected=current)
    except ChampionMoved:
        # A later promotion has just moved it, after a comparison of its own.
        return
