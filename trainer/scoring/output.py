"""The output folder as the driver sees it: another run's results, finished shards, the manifest. fsspec; no Beam.

Until the manifest is there, `.scoring/` holds what a later run needs to resume: which run it is (run.json), its
plan, and one result file per finished shard.
"""

import contextlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, fields

from beam_preprocess.base.errors import Failure, InputError
from beam_preprocess.base.files import final_name, make_writable, read_text, write_text
from beam_preprocess.base.json import read
from beam_preprocess.base.storage import absolute, file_system, listing
from trainer.scoring.job import is_ours
from trainer.scoring.manifest import NAME, SCORE_AGAIN, Manifest, Run, ShardResult, read_manifest
from trainer.scoring.plan import Shard, write_plan

WORK = ".scoring"
_RUN, _PLAN = "run.json", "plan.jsonl"
_LABELS = {
    "model_digest": "another model",
    "images": "another folder of images",
    "num_images": "another number of images",
    "images_digest": "images that were added, removed or changed",
    "format": "another --format",
    "batch_size": "another --batch-size",
    "minimum": "other thresholds",
    "measures": "other statistics",
}


class ResultsFolder:
    """The folder for the results of one run."""

    def __init__(self, uri: str) -> None:
        self.uri = uri.rstrip("/") or "/"
        self.absolute = absolute(self.uri)
        self.work = f"{self.absolute.rstrip('/')}/{WORK}"
        self.plan = f"{self.work}/{_PLAN}"
        self._fs, self._root = file_system(self.uri)
        self._results: dict[str, ShardResult] = {}

    def finished(self, run: Run) -> Manifest | None:
        """The manifest of this run, if it is finished; None if it is to be started or resumed.

        Raises:
          InputError: the folder holds the results of another run.
        """
        names = {os.path.basename(entry["name"].rstrip("/")) for entry in listing(self._fs, self._root)}
        if NAME in names:
            manifest = read_manifest(self.uri)
            self._refuse_other(manifest.run, run)
            return manifest
        if WORK in names and self._fs.exists(self._path(WORK, _RUN)):
            path = f"{self.work}/{_RUN}"
            self._refuse_other(read(Run, read_text(path, SCORE_AGAIN), path, SCORE_AGAIN), run)
        elif stray := sorted(name for name in names if is_ours(name) and not name.startswith("rejects-")):
            raise InputError(
                f"--output {self.uri}: holds {stray[0]} of a run that is not known any more; give another folder, or "
                "remove its files"
            )
        return None

    def begin(self, run: Run, names: Sequence[str]) -> list[Shard]:
        """Writes the plan, unless a killed run left it; removes what that run left half done.

        Returns:
          The shards.

        Raises:
          InputError: the folder can't be written.
        """
        make_writable(self.uri, NAME)
        self._fs.makedirs(self._path(WORK), exist_ok=True)
        shards = write_plan(self.plan, names, run.batch_size)
        resumed = self._fs.exists(self._path(WORK, _RUN))
        for entry in listing(self._fs, self._root):
            name = os.path.basename(entry["name"].rstrip("/"))
            if is_ours(name) and (final_name(name) != name or not resumed):
                self._fs.rm_file(self._path(name))
        if not resumed:
            write_text(f"{self.work}/{_RUN}", json.dumps(asdict(run)) + "\n")
        return shards

    def poll(self) -> dict[str, ShardResult]:
        """The results written so far, by file name."""
        paths = {os.path.basename(entry["name"]): entry["name"] for entry in listing(self._fs, self._path(WORK))}
        for name, path in paths.items():
            if name.startswith("result-") and name not in self._results:
                text = self._fs.cat_file(path).decode()
                self._results[name] = read(ShardResult, text, path, SCORE_AGAIN)
        return self._results

    def finished_shards(self) -> set[int]:
        """The shards whose files are all there."""
        sizes = {os.path.basename(entry["name"]): entry["size"] for entry in listing(self._fs, self._root)}
        damaged = [
            name
            for name, result in self.poll().items()
            if any(sizes.get(file.name) != file.bytes for file in result.files)
        ]
        for name in damaged:
            self._fs.rm_file(self._path(WORK, name))
            del self._results[name]
        return {result.shard for result in self._results.values()}

    def progress(self) -> tuple[int, str]:
        """(images that are done, a note), for a progress line."""
        results = list(self.poll().values())
        rejects = sum(sum(result.rejects.values()) for result in results)
        note = f"{sum(result.detections for result in results)} detections, {rejects} rejects so far"
        return sum(result.images for result in results) + rejects, note

    def results(self, shards: int) -> list[ShardResult]:
        """All results, in the order of the shards.

        Raises:
          Failure: a shard has none.
        """
        found = sorted(self.poll().values(), key=lambda result: result.shard)
        missing = sorted(set(range(shards)) - {result.shard for result in found})
        if missing:
            raise Failure(
                f"{self.uri}: the job ended without results for the shards {missing}; did another run use the same "
                "output folder? Rerun the same command"
            )
        return found

    def write_manifest(self, manifest: Manifest) -> None:
        """Writes the manifest, which marks the folder as ready, and removes what only an unfinished run needs."""
        write_text(f"{self.absolute.rstrip('/')}/{NAME}", manifest.to_json())
        self.remove_work()

    def remove_work(self) -> None:
        """Makes the next run start over."""
        with contextlib.suppress(FileNotFoundError):
            self._fs.rm(self._path(WORK), recursive=True)

    def remove_results(self) -> None:
        """Removes everything but the rejects."""
        self.remove_work()
        for entry in listing(self._fs, self._root):
            name = os.path.basename(entry["name"].rstrip("/"))
            if is_ours(name) and not name.startswith("rejects-"):
                self._fs.rm_file(self._path(name))

    def _path(self, *parts: str) -> str:
        return "/".join([self._root.rstrip("/"), *parts])

    def _refuse_other(self, found: Run, run: Run) -> None:
        names = [field.name for field in fields(Run)]
        differing = [_LABELS[name] for name in names if name in _LABELS and getattr(found, name) != getattr(run, name)]
        if differing:
            of = f" ({found.version})" if found.version else ""
            raise InputError(
                f"--output {self.uri}: holds the results of another run: {found.num_images} images of {found.images} "
                f"by {found.model}{of}; here: {', '.join(differing)}; give another folder, or remove this one"
            )
