"""The choice between threads and processes."""

import pytest

from beam_preprocess.engine.parallelism import WORKER_BYTES, choose

GIB = 2**30
LARGE = 1e6
"""Megapixels: three hours of one core."""


@pytest.mark.parametrize(
    ("cores", "memory", "megapixels", "expected"),
    [
        (1, 64 * GIB, LARGE, (1, 1)),
        (2, 64 * GIB, 10, (1, 2)),
        (2, 64 * GIB, 2300, (1, 2)),  # 27 s of one core
        (2, 64 * GIB, 2400, (2, 1)),
        (4, 64 * GIB, 1500, (1, 4)),
        (4, 64 * GIB, 1600, (4, 1)),
        (64, 256 * GIB, 600, (1, 4)),
        (64, 256 * GIB, 700, (64, 1)),
        (64, 5 * WORKER_BYTES, LARGE, (4, 1)),
        (64, 3 * WORKER_BYTES, LARGE, (1, 4)),  # two processes are slower than four threads
        (2, WORKER_BYTES // 2, LARGE, (1, 2)),
    ],
)
def test_processes_need_cores_memory_and_much_work(
    cores: int, memory: int, megapixels: float, expected: tuple[int, int]
) -> None:
    found = choose([], cores=cores, memory=memory, shards=1000, megapixels=megapixels)
    assert (found.processes, found.threads) == expected
    assert f"cores: {cores};" in found.why


@pytest.mark.parametrize(("shards", "expected"), [(1, (1, 1)), (2, (1, 2)), (8, (8, 1))])
def test_a_shard_is_one_workers(shards: int, expected: tuple[int, int]) -> None:
    found = choose([], cores=64, memory=64 * GIB, shards=shards, megapixels=1000)
    assert (found.processes, found.threads) == expected


@pytest.mark.parametrize("flag", ["--runner=DataflowRunner", "--runner", "--direct_num_workers=3"])
def test_beams_own_flags_win(flag: str) -> None:
    found = choose([flag], cores=16, memory=64 * GIB, shards=8, megapixels=LARGE)
    assert (found.processes, found.threads, found.why) == (1, 1, "")


def test_the_reason_says_from_where_on_processes_pay() -> None:
    found = choose([], cores=2, memory=8 * GIB, shards=8, megapixels=1234)
    assert found.why == (
        "1,234 megapixels of views; cores: 2; memory: 8.0 GiB; 2 processes are faster from 2,352 megapixels on"
    )
