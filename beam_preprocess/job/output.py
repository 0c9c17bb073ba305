"""The output folder as the driver sees it: what is ready, what is stale, the plans, the manifest. fsspec; no Beam.

Order matters. Before anything is written, the old manifest is removed, then the old shards, so that a reader never
finds shards of two runs under one manifest. The new manifest is written when all shards are in place.
"""

import contextlib
import itertools
import json
import os
import uuid
from collections.abc import Iterable, Mapping, Sequence

from beam_preprocess.base.errors import Failure, InputError
from beam_preprocess.base.files import make_writable, write_text
from beam_preprocess.base.storage import absolute, file_system, listing
from beam_preprocess.format import manifest as manifests
from beam_preprocess.format.fingerprints import NAME as FINGERPRINTS
from beam_preprocess.format.fingerprints import to_lines
from beam_preprocess.format.manifest import Manifest
from beam_preprocess.format.reasons import Reject
from beam_preprocess.job.shards import ShardResult, is_ours

FILE_REJECTS = "rejects-annotations.jsonl"
"""Rejects of a run that ended before it wrote a shard."""

_PLAN_PREFIX = ".plan-"
_PLAN_BATCH = 64
"""Plans written in one call: a bucket takes them in parallel, and the driver holds no more in memory."""


class OutputFolder:
    """The folder that holds the records of one split."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._fs, self._root = file_system(uri)

    def _path(self, *parts: str) -> str:
        return "/".join([self._root.rstrip("/"), *parts])

    def ready_manifest(self, split: str, records_digest: str) -> Manifest | None:
        """The manifest, if it and all its shards are present and belong to this digest.

        Raises:
          InputError: the folder holds another split's records.
        """
        path = self._path(manifests.NAME)
        if not self._fs.isfile(path):
            return None
        text = self._fs.cat_file(path).decode()
        try:
            found = Manifest.from_json(text, f"{self.uri}/{manifests.NAME}")
        except InputError:
            return None  # an older schema, or damaged: this run replaces it
        if found.split != split:
            raise InputError(f"{self.uri}: holds the records of split {found.split!r}; give {split!r} its own folder")
        if found.records_digest != records_digest:
            return None
        sizes = {os.path.basename(entry["name"]): entry["size"] for entry in listing(self._fs, self._root)}
        complete = all(sizes.get(shard.name) == shard.bytes for shard in found.shards)
        return found if complete else None

    def make_writable(self) -> None:
        """Creates the folder; see `base.files.make_writable`."""
        make_writable(self.uri, manifests.NAME)

    def sweep(self) -> None:
        """Removes the files of earlier runs of this package, finished or killed; the manifest first."""
        names = [os.path.basename(entry["name"].rstrip("/")) for entry in listing(self._fs, self._root)]
        if manifests.NAME in names:
            self._fs.rm_file(self._path(manifests.NAME))
        ours = [name for name in names if name != manifests.NAME and is_ours(name)]
        if ours:
            self._fs.rm([self._path(name) for name in ours])
        for name in names:
            if name.startswith(_PLAN_PREFIX):
                self._fs.rm(self._path(name), recursive=True)

    def write_rejects(self, rejects: Iterable[Reject]) -> None:
        """Writes the rejects of a run that ends before its shards are written: those found without opening an image."""
        lines = [json.dumps(reject.to_mapping()) + "\n" for reject in sorted(rejects, key=lambda reject: reject.order)]
        write_text(f"{self.uri.rstrip('/')}/{FILE_REJECTS}", "".join(lines))

    def write_plans(self, records_digest: str, shards: Iterable[Sequence[str]]) -> "Plans":
        """Writes one plan file per shard, into a folder that belongs to this run."""
        return Plans(f"{self.uri.rstrip('/')}/{_PLAN_PREFIX}{records_digest[:16]}-{uuid.uuid4().hex[:8]}", shards)

    def write_fingerprints(self, fingerprints: Mapping[str, str]) -> None:
        """Writes the images' fingerprints (by file name), which show images that look alike in two splits."""
        write_text(f"{self.uri.rstrip('/')}/{FINGERPRINTS}", to_lines(fingerprints))

    def write_manifest(self, manifest: Manifest) -> None:
        """Writes the manifest, which marks the folder as ready."""
        write_text(f"{self.uri.rstrip('/')}/{manifests.NAME}", manifest.to_json())


class Plans:
    """A folder of plan files. The workers write their results into it."""

    def __init__(self, uri: str, shards: Iterable[Sequence[str]]) -> None:
        self.folder = absolute(uri)
        """The folder in the form that Beam's file systems take."""
        self.uris: list[str] = []
        """URIs of the plan files, by shard."""
        self._fs, self._root = file_system(uri)
        self._results: dict[str, ShardResult] = {}
        self._fs.makedirs(self._root, exist_ok=True)
        numbered = enumerate(shards)
        while batch := list(itertools.islice(numbered, _PLAN_BATCH)):
            contents = {
                f"plan-{shard:05d}.jsonl": "".join(f"{line}\n" for line in lines).encode() for shard, lines in batch
            }
            self._fs.pipe({f"{self._root}/{name}": content for name, content in contents.items()})
            self.uris.extend(f"{self.folder}/{name}" for name in contents)

    def poll(self) -> dict[str, ShardResult]:
        """The results written so far, by file name."""
        paths = {os.path.basename(entry["name"]): entry["name"] for entry in listing(self._fs, self._root)}
        new = {
            path: name
            for name, path in paths.items()
            if name.startswith("result-") and name.endswith(".json") and name not in self._results
        }
        for path, content in (self._fs.cat(list(new)) if new else {}).items():
            self._results[new[path]] = ShardResult.from_json(content.decode(), path)
        return self._results

    def progress(self) -> tuple[int, str]:
        """(number of finished images, a note), for a progress line."""
        results = list(self.poll().values())
        rejects = sum(sum(result.rejects.values()) for result in results)
        return sum(result.images for result in results), f"{rejects} rejects so far"

    def results(self) -> list[ShardResult]:
        """All results, in the order of the shards.

        Raises:
          Failure: a shard has no result.
        """
        found = sorted(self.poll().values(), key=lambda result: result.shard)
        missing = sorted(set(range(len(self.uris))) - {result.shard for result in found})
        if missing:
            raise Failure(
                f"{self.folder}: the job ended without results for the shards {missing}; did another run use the same "
                "output folder? Rerun the same command"
            )
        return found

    def remove(self) -> None:
        """Removes the folder, unless another run already did."""
        with contextlib.suppress(FileNotFoundError):
            self._fs.rm(self._root, recursive=True)
