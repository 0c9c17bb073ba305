"""Results of earlier local runs: kfp's cache, below the runs' folder, and safe when code changes.

kfp keys a task by its component's source, its arguments and its input artifacts. Our components are a few lines that
call the packages, so the entries are in a folder per version of the code: other code finds none.
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
"""Output artifact of each cached task, and the file that shows that the artifact is complete."""


def open_cache(runs: Path, code: str = "") -> Path:
    """The folder of the entries that this code may use.

    Entries whose results are gone are removed: kfp only checks that a result's folder exists.

    Args:
      runs: parent of all runs.
      code: digest of the code; that of this clone and its environment by default.
    """
    folder = runs / ".cache" / (code or code_digest())
    folder.mkdir(parents=True, exist_ok=True)
    for entry in folder.glob("*.json"):
        if not all((Path(uri) / READY.get(name, "")).exists() for name, uri in _results(entry)):
            entry.unlink()
    return folder


def origin(folder: Path, key: str) -> str:
    """Folder of an entry's result; "" if unknown.

    Args:
      folder: what `open_cache` returned.
      key: the beginning of the entry's name.
    """
    return next((uri for entry in folder.glob(f"{key}*.json") for _, uri in _results(entry)), "")


def _results(entry: Path) -> Iterator[tuple[str, str]]:
    """(name, folder) of the artifacts in an entry. An unreadable entry has one artifact, whose folder is missing."""
    try:
        outputs: dict[str, Any] = json.loads(entry.read_text())
        for name, value in outputs.items():
            if isinstance(value, dict) and "uri" in value:
                yield name, value["uri"]
    except (OSError, ValueError, AttributeError):
        yield "unreadable", f"{entry}.unreadable"


def code_digest() -> str:
    """Digest of our code and of the libraries that shape results. On services, the image's tag plays this role."""
    digest = hashlib.sha256(json.dumps([installed_versions(), platform.machine()], sort_keys=True).encode())
    for package in PACKAGES:
        for path in sorted((REPOSITORY / package).rglob("*.py")):
            digest.update(f"\0{path.relative_to(REPOSITORY)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]
