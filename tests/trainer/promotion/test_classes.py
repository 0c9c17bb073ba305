"""Classes by name: renumbered, renamed, repeated, new and lost."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.promotion.classes import Classes, listed, match_classes

CAT_DOG = [(1, "cat"), (2, "dog")]


def pairs(classes: Classes) -> dict[int, int]:
    return classes.to_file


@pytest.mark.parametrize(
    ("model", "data", "matched", "lost", "new", "ambiguous"),
    [
        (CAT_DOG, CAT_DOG, {1: 1, 2: 2}, (), (), ()),
        (CAT_DOG, [(2, "cat"), (1, "dog")], {1: 2, 2: 1}, (), (), ()),
        (CAT_DOG, [(30, "dog"), (10, "cat")], {1: 10, 2: 30}, (), (), ()),
        (CAT_DOG, [(1, "cat")], {1: 1}, ("dog",), (), ()),
        (CAT_DOG, [(1, "cat"), (2, "hound")], {1: 1}, ("dog",), ("hound",), ()),
        (CAT_DOG, [(5, "cat"), (6, "dog"), (7, "owl")], {1: 5, 2: 6}, (), ("owl",), ()),
        # A repeated name is matched only where the id agrees.
        ([(1, "cat"), (2, "cat")], [(1, "cat"), (2, "cat")], {1: 1, 2: 2}, (), (), ()),
        ([(1, "cat"), (2, "cat")], [(1, "cat"), (3, "cat")], {1: 1}, (), (), ("cat",)),
        ([(1, "cat")], [(7, "cat"), (8, "cat")], {}, (), (), ("cat",)),
        ([(1, "cat")], [(1, "cat"), (2, "cat")], {1: 1}, (), (), ("cat",)),
        ([(1, "cat"), (2, "cat")], [(5, "dog")], {}, ("cat",), ("dog",), ()),
        ([], [], {}, (), (), ()),
        # The same entry twice is one class.
        ([(1, "cat"), (1, "cat")], [(4, "cat"), (4, "cat")], {1: 4}, (), (), ()),
    ],
)
def test_matches(
    model: list, data: list, matched: dict, lost: tuple[str, ...], new: tuple[str, ...], ambiguous: tuple[str, ...]
) -> None:
    found = match_classes(model, data)
    assert found.to_file == matched
    assert (found.only_in_model, found.only_in_data, found.ambiguous) == (lost, new, ambiguous)
    assert bool(found.to_text()) == bool(lost or new or ambiguous)


@given(st.lists(st.text(min_size=1), unique=True, max_size=8), st.integers(0, 1000))
def test_any_numbering_and_order_matches_by_name(names: list[str], seed: int) -> None:
    rng = random.Random(seed)
    model, data = list(enumerate(names)), list(zip(rng.sample(range(99), len(names)), names, strict=True))
    rng.shuffle(data)
    found = match_classes(model, data)
    assert {(names[entry.model_id], entry.name) for entry in found.matched} == {(name, name) for name in names}
    assert {(entry.category_id, entry.name) for entry in found.matched} == set(data)
    assert found.to_text() == ""


def test_listed() -> None:
    assert listed(["a", "b"]) == "a, b"
    assert listed(list("abcdefg")) == "a, b, c, d, e and 2 more"
    assert listed(["two\nlines", ""]) == "two lines, (no name)"
