"""Batches of concurrent requests: what arrives while one batch is computed becomes the next. Standard library.

Batches have few fixed sizes. The floats of an image depend on the size of its batch in their last bits, and a network
that is compiled or tuned for each size meets few of them.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

Image = TypeVar("Image")
Answer = TypeVar("Answer")

SIZES = (1, 2, 4, 8)
"""Each is twice the one before: the parts of a halved batch have such a size, too."""
MAX_WAITING = 256
"""Images. One that waits behind more would wait for seconds, and hold its bytes in memory."""


class Busy(Exception):
    """Too many images are waiting."""


class Batcher(Generic[Image, Answer]):
    """Computes images in batches, on one thread.

    Args:
      call: computes a batch; gives one answer per image, in their order.
      sizes: sizes of batches, ascending, the first is 1.
      max_waiting: a request that finds more images waiting is refused.
    """

    def __init__(
        self,
        call: Callable[[Sequence[Image]], Sequence[Answer]],
        *,
        sizes: Sequence[int] = SIZES,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        self._call = call
        self._sizes = tuple(sizes)
        self._max_waiting = max_waiting
        self._waiting: deque[tuple[Image, asyncio.Future[Answer]]] = deque()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batch")
        self._running: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """Number of images whose batch has not begun."""
        return len(self._waiting)

    async def submit(self, images: Sequence[Image]) -> list[Answer]:
        """Computes the images of one request, together with those of others.

        Raises:
          Busy: too many images are waiting. A request that finds nobody waiting may be of any size.
        """
        if self._waiting and len(self._waiting) + len(images) > self._max_waiting:
            raise Busy(f"{len(self._waiting)} images are waiting")
        loop = asyncio.get_running_loop()
        futures: list[asyncio.Future[Answer]] = [loop.create_future() for _ in images]
        self._waiting.extend(zip(images, futures, strict=True))
        if self._running is None or self._running.done():
            self._running = loop.create_task(self._run())
        return await asyncio.gather(*futures)

    async def _run(self) -> None:
        # Requests whose bytes have arrived already get a turn before the first batch is taken.
        await asyncio.sleep(0)
        while self._waiting:
            size = max(size for size in self._sizes if size <= len(self._waiting))
            batch = [self._waiting.popleft() for _ in range(size)]
            try:
                answers: Sequence[Answer | Exception] = await asyncio.get_running_loop().run_in_executor(
                    self._thread, self._call, [image for image, _ in batch]
                )
            except Exception as error:  # it belongs to the requests of this batch; the next batch is computed
                answers = [error] * size
            for (_, future), answer in zip(batch, answers, strict=True):
                if future.done():  # its request was cancelled
                    continue
                if isinstance(answer, Exception):
                    future.set_exception(answer)
                else:
                    future.set_result(answer)
