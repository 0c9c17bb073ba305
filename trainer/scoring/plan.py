"""Which images form which batch, and which batches form which shard: a function of the sorted list alone.

Detections depend on the batch, in their last bits. So batches are fixed before the job starts: every `batch_size`
images in a row are one, the last one is filled up, and a shard of the output is a run of whole batches.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from beam_preprocess.base.storage import file_system

IMAGES_PER_SHARD = 256
MIN_SHARDS = 8
MAX_SHARDS = 99_999
"""File names have five digits."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """One shard, as a worker gets it: where its images are listed."""

    number: int
    first_id: int
    """Id of its first image."""
    images: int
    batches: int
    offset: int
    """Where its part of the plan file begins, in bytes."""
    length: int


def number_of_shards(images: int, batch_size: int) -> int:
    """One per 256 images, at least 8 for several workers to share, at most one per batch."""
    batches = -(-images // batch_size)
    return min(batches, MAX_SHARDS, max(MIN_SHARDS, -(-images // IMAGES_PER_SHARD)))


def plan_shards(names: Sequence[str], batch_size: int) -> Iterator[tuple[Shard, bytes]]:
    """The shards, each with its part of the plan file: one line per name."""
    batches = -(-len(names) // batch_size)
    shards = number_of_shards(len(names), batch_size)
    offset = 0
    for number in range(shards):
        first, last = (batches * place // shards for place in (number, number + 1))
        own = names[first * batch_size : last * batch_size]
        lines = "".join(f"{json.dumps(name)}\n" for name in own).encode()
        yield (
            Shard(
                number=number,
                first_id=first * batch_size + 1,
                images=len(own),
                batches=last - first,
                offset=offset,
                length=len(lines),
            ),
            lines,
        )
        offset += len(lines)


def write_plan(uri: str, names: Sequence[str], batch_size: int) -> list[Shard]:
    """Writes the plan file, one shard at a time; returns the shards."""
    fs, path = file_system(uri)
    shards = []
    with fs.open(path, "wb") as file:
        for shard, lines in plan_shards(names, batch_size):
            file.write(lines)
            shards.append(shard)
    return shards


def read_names(uri: str, shard: Shard) -> list[str]:
    """The names of a shard's images."""
    fs, path = file_system(uri)
    content: bytes = fs.cat_file(path, start=shard.offset, end=shard.offset + shard.length)
    return [json.loads(line) for line in content.splitlines()]
