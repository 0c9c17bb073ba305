"""Approval: a person makes a challenger that passed the gate the champion."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from trainer.promotion.champion import move_best
from trainer.promotion.publish import PromotionRefused
from trainer.registry.approval import NOTE, Approval, approval_of, is_pending
from trainer.registry.base import CHAMPION, Registry, Version, moved
from trainer.registry.digest import model_digest


@dataclass(frozen=True, kw_only=True, slots=True)
class Pending:
    """A version that waits for approval."""

    version: Version
    asked: Approval


def pending(store: Registry) -> tuple[Pending, ...]:
    """Versions that wait for approval, oldest first. One whose champion has moved since no longer waits."""
    champion = store.alias(CHAMPION)
    found = []
    for version in store.list():
        asked = approval_of(version)
        if asked is not None and is_pending(version.notes, champion):
            found.append(Pending(version=version, asked=asked))
    return tuple(found)


def approve(store: Registry, name: str, *, by: str, account: str) -> str:
    """Makes a version that waits for approval the champion, and records who approved it.

    A call that died between the two can be repeated: it then only records.

    Args:
      store: the registry.
      name: the version.
      by: who approves.
      account: the account that the approval is given with.

    Returns:
      "promoted: v0002 (was v0001), approved by …".

    Raises:
      PromotionRefused: the version does not wait for approval, or its model is not the one that was judged.
      ChampionMoved: another version than the one that it was compared with is champion.
      RegistryError: there is no such version, or the registry can't be reached.
    """
    version = store.version(name)
    asked = approval_of(version)
    if asked is None:
        raise PromotionRefused(
            f"{name}: did not pass a gate that asks for approval; see centernet approve --list, or roll back to an "
            "earlier champion with centernet registry rollback"
        )
    champion = store.alias(CHAMPION)
    if asked.by:
        raise PromotionRefused(
            f"{name}: was approved by {asked.by} at {asked.at}, and champion is {champion or 'not set'}; to make an "
            "earlier champion the champion again, use centernet registry rollback"
        )
    if champion != name:
        if champion != (asked.champion or None):
            raise moved(CHAMPION, name, champion, asked.champion or None)
        if model_digest(version.path) != version.metadata.get("model_digest"):
            raise PromotionRefused(f"{version.path}: is not the model that was judged; train and judge it again")
        store.swap_alias(CHAMPION, name, expected=asked.champion or None)
    done = replace(asked, by=by, account=account, at=datetime.now(UTC).isoformat(timespec="seconds"))
    store.note(name, NOTE, done.to_note())
    move_best(
        store,
        name,
        ap=asked.ap,
        data_digest=asked.data_digest,
        compared_with=asked.compared_with,
        delta=asked.delta,
    )
    before = f"was {asked.champion}" if asked.champion else "no champion before"
    return f"promoted: {name} ({before}), approved by {by}"
