"""What the last completed run was made of, so that the next one can see that nothing changed.

The file is in the registry's folder. A vertex:// registry has no folder: its file is below the pipeline root, one per
registry. There is no file until a run has completed.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from beam_preprocess.base.files import read_text, write_text
from beam_preprocess.base.json import build, parse
from trainer.registry.base import VERTEX_SCHEME

DELETE_IT = "delete it: the next run then does all its work"


@dataclass(frozen=True, kw_only=True, slots=True)
class LastRun:
    """Content of `last_completed.json`."""

    run: dict[str, str]
    """What `identity` returned. Not typed further: a run of code with another identity is another run, not an error."""
    outcome: str
    registry: str
    ended: str = ""
    """UTC, ISO 8601; "" in files of older code."""

    def changed(self, run: dict[str, str]) -> frozenset[str]:
        """The keys of `identity` in which another run differs."""
        return frozenset(key for key in {*run, *self.run} if run.get(key) != self.run.get(key))


def identity(train_digest: str, val_digest: str, sections: Sequence[str], seed: int, image: str) -> dict[str, str]:
    """What determines a run's result: data, configuration, seed and code.

    Args:
      train_digest, val_digest: of the data.
      sections: the configuration as the stages take it (`trainer.config.canonical`), so that a comment changes nothing.
      seed: of the run.
      image: of the code.
    """
    return {
        "train_digest": train_digest,
        "val_digest": val_digest,
        "config": hashlib.sha256(json.dumps(list(sections)).encode()).hexdigest(),
        "seed": str(int(seed)),
        "image": image,
    }


def location(registry: str, pipeline_root: str) -> str:
    """URI of the file.

    Args:
      registry: the pipeline's registry, a folder or vertex://…
      pipeline_root: the service's folder of runs; used where the registry is not a folder.
    """
    if not registry.startswith(VERTEX_SCHEME):
        return f"{registry.rstrip('/')}/last_completed.json"
    name = hashlib.sha256(registry.encode()).hexdigest()[:16]
    return f"{pipeline_root.rstrip('/')}/last_completed/{name}.json"


def read_last(registry: str, pipeline_root: str) -> LastRun | None:
    """The last completed run; None before the first.

    Raises:
      InputError: the file is damaged.
    """
    uri = location(registry, pipeline_root)
    if not _exists(uri):
        return None
    return build(LastRun, parse(read_text(uri, DELETE_IT), uri, DELETE_IT), uri, DELETE_IT, partial=True)


def is_last(run: dict[str, str], registry: str, pipeline_root: str) -> bool:
    """Whether the last completed run was this one.

    Raises:
      InputError: the file is damaged.
    """
    last = read_last(registry, pipeline_root)
    return last is not None and last.run == run


def write_last(run: dict[str, str], outcome: str, registry: str, pipeline_root: str) -> str:
    """Records a completed run; returns the file's URI."""
    uri = location(registry, pipeline_root)
    last = LastRun(run=run, outcome=outcome, registry=registry, ended=datetime.now(UTC).isoformat(timespec="seconds"))
    write_text(uri, json.dumps(asdict(last), indent=1) + "\n")
    return uri


def _exists(uri: str) -> bool:
    import fsspec

    filesystem, path = fsspec.core.url_to_fs(uri)
    return bool(filesystem.exists(path))
