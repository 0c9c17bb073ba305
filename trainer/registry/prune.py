"""Which versions of a registry may go, and their removal."""

from dataclasses import dataclass
from pathlib import Path

from beam_preprocess.base.errors import InputError
from trainer.registry.approval import PENDING, is_pending
from trainer.registry.base import CHAMPION, Registry, in_use


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One version in a plan."""

    version: str
    kept: str
    """Why it stays; "" if it goes."""
    size: int | None
    """Bytes on this machine; None if the model is elsewhere."""


def plan(registry: Registry, *, keep: int) -> list[Entry]:
    """What pruning would do with each complete version, oldest first.

    Champion, best, previous, challenger and every other version that an alias or a link names stay, versions that wait
    for approval, and the newest.

    Args:
      registry: where.
      keep: number of newest versions that stay as well.

    Raises:
      InputError: `keep` is below 1.
    """
    if keep < 1:
        raise InputError(f"--keep {keep}: keep 1 version or more")
    versions = registry.list()
    names = [version.version for version in versions]
    known = [*registry.incomplete(), *names]
    newest = max(known, key=lambda name: int(name.lstrip("v")), default="")
    aliases, links = registry.aliases(), _links(registry)
    entries = []
    for version in versions:
        name = version.version
        kept = in_use(name, aliases, [newest])
        if not kept and is_pending(version.notes, aliases.get(CHAMPION)):
            kept = PENDING
        if not kept and name in links:
            kept = f"link {links[name]}"
        if not kept and name in names[-keep:]:
            kept = f"newest {keep}"
        entries.append(Entry(version=name, kept=kept, size=_size(version.path)))
    return entries


def _links(registry: Registry) -> dict[str, str]:
    from trainer.registry.local import LocalRegistry

    return registry.linked() if isinstance(registry, LocalRegistry) else {}


def _size(path: str) -> int | None:
    folder = Path(path)
    return sum(f.lstat().st_size for f in folder.rglob("*") if not f.is_dir()) if folder.is_dir() else None
