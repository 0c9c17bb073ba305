"""Reads results back, one image at a time, whatever their format."""

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.files import read_bytes, read_text
from trainer.profile.rows import Rows, from_bytes, joined
from trainer.scoring.manifest import SCORE_AGAIN, ShardResult, read_manifest


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoredImage:
    """One image with its detections."""

    id: int
    file_name: str
    width: int
    height: int
    detections: tuple[dict[str, Any], ...]
    """COCO results without `image_id`: category_id, bbox ([x, y, width, height] in pixels), score; JSONL adds
    category, its name."""


def read_results(folder: str) -> Iterator[ScoredImage]:
    """The images that have results, in the order of their ids, one shard in memory at a time.

    Args:
      folder: path or URI of the output of `score`.

    Raises:
      InputError: it isn't finished, or a file is missing.
    """
    manifest = read_manifest(folder)
    for shard in manifest.shards:
        yield from _from_coco(folder, shard) if manifest.run.format == "coco" else _from_lines(folder, shard)


def read_rows(folder: str) -> Rows:
    """The statistics of the images that have results, in the order of their ids.

    Args:
      folder: path or URI of the output of `score` with `measures`.

    Raises:
      InputError: it isn't finished, a file is missing or damaged, or the run measured nothing.
    """
    parts = []
    for shard in read_manifest(folder).shards:
        for file in shard.files:
            if file.name.startswith("statistics-"):
                path = f"{folder.rstrip('/')}/{file.name}"
                parts.append(from_bytes(read_bytes(path, SCORE_AGAIN), path, SCORE_AGAIN)[0])
    if not parts:
        raise InputError(f"{folder}: holds no statistics; {SCORE_AGAIN}")
    return joined(parts)


def _from_lines(folder: str, shard: ShardResult) -> Iterator[ScoredImage]:
    for line in _text(folder, shard, "detections-").splitlines():
        entry = json.loads(line)
        yield ScoredImage(**{**entry, "detections": tuple(entry["detections"])})


def _from_coco(folder: str, shard: ShardResult) -> Iterator[ScoredImage]:
    found = itertools.groupby(json.loads(_text(folder, shard, "detections-")), lambda entry: entry.pop("image_id"))
    by_image = {number: tuple(entries) for number, entries in found}
    for line in _text(folder, shard, "images-").splitlines():
        entry = json.loads(line)
        yield ScoredImage(**entry, detections=by_image.get(entry["id"], ()))


def _text(folder: str, shard: ShardResult, start: str) -> str:
    (name,) = [file.name for file in shard.files if file.name.startswith(start)]
    return read_text(f"{folder.rstrip('/')}/{name}", SCORE_AGAIN)
