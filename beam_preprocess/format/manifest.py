"""`manifest.json`: what a folder of records holds. It is written last and so is the ready marker.

Pure data: reading and writing files is the caller's, with the file system of its own world.
"""

import json
from dataclasses import asdict, dataclass, fields
from typing import Any

from beam_preprocess.base.errors import InputError
from beam_preprocess.format.records import SCHEMA_VERSION

NAME = "manifest.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Category:
    """One class of the data set."""

    index: int
    """Channel of the heatmap, 0-based."""

    id: int
    """The data set's own category id."""

    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """One TFRecord file: one view of the images of one shard."""

    name: str
    shard: int
    view: int
    records: int
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """Everything a reader needs to know before it opens a shard."""

    schema_version: int
    split: str
    data_digest: str
    """sha256 over the annotations and every image's name, size and crc32c: identifies the source."""
    records_digest: str
    """data_digest plus every parameter and the code version that shape the records."""
    images: int
    views: int
    objects: int
    """Objects (not crowd regions) kept in view 0."""
    crowds: int
    num_classes: int
    """Channels of the heatmap; more than len(categories) when ids are used as indices."""
    categories: tuple[Category, ...]
    shards: tuple[Shard, ...]
    max_cells: int
    """Largest number of stored heatmap cells of any record, crowd cells included."""
    max_objects: int
    """Largest number of objects of any record, crowd regions included."""
    rejects: dict[str, int]
    """Rejected or repaired images and boxes by reason code."""
    class_histogram: dict[str, int]
    """Objects of view 0 by category name."""
    size_histogram: dict[str, int]
    """Objects of view 0 by COCO area range: small, medium, large (original pixels)."""
    parameters: dict[str, Any]
    """The keys of the `preprocess:` section, the seed and the number of shards."""

    def to_json(self) -> str:
        """Text with a stable order and layout."""
        return json.dumps(asdict(self), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str) -> "Manifest":
        """Reads a manifest.

        Args:
          text: the file's content.
          where: its path, for messages.

        Raises:
          InputError: not a manifest, or one of another schema version.
        """
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            raise InputError(f"{where}: not JSON ({error}); run the preprocessing again") from error
        version = values.get("schema_version") if isinstance(values, dict) else None
        if version != SCHEMA_VERSION:
            raise InputError(
                f"{where}: schema_version {version!r}, this code reads {SCHEMA_VERSION}; run the preprocessing again"
            )
        names = {f.name for f in fields(cls)}
        if set(values) != names:
            raise InputError(f"{where}: keys differ from the schema: {sorted(set(values) ^ names)}")
        values["categories"] = tuple(Category(**c) for c in values["categories"])
        values["shards"] = tuple(Shard(**s) for s in values["shards"])
        return cls(**values)
