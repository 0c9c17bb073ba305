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


def open_cache(runs: Path, code: str = "") -> Path:
    """The folder of the entries that this code may use.

    Entries whose results are gone are removed. A cached task's artifact is the file that shows that it is complete.

    Args:
      runs: parent of all runs.
      code: digest of the code; that of this clone and its environment by default.
    """
    folder = _folder(runs, code or code_digest())
    folder.mkdir(parents=True, exist_ok=True)
    for entry in folder.glob("*.json"):
        if not all(Path(uri).exists() for uri in _results(entry)):
            entry.unlink()
    return folder


def valid_configurations(runs: Path) -> Path:
    """The folder that remembers which configurations this clone's code found valid; see `ConfigCheck`."""
    return _folder(runs, code_digest()) / "valid-configurations"


def _folder(runs: Path, code: str) -> Path:
    return runs / ".cache" / code


def origin(folder: Path, key: str) -> str:
    """Folder of an entry's result; "" if unknown.

    Args:
      folder: what `open_cache` returned.
      key: the beginning of the entry's name.
    """
    return next((str(Path(uri).parent) for entry in folder.glob(f"{key}*.json") for uri in _results(entry)), "")


def _results(entry: Path) -> Iterator[str]:
    """The files of the artifacts in an entry. An unreadable entry has one, which is missing."""
    try:
        outputs: dict[str, Any] = json.loads(entry.read_text())
        for value in outputs.values():
            if isinstance(value, dict) and "uri" in value:
                yield value["uri"]
    except (OSError, ValueError, AttributeError):
        yield f"{entry}.unreadable"


def code_digest() -> str:
    """Digest of our code and of the libraries that shape results. On services, the image's tag plays this role."""
    digest = hashlib.sha256(json.dumps([installed_versions(), platform.machine()], sort_keys=True).encode())
    for package in PACKAGES:
        for path in sorted((REPOSITORY / package).rglob("*.py")):
            digest.update(f"\0{path.relative_to(REPOSITORY)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]
