"""Which runs below a runs' folder may go, and their removal.

A run stays if it is among the newest, is `latest`, may still be running, or if its results are used elsewhere: runs
that reused a result of it (their links, the paths in their summary, and what their log names as reused), and links in
their registries.
"""

import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from beam_preprocess.base.errors import InputError
from pipeline.local.run_folder import RunFolder

PRUNED = ".pruned-"
"""Prefix of a run that is being removed: nothing takes it for a run."""
RUNNING_SECONDS = 3600.0
"""A run without a result whose log changed within this time may still be running."""
_REUSED = re.compile(r"^reused: .* from (.+)$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One run in a plan."""

    path: Path
    kept: str
    """Why it stays; "" if it goes."""
    size: int
    """Bytes on disk."""


def plan(runs: Path, *, keep: int) -> list[Entry]:
    """What pruning would do with each run, oldest first. Other folders are left alone.

    Args:
      runs: parent of all runs.
      keep: number of newest runs that stay.

    Raises:
      InputError: `keep` is below 1, or there is no such folder.
    """
    if keep < 1:
        raise InputError(f"--keep {keep}: keep 1 run or more")
    if not runs.is_dir():
        raise InputError(f"--runs-dir {runs}: no such folder; give the parent folder of the runs")
    folders = {path.name: RunFolder(path.resolve()) for path in _runs_in(runs)}
    names = sorted(folders, key=lambda name: (os.stat(folders[name].path / "run.json").st_mtime, name))
    kept = dict.fromkeys(names[-keep:], f"newest {keep}")
    latest = (runs / "latest").resolve().name
    if latest in folders:
        kept[latest] = "latest"
    kept |= {name: "may still be running" for name in names if _may_run(folders[name])}
    uses = {name: _used(folders[name], folders) for name in names}
    for user, used in _links_of_registries(folders):
        kept.setdefault(used, f"link {user}")
    waiting = list(kept)
    while waiting:  # a run that stays keeps those it uses, which keep those they use
        user = waiting.pop()
        for used in uses[user] - kept.keys():
            kept[used] = f"{user} uses its results"
            waiting.append(used)
    return [Entry(path=folders[name].path, kept=kept.get(name, ""), size=_size(folders[name].path)) for name in names]


def remove(run: Path) -> None:
    """Removes a run. If it is interrupted, the rest has a name that `sweep` finds."""
    gone = run.with_name(f"{PRUNED}{run.name}")
    os.rename(run, gone)
    shutil.rmtree(gone)


def sweep(runs: Path) -> int:
    """Removes what interrupted removals left. Returns their number."""
    left = [*runs.glob(f"{PRUNED}*")]
    for folder in left:
        shutil.rmtree(folder)
    return len(left)


def _runs_in(runs: Path) -> Iterator[Path]:
    for path in runs.iterdir():
        if not path.is_symlink() and not path.name.startswith(".") and (path / "run.json").is_file():
            yield path


def _may_run(folder: RunFolder) -> bool:
    """Whether it has no result yet and was written to lately."""
    if folder.summary.exists():
        return False
    times = [path.stat().st_mtime for path in (folder.path, folder.log, folder.events) if path.exists()]
    return time.time() - max(times) < RUNNING_SECONDS


def _used(folder: RunFolder, folders: dict[str, RunFolder]) -> set[str]:
    """Names of the other runs whose results this run shows or reused."""
    texts = [str(path.resolve()) for path in folder.path.iterdir() if path.is_symlink()]
    if folder.summary.is_file():
        try:
            texts += map(str, json.loads(folder.summary.read_text(encoding="utf-8"))["paths"].values())
        except (ValueError, KeyError, AttributeError):
            texts.append(folder.summary.read_text(encoding="utf-8", errors="replace"))  # damaged: any name in it counts
    if folder.log.is_file():
        texts += _REUSED.findall(folder.log.read_text(encoding="utf-8", errors="replace"))
    parts = {part for text in texts for part in re.split(r"[/\\\"]", text)}
    return (parts & folders.keys()) - {folder.path.name}


def _links_of_registries(folders: dict[str, RunFolder]) -> Iterator[tuple[str, str]]:
    """(link, run) of links in the runs' registries that lead into a run."""
    registries = set()
    for folder in folders.values():
        try:
            registries.add(folder.arguments().get("registry", ""))
        except (OSError, ValueError, KeyError):
            continue  # a damaged run names none
    for registry in sorted(r for r in registries if r and Path(r).is_dir()):
        for link in Path(registry).rglob("*"):
            if link.is_symlink():
                target = link.resolve()
                for name, folder in folders.items():
                    if target.is_relative_to(folder.path):
                        yield str(link), name


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_symlink() or path.is_file())
