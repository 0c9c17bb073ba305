"""Batches and shards are a function of the list of names."""

from pathlib import Path

import pytest

from trainer.scoring.plan import Shard, number_of_shards, plan_shards, read_names, write_plan


@pytest.mark.parametrize(
    ("images", "batch_size", "shards"),
    [(1, 8, 1), (8, 8, 1), (9, 8, 2), (65, 8, 8), (2048, 8, 8), (2049, 8, 9), (50_000, 8, 196), (100, 64, 2)],
)
def test_the_number_of_shards(images: int, batch_size: int, shards: int) -> None:
    assert number_of_shards(images, batch_size) == shards
    planned = [shard for shard, _ in plan_shards([str(i) for i in range(images)], batch_size)]
    assert [shard.number for shard in planned] == list(range(shards))
    assert sum(shard.images for shard in planned) == images
    assert all(shard.images == shard.batches * batch_size for shard in planned[:-1]), "only the last batch is short"
    assert all(shard.batches for shard in planned)


def test_a_worker_reads_its_part_of_the_plan(tmp_path: Path) -> None:
    names = [f"ü/{i}\n{i}.jpg" for i in range(20)]
    names[5] = b"\xff.jpg".decode("utf-8", "surrogateescape")
    shards = write_plan(str(tmp_path / "plan.jsonl"), names, 2)
    assert len(shards) == 8
    assert [name for shard in shards for name in read_names(str(tmp_path / "plan.jsonl"), shard)] == names
    first, second, *_ = shards
    assert first == Shard(number=0, first_id=1, images=2, batches=1, offset=0, length=first.length)
    assert (second.first_id, second.images, second.offset) == (3, 2, first.length)
