"""Reads the next items while the current one is processed, because a bucket takes tens of milliseconds to answer."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Content = TypeVar("Content")


def read_ahead(
    items: Iterable[Item], read: Callable[[Item], Content], depth: int
) -> Iterator[tuple[Item, Future[Content]]]:
    """Yields every item with its content, in order.

    Args:
      items: taken up to `depth` ahead of the item that is yielded.
      read: called from threads; its exceptions are raised by the future's `result()`.
      depth: number of parallel reads, and of contents held in memory besides the yielded one.
    """
    with ThreadPoolExecutor(depth) as threads:
        waiting: deque[tuple[Item, Future[Content]]] = deque()
        for item in items:
            waiting.append((item, threads.submit(read, item)))
            if len(waiting) > depth:
                yield waiting.popleft()
        while waiting:
            yield waiting.popleft()
