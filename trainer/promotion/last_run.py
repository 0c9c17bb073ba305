"""What the last completed run was made of, so that the next one can see that nothing changed.

The file lies in the registry's folder; a registry that is no folder (vertex://) has it below the pipeline root, one a
registry. Without a run that came to its end there is none.
"""

import hashlib
import json

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.files import read_json, write_text

FIX = "delete it: the next run then does all its work"


def identity(train_digest: str, val_digest: str, config: str, seed: int, image: str) -> dict[str, str]:
    """What shapes a run's result: data, configuration text, seed and code."""
    return {
        "train_digest": train_digest,
        "val_digest": val_digest,
        "config": hashlib.sha256(config.encode()).hexdigest(),
        "seed": str(int(seed)),
        "image": image,
    }


def location(registry: str, pipeline_root: str) -> str:
    """URI of the file.

    Args:
      registry: the pipeline's, a folder or vertex://…
      pipeline_root: the backend's; used where the registry is no folder.
    """
    if not registry.startswith("vertex://"):
        return f"{registry.rstrip('/')}/last_completed.json"
    name = hashlib.sha256(registry.encode()).hexdigest()[:16]
    return f"{pipeline_root.rstrip('/')}/last_completed/{name}.json"


def is_last(run: dict[str, str], registry: str, pipeline_root: str) -> bool:
    """Whether the last completed run was this one.

    Raises:
      InputError: the file is damaged.
    """
    uri = location(registry, pipeline_root)
    if not _exists(uri):
        return False
    found = read_json(uri, FIX)
    if not isinstance(found, dict) or "run" not in found:
        raise InputError(f"{uri}: holds no run; {FIX}")
    return bool(found["run"] == run)


def write_last(run: dict[str, str], outcome: str, registry: str, pipeline_root: str) -> str:
    """Notes a completed run; returns the file's URI."""
    uri = location(registry, pipeline_root)
    write_text(uri, json.dumps({"run": run, "outcome": outcome, "registry": registry}, indent=1) + "\n")
    return uri


def _exists(uri: str) -> bool:
    import fsspec

    filesystem, path = fsspec.core.url_to_fs(uri)
    return bool(filesystem.exists(path))
