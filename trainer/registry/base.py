"""Model registries: published versions that never change, and aliases that say which of them is in use.

champion     in production
previous     the champion before it; `rollback` goes back to it
challenger   published by a promotion that has not made it champion (yet): the loser of a race, or one that died
best         highest AP on its validation data; the gate compares with it, so that small losses cannot add up

"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

CHAMPION, CHALLENGER, PREVIOUS, BEST = "champion", "challenger", "previous", "best"
VERTEX_SCHEME = "vertex://"


class RegistryError(RuntimeError):
    """The registry's content is not what this code wrote."""


class ChampionMoved(RuntimeError):
    """An alias no longer names the version that the caller saw."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Version:
    """One published model."""

    version: str
    """Its name in the registry, which no other version ever gets: v0001, v0002, … in a local one."""
    path: str
    """URI of the SavedModel's folder."""
    key: str
    """What made it; publishing the same key again gives this version."""
    created: str
    """UTC, ISO 8601."""
    metadata: dict[str, Any]


class Registry(Protocol):
    """What promotion, rollback and the pipeline ask of a registry.

    Raises (all methods):
      RegistryError: the registry's content is damaged, or the registry cannot be reached.
    """

    def publish(self, model_dir: str, metadata: Mapping[str, Any], *, key: str) -> str:
        """Makes a SavedModel the next version, aliases untouched; a version that has this key is returned instead.

        Args:
          model_dir: URI of the SavedModel's folder.
          metadata: JSON-able facts about it (ap, data_digest, model_digest, run_id, …).
          key: identifies what is published, so that a step which died after publishing can simply run again.

        Returns:
          The version's name.

        Raises:
          InputError: no key, or `model_dir` holds no SavedModel.
        """
        ...

    def version(self, name: str) -> Version:
        """One version by its name.

        Raises:
          RegistryError: there is none, or it is incomplete.
        """
        ...

    def list(self) -> tuple[Version, ...]:
        """All complete versions, oldest first."""
        ...

    def incomplete(self) -> dict[str, str]:
        """Versions that cannot be served, with the reason."""
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
        """Moves an alias if it still names `expected` (None: nothing). Of callers at the same moment, one wins.

        When the champion moves, `previous` becomes the old one, and a challenger that became champion is none.

        Raises:
          ChampionMoved: it names something else.
          RegistryError: `version` is missing or incomplete.
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
