"""What a model registry offers: published versions that never change, and aliases that say which of them is in use.

champion     in production
previous     the champion before it; `rollback` returns to it
challenger   published by a promotion that has not made it champion (yet): it waits for approval, it lost a race, or
             the promotion died
best         highest AP on its validation data; the gate compares with it, so that small losses cannot add up
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from beam_preprocess.base.errors import Failure

CHAMPION, CHALLENGER, PREVIOUS, BEST = "champion", "challenger", "previous", "best"
VERTEX_SCHEME = "vertex://"


class RegistryError(Failure):
    """The registry's content is damaged, or the registry cannot be reached."""


class ChampionMoved(Failure):
    """An alias no longer names the version that the caller saw."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Version:
    """One published model."""

    version: str
    """Its name in the registry, which is never reused: v0001, v0002, … in a local registry."""
    path: str
    """URI of the SavedModel's folder."""
    key: str
    """Identifies what was published; publishing the same key again returns this version."""
    created: str
    """UTC, ISO 8601."""
    metadata: dict[str, Any]
    notes: dict[str, Any] = field(default_factory=dict)
    """What happened to it after it was published; see `trainer.registry.approval`."""


class Registry(Protocol):
    """What promotion, rollback and the pipeline need from a registry.

    Raises (all methods):
      RegistryError: the registry's content is damaged, or the registry cannot be reached.
    """

    def publish(self, model_dir: str, metadata: Mapping[str, Any], *, key: str) -> str:
        """Makes a SavedModel the next version and moves no alias. If a version has this key, returns that one instead.

        Args:
          model_dir: URI of the SavedModel's folder.
          metadata: JSON-able facts about it (ap, data_digest, model_digest, run_id, …).
          key: identifies what is published, so that a step that died after publishing can simply run again.

        Returns:
          The version's name.

        Raises:
          InputError: the key is empty, or `model_dir` is not a SavedModel.
        """
        ...

    def version(self, name: str) -> Version:
        """One version by its name.

        Raises:
          RegistryError: there is no such version, or it is incomplete.
        """
        ...

    def list(self) -> tuple[Version, ...]:
        """All complete versions, oldest first."""
        ...

    def incomplete(self) -> dict[str, str]:
        """Versions that cannot be served, to the reason."""
        ...

    def aliases(self) -> dict[str, str]:
        """Alias to version name."""
        ...

    def alias(self, name: str) -> str | None:
        """The version that an alias names, or None."""
        ...

    def champion(self) -> Version | None:
        """The version in production, or None before the first promotion.

        Raises:
          RegistryError: the alias names a version that is missing or incomplete.
        """
        ...

    def swap_alias(self, name: str, version: str, expected: str | None) -> None:
        """Moves an alias if it still names `expected` (None: nothing). If several callers try at once, one wins.

        When the champion moves, `previous` becomes the old one, and a challenger that became champion loses that alias.

        Raises:
          ChampionMoved: it names something else.
          RegistryError: `version` is missing or incomplete.
        """
        ...

    def note(self, version: str, name: str, value: Any) -> None:
        """Sets one of a version's notes, a JSON-able value. The model and its metadata stay as they were published.

        Raises:
          RegistryError: `version` is missing or incomplete.
        """
        ...

    def remove(self, version: str) -> None:
        """Removes a version that no alias names.

        Raises:
          RegistryError: an alias names it, it waits for approval, it is the newest version, or there is no such
            version.
        """
        ...

    def rollback(self) -> tuple[str, str]:
        """Makes `previous` the champion again (and the champion `previous`).

        Returns:
          (new champion, old champion).

        Raises:
          RegistryError: there is no previous champion, or it is incomplete.
        """
        ...


def in_use(version: str, aliases: Mapping[str, str], versions: Sequence[str]) -> str:
    """Why a version cannot be removed; "" if it can.

    Args:
      version: its name.
      aliases: alias to version.
      versions: all versions, oldest first.
    """
    names = sorted(alias for alias, named in aliases.items() if named == version)
    if names:
        return " ".join(names)
    # The next version takes the next number: without the newest one, its name would be used again.
    return "newest" if versions and versions[-1] == version else ""


def moved(name: str, version: str, current: str | None, expected: str | None) -> ChampionMoved:
    """The error of a swap that another promotion won."""
    return ChampionMoved(
        f"{name} is {current or 'not set'}, not {expected or 'unset'} as seen before: another promotion came first; "
        f"{version} stays published, compare it with {current or 'the registry'} again"
    )
