"""`manifest.json`: what a folder of results holds. It is written last: without it nothing is ready."""

import dataclasses
import json
from dataclasses import dataclass
from typing import Literal

from beam_preprocess.base.files import read_text
from beam_preprocess.base.json import read
from trainer.profile.columns import Measures

NAME = "manifest.json"
SCORES_SCHEMA = 2
SCORE_AGAIN = "score the images again, into another folder"

Format = Literal["coco", "jsonl"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Category:
    """One of the model's classes."""

    id: int
    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Minimum:
    """Minimum score of what is written."""

    default: float
    """For classes that `classes` lacks; 0 writes every detection."""
    classes: dict[str, float]
    """By category id, as JSON has it."""
    source: str
    """Where they come from: serving.json, the export, or --threshold."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """Everything that shapes the results. Two runs that differ in any of it don't share a folder."""

    model: str
    version: str
    """The model's name in the registry; "" if it was given as a folder."""
    model_digest: str
    images: str
    """The folder of the images."""
    num_images: int
    images_digest: str
    format: Format
    batch_size: int
    minimum: Minimum
    measures: Measures | None
    """What statistics-*.npz hold of each image; None: there are none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class File:
    """One file of a shard."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardResult:
    """One finished shard."""

    shard: int
    images: int
    """Images with results, also those without a detection."""
    detections: int
    rejects: dict[str, int]
    """Images without results, by reason code."""
    files: tuple[File, ...]

    def to_json(self) -> str:
        """The result as one line."""
        return json.dumps(dataclasses.asdict(self)) + "\n"


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """Content of `manifest.json`."""

    run: Run
    categories: tuple[Category, ...]
    images: int
    detections: int
    rejects: dict[str, int]
    image_ids: str
    """How an image's id and its file name belong together."""
    shards: tuple[ShardResult, ...]

    def to_json(self) -> str:
        """Text of the file."""
        return json.dumps({"schema_version": SCORES_SCHEMA, **dataclasses.asdict(self)}, indent=1) + "\n"


IMAGE_IDS = "place in the sorted list of file names, from 1; the .jsonl files name both"


def read_manifest(folder: str) -> Manifest:
    """The manifest of a folder of results.

    Raises:
      InputError: missing, damaged or of another schema version.
    """
    path = f"{folder.rstrip('/')}/{NAME}"
    return read(Manifest, read_text(path, SCORE_AGAIN), path, SCORE_AGAIN, schema_version=SCORES_SCHEMA)
