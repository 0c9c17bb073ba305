import asyncio
import threading
from collections.abc import Sequence

import pytest

from trainer.serving.batcher import Batcher, Busy


class Recorder:
    """Answers n with 10 n, notes its batches, and waits for `gate` before each."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = threading.Event()

    def __call__(self, numbers: Sequence[int]) -> list[int]:
        self.gate.wait(30)
        self.batches.append(list(numbers))
        if -1 in numbers:
            raise RuntimeError("out of memory")
        return [10 * number for number in numbers]


def test_what_arrives_during_a_batch_becomes_the_next_in_fixed_sizes_and_in_order() -> None:
    recorder = Recorder()

    async def clients() -> list[list[int]]:
        batcher: Batcher[int, int] = Batcher(recorder)
        first = asyncio.create_task(batcher.submit([0]))
        await asyncio.sleep(0.05)
        others = [asyncio.create_task(batcher.submit([i, 100 + i])) for i in range(1, 8)]
        await asyncio.sleep(0.05)
        assert batcher.waiting == 14
        recorder.gate.set()
        return [await first, *await asyncio.gather(*others)]

    assert asyncio.run(clients()) == [[0], *([10 * i, 1000 + 10 * i] for i in range(1, 8))]
    assert [len(batch) for batch in recorder.batches] == [1, 8, 4, 2]


def test_a_batch_that_fails_fails_its_own_requests_and_a_cancelled_request_no_other() -> None:
    recorder = Recorder()
    recorder.gate.set()

    async def clients() -> None:
        batcher: Batcher[int, int] = Batcher(recorder)
        with pytest.raises(RuntimeError, match="out of memory"):
            await batcher.submit([-1, 2])
        cancelled, kept = asyncio.create_task(batcher.submit([3])), asyncio.create_task(batcher.submit([4]))
        await asyncio.sleep(0)
        cancelled.cancel()
        assert await kept == [40]

    asyncio.run(clients())


def test_too_many_waiting_images_are_refused_but_one_large_request_is_not() -> None:
    recorder = Recorder()

    async def clients() -> None:
        batcher: Batcher[int, int] = Batcher(recorder, sizes=(1, 2), max_waiting=4)
        large = asyncio.create_task(batcher.submit(range(9)))
        await asyncio.sleep(0.05)
        with pytest.raises(Busy, match="7 images are waiting"):
            await batcher.submit([1])
        recorder.gate.set()
        assert await large == [10 * i for i in range(9)]
        assert await batcher.submit([7]) == [70]

    asyncio.run(clients())
    assert [len(batch) for batch in recorder.batches] == [2, 2, 2, 2, 1, 1]
