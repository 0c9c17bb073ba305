"""Results of earlier local runs: kfp's cache, kept below the runs' folder and made safe for code that changes.

kfp's key of a task is its component's source, its arguments and its input artifacts. Our components are a few lines
that call the packages, so entries lie in a folder of the code that made them: other code finds none.
"""

import hashlib
import json
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trainer.promotion.summary import installed_versions

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = ("beam_preprocess", "components", "trainer")

READY = {
    "records": "manifest.json",
    "checkpoint": "train.json",
    "model": "saved_model.pb",
    "evaluation": "evaluation.json",
}
"""Output artifacts of the tasks that are cached, and the file that is written last or makes them what they are."""


def open_cache(runs: Path) -> Path:
    """The folder of the entries that this code may use. Entries whose results are gone are removed: kfp itself only
    looks whether a result's folder is there.

    Args:
      runs: parent of all runs.
    """
    folder = runs / ".cache" / code_digest()
    folder.mkdir(parents=True, exist_ok=True)
    for entry in folder.glob("*.json"):
        if not all((Path(uri) / READY.get(name, "")).exists() for name, uri in _results(entry)):
            entry.unlink()
    return folder


def origin(folder: Path, key: str) -> str:
    """Where the result of an entry lies; "" when it can't be told.

    Args:
      folder: as `open_cache` gave it.
      key: how the entry's name begins.
    """
    return next((uri for entry in folder.glob(f"{key}*.json") for _, uri in _results(entry)), "")


def _results(entry: Path) -> Iterator[tuple[str, str]]:
    """(name, folder) of the artifacts in an entry; an entry that can't be read has one that is nowhere."""
    try:
        outputs: dict[str, Any] = json.loads(entry.read_text())
        for name, value in outputs.items():
            if isinstance(value, dict) and "uri" in value:
                yield name, value["uri"]
    except (OSError, ValueError, AttributeError):
        yield "unreadable", f"{entry}.unreadable"


def code_digest() -> str:
    """Of our code, and of the libraries that shape results: what an image's tag stands for elsewhere."""
    digest = hashlib.sha256(json.dumps([installed_versions(), platform.machine()], sort_keys=True).encode())
    for package in PACKAGES:
        for path in sorted((REPOSITORY / package).rglob("*.py")):
            digest.update(f"\0{path.relative_to(REPOSITORY)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]
