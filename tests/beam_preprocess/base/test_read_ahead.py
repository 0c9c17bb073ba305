"""Reading ahead of the work."""

import threading

import pytest

from beam_preprocess.base.read_ahead import read_ahead


@pytest.mark.parametrize("count", [0, 1, 3, 50])
def test_every_item_comes_once_with_its_content_and_in_order(count: int) -> None:
    found = [(item, content.result()) for item, content in read_ahead(range(count), lambda i: i * i, 4)]
    assert found == [(i, i * i) for i in range(count)]


def test_as_many_reads_as_asked_for_are_under_way_at_once() -> None:
    together = threading.Barrier(3)  # breaks unless three come
    for item, content in read_ahead(range(9), lambda _: together.wait(30), 3):
        content.result()
        assert item < 9


def test_no_more_is_taken_than_asked_for() -> None:
    taken = []
    items = read_ahead(iter(lambda: taken.append(1) or len(taken), -1), lambda i: i, 4)
    for _ in range(3):
        next(items)
    assert len(taken) == 3 + 4
    items.close()


def test_what_a_read_raises_comes_with_its_item() -> None:
    def read(i: int) -> int:
        if i == 2:
            raise FileNotFoundError(i)
        return i

    for item, content in read_ahead(range(4), read, 2):
        assert (content.exception() is None) == (item != 2)
