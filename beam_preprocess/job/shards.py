"""The shard plans: which images go into which shard, as files that Beam workers read, and the results they report.

A plan holds its images with their boxes, so the pipeline joins nothing and no worker holds the whole annotation file.
The shard of an image is a hash of its id, so it depends only on the id and the number of shards.
"""

import json
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import TextIO

import numpy as np

from beam_preprocess.base.files import final_name
from beam_preprocess.base.json import read
from beam_preprocess.format.annotations import CocoAnnotations
from beam_preprocess.format.config import PreprocessConfig
from beam_preprocess.format.manifest import Category, Shard
from beam_preprocess.format.reasons import Reject
from beam_preprocess.job.views import Labels

IMAGES_PER_SHARD = 256
MIN_DEFAULT_SHARDS = 8
MAX_DEFAULT_SHARDS = 1024
MAX_SHARDS = 99_999
"""Maximum number of shards: file names have five digits."""

_OURS = re.compile(
    r"(train|val)-v\d+-\d{5}-of-\d{5}\.tfrecord|rejects-(\d{5}-of-\d{5}|annotations)\.jsonl|preview\.jpg|manifest\.json|fingerprints\.jsonl"
)


@dataclass(frozen=True, kw_only=True)
class ShardJob:
    """What every worker needs besides its plan."""

    images: str
    """The image folder, a path or URI of Beam's file systems."""
    output: str
    """The output folder, in the same form."""
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
    """One image of a plan, with validated boxes."""

    id: int
    file_name: str
    height: int
    width: int
    boxes: list[list[float]]
    """[N, 4], [ymin, xmin, ymax, xmax] in original pixels."""
    classes: list[int]
    crowd: list[bool]

    def to_json(self) -> str:
        """One line of a plan. (`asdict` would first copy every number of the boxes.)"""
        return json.dumps({name: getattr(self, name) for name in _IMAGE_FIELDS})

    @property
    def labels(self) -> Labels:
        """The boxes as arrays."""
        return Labels(
            boxes=np.array(self.boxes, np.float64).reshape(-1, 4),
            classes=np.array(self.classes, np.int32),
            crowd=np.array(self.crowd, bool),
        )


_IMAGE_FIELDS = [entry.name for entry in fields(ImageEntry)]


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardResult:
    """What a worker reports about one shard."""

    shard: int
    files: tuple[Shard, ...]
    images: int
    objects: int
    """Objects kept in view 0."""
    crowds: int
    cut_off: int
    """Boxes of which too little lies inside a view, summed over the views: geometry, not bad data."""
    max_cells: int
    max_objects: int
    classes: dict[str, int]
    """Number of objects in view 0 by class index (as a string, because JSON keys are strings)."""
    sizes: dict[str, int]
    """Number of objects in view 0 by area range in original pixels."""
    rejects: dict[str, int]
    fingerprints: dict[str, str] = field(default_factory=dict)
    """Fingerprint by file name."""

    def to_json(self) -> str:
        """The result as one line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str, where: str) -> "ShardResult":
        """The inverse of `to_json`.

        Args:
          text: the file's content.
          where: its path, for messages.

        Raises:
          InputError: not a result.
        """
        return read(cls, text, where, "run the same command again")


def is_ours(name: str) -> bool:
    """Whether a run may have written a file of this name into its output folder, or was killed while writing it."""
    return bool(_OURS.fullmatch(final_name(name)))


def id_hash(image_id: int) -> int:
    """The hash that assigns images to shards and orders them: CRC32 of the decimal id."""
    return zlib.crc32(str(image_id).encode())


def number_of_shards(images: int) -> int:
    """The default number of shards: one per 256 images, at least 8 (for a few workers to share), at most 1024.

    It does not depend on the number of workers, so the same data always gives the same files.
    """
    return max(1, min(images, MAX_DEFAULT_SHARDS, max(MIN_DEFAULT_SHARDS, -(-images // IMAGES_PER_SHARD))))


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
    """The lines of each shard's plan: its images, ordered by the hash of their ids, then its rejects.

    Args:
      annotations: the parsed file.
      categories: the categories with their class indices.
      keep_images: bool [I].
      keep_boxes: bool [A].
      boxes: float64 [A, 4], [ymin, xmin, ymax, xmax], clipped.
      rejects: rejects that were found without opening images.
      num_shards: number of plans; some may be empty.
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
