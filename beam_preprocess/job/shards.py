"""The shard plan: which images go into which shard, as files that Beam workers read, and what they report back.

A plan holds its images with their boxes, so nothing is joined in the pipeline and no worker holds the whole
annotation file. The shard of an image is a hash of its id: it depends on nothing but the id and the number of
shards.
"""

import json
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TextIO

import numpy as np

from beam_preprocess.format.annotations import CocoAnnotations
from beam_preprocess.format.config import PreprocessConfig
from beam_preprocess.format.manifest import Category, Shard
from beam_preprocess.format.reasons import Reject
from beam_preprocess.job.views import Labels

IMAGES_PER_SHARD = 256
FEWEST_SHARDS = 8
MOST_SHARDS = 1024
"""Of the default number."""
MAX_SHARDS = 99_999
"""As many as `OURS` knows by name."""

OURS = re.compile(
    r"((train|val)-v\d+-\d{5}-of-\d{5}\.tfrecord|rejects-(\d{5}-of-\d{5}|annotations)\.jsonl|preview\.jpg)(\.tmp-\w+)?"
)
"""Names of the files that a run writes into its output folder, besides the manifest."""


@dataclass(frozen=True, kw_only=True)
class ShardJob:
    """What every worker needs to know besides its plan."""

    images: str
    """The image folder, a path or URI of Beam's file systems."""
    output: str
    """The output folder, likewise."""
    split: str
    config: PreprocessConfig
    views: int
    seed: int
    num_shards: int
    code: str
    """The driver's `code_version()`."""

    def record_name(self, shard: int, view: int) -> str:
        """File name of one TFRecord file."""
        return f"{self.split}-v{view:02d}-{shard:05d}-of-{self.num_shards:05d}.tfrecord"

    def reject_name(self, shard: int) -> str:
        """File name of a shard's rejects."""
        return f"rejects-{shard:05d}-of-{self.num_shards:05d}.jsonl"


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageEntry:
    """One image of a plan, its boxes validated."""

    id: int
    file_name: str
    height: int
    width: int
    boxes: list[list[float]]
    """[N, 4], [ymin, xmin, ymax, xmax] in original pixels."""
    classes: list[int]
    crowd: list[bool]

    def to_json(self) -> str:
        """One line. (`asdict` would copy every number of the boxes first.)"""
        return json.dumps({name: getattr(self, name) for name in _IMAGE_FIELDS})

    @property
    def labels(self) -> Labels:
        """The boxes as arrays."""
        return Labels(
            boxes=np.array(self.boxes, np.float64).reshape(-1, 4),
            classes=np.array(self.classes, np.int32),
            crowd=np.array(self.crowd, bool),
        )


_IMAGE_FIELDS = [field.name for field in fields(ImageEntry)]


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardResult:
    """What became of one shard."""

    shard: int
    files: tuple[Shard, ...]
    images: int
    objects: int
    """Objects kept in view 0."""
    crowds: int
    cut_off: int
    """Boxes that lie outside a view or mostly so, summed over the views: geometry, not bad data."""
    max_cells: int
    max_objects: int
    classes: dict[str, int]
    """Objects of view 0 by class index (a string: JSON keys are)."""
    sizes: dict[str, int]
    """Objects of view 0 by area range in original pixels."""
    rejects: dict[str, int]

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "ShardResult":
        """The inverse of `to_json`."""
        values = json.loads(text)
        values["files"] = tuple(Shard(**file) for file in values["files"])
        return cls(**values)


def id_hash(image_id: int) -> int:
    """The hash that shards and orders images: CRC32 of the decimal id."""
    return zlib.crc32(str(image_id).encode())


def number_of_shards(images: int) -> int:
    """The default: one shard per 256 images, at least 8 (for a few workers to share), at most 1024.

    Independent of the number of workers, so that the same data always gives the same files.
    """
    return max(1, min(images, MOST_SHARDS, max(FEWEST_SHARDS, -(-images // IMAGES_PER_SHARD))))


def plan_shards(
    annotations: CocoAnnotations,
    categories: Sequence[Category],
    *,
    keep_images: np.ndarray,
    keep_boxes: np.ndarray,
    boxes: np.ndarray,
    rejects: Sequence[Reject],
    num_shards: int,
) -> Iterator[list[str]]:
    """The lines of each shard's plan: its images in the order of their ids' hash, then its rejects.

    Args:
      annotations: the parsed file.
      categories: with class indices.
      keep_images: bool [I].
      keep_boxes: bool [A].
      boxes: float64 [A, 4], [ymin, xmin, ymax, xmax], clipped.
      rejects: found without opening images.
      num_shards: how many plans; some may be empty.
    """
    index_of = {category.id: category.index for category in categories}
    ids = annotations.image_ids.tolist()
    images: list[list[int]] = [[] for _ in range(num_shards)]
    for i in sorted(np.flatnonzero(keep_images).tolist(), key=lambda i: (id_hash(ids[i]), ids[i])):
        images[id_hash(ids[i]) % num_shards].append(i)
    faults: list[list[Reject]] = [[] for _ in range(num_shards)]
    for reject in sorted(rejects, key=lambda r: r.order):
        faults[id_hash(reject.image_id) % num_shards].append(reject)

    kept = np.flatnonzero(keep_boxes)
    kept = kept[np.argsort(annotations.annotation_image_ids[kept], kind="stable")]
    owners = annotations.annotation_image_ids[kept]
    # One search for all images: where the boxes of each begin and end.
    starts, ends = (np.searchsorted(owners, annotations.image_ids, side) for side in ("left", "right"))
    for shard in range(num_shards):
        lines = []
        for i in images[shard]:
            own = kept[starts[i] : ends[i]]
            height, width = annotations.image_sizes[i].tolist()
            entry = ImageEntry(
                id=ids[i],
                file_name=annotations.file_names[i],
                height=height,
                width=width,
                boxes=boxes[own].tolist(),
                classes=[index_of[c] for c in annotations.annotation_category_ids[own].tolist()],
                crowd=annotations.crowd[own].tolist(),
            )
            lines.append(entry.to_json())
        yield lines + [json.dumps(reject.to_mapping()) for reject in faults[shard]]


def read_plan(stream: TextIO) -> Iterator[ImageEntry | Reject]:
    """The entries of a plan, one at a time."""
    for line in stream:
        values = json.loads(line)
        yield Reject.from_mapping(values) if "reason" in values else ImageEntry(**values)
