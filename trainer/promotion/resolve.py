"""The model that an alias of the registry names, from the view of one run.

A run that was killed after it promoted its model, and is resumed, must not take its own version for the champion. It
takes what it replaced: from the file that its first resolution wrote, or from the version's metadata. That holds as
well when another run or a rollback has moved the champion since: a run promotes once.
"""

import json
from dataclasses import asdict, dataclass
from typing import Literal

from beam_preprocess.base.files import exists, read_text, write_text
from beam_preprocess.base.json import read
from trainer.registry.base import CHAMPION, PREVIOUS, Registry, RegistryError, Version
from trainer.registry.uri import open_registry

REPLACED = "replaced"
"""Key of a version's metadata: the aliases to the versions that they named before, "" for none."""
DELETE_IT = "delete it, and resume the run again"


@dataclass(frozen=True, kw_only=True, slots=True)
class Resolved:
    """What an alias names."""

    status: Literal["ready", "none", "champion", "failed"]
    """"champion": it is the champion, which need not be scored twice."""
    version: str = ""
    """"" for "none" and "champion"."""
    path: str = ""
    """URI of the SavedModel's folder, for "ready"."""
    sentence: str
    """The result in words, or the reason."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    """Content of the file in which a run remembers what it resolved."""

    registry: str
    alias: str
    version: str
    """"" for none."""


def resolve(registry: str, alias: str, *, known: str = "", run: str = "", memory: str = "") -> Resolved:
    """Resolves an alias.

    Args:
      registry: the registry's folder, or `vertex://PROJECT/REGION/MODEL_ID`.
      alias: `champion` or `best`.
      known: the champion's version, when resolving `best`.
      run: the key under which this run publishes its model.
      memory: URI of the file in which this run remembers the result; "" for none.

    Raises:
      InputError: the file `memory` is damaged.
    """
    store = open_registry(registry)
    version = store.alias(alias) or ""
    try:
        own = published(store, run)
        if own and was_champion(store, own.version):
            version = _replaced(own, registry, alias, memory)
            memory = ""
        if memory:
            write_text(memory, json.dumps(asdict(Memory(registry=registry, alias=alias, version=version))) + "\n")
        if not version:
            return Resolved(status="none", sentence=f"no {alias} yet")
        if version == known:
            return Resolved(status="champion", sentence=f"{alias} is the champion {known}")
        found = store.version(version)
    except RegistryError as error:
        return Resolved(status="failed", version=version, sentence=str(error))
    sentence = f"{alias} {found.version} of {found.created}"
    return Resolved(status="ready", version=found.version, path=found.path, sentence=sentence)


def published(store: Registry, key: str) -> Version | None:
    """The version that a run published under its key."""
    return next((found for found in store.list() if found.key == key), None) if key else None


def was_champion(store: Registry, version: str) -> bool:
    """Whether a version is the champion, or was: after it, each published version names the champion that it met."""
    if version in (store.alias(CHAMPION), store.alias(PREVIOUS)):
        return True
    replaced = (found.metadata.get(REPLACED) for found in store.list())
    return any(isinstance(values, dict) and values.get(CHAMPION) == version for values in replaced)


def _replaced(own: Version, registry: str, alias: str, memory: str) -> str:
    """What the alias named before this run's own version.

    Raises:
      RegistryError: it is unknown.
    """
    if memory and exists(memory):
        first = read(Memory, read_text(memory, DELETE_IT), memory, DELETE_IT)
        if (first.registry, first.alias) == (registry, alias):
            return first.version
    replaced = own.metadata.get(REPLACED)
    if isinstance(replaced, dict) and isinstance(replaced.get(alias), str):
        return str(replaced[alias])
    raise RegistryError(
        f"this run promoted {own.version}, and it is unknown which {alias} that replaced; start a new run"
    )
