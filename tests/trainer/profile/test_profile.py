"""profile.npz: the same rows give the same bytes, and are read back strictly."""

import numpy as np
import pytest

from beam_preprocess.base.errors import InputError
from tests.trainer.made_profile import profile
from trainer.profile.profile import chosen, parse_profile
from trainer.profile.rows import Rows, from_bytes, joined, stack, to_bytes


def same(found: Rows, expected: Rows) -> bool:
    names = ("ids", "names", "values", "features", "fingerprints")
    return all(np.array_equal(getattr(found, n), getattr(expected, n), equal_nan=n == "values") for n in names)


def test_what_is_written_is_read() -> None:
    made = profile(images=7)
    content = made.to_bytes()
    assert content == profile(images=7).to_bytes()
    found = parse_profile(content, "profile.npz")
    assert same(found.rows, made.rows)
    assert (found.measures, found.model_digest, found.data_digest) == (made.measures, "m" * 64, "d" * 64)


def test_rows_are_joined_and_taken() -> None:
    rows = profile(images=7).rows
    assert same(joined([rows.take(np.arange(3)), rows.take(np.arange(7) >= 3)]), rows)
    with pytest.raises(ValueError, match="need at least one array"):
        stack([])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "truncated or damaged"),
        (profile().to_bytes()[:-400], "truncated or damaged"),
        (to_bytes(profile().rows), "not JSON"),
        (to_bytes(profile().rows, "{}"), "lacks model_digest"),
        (profile(images=4, wrong=True).to_bytes(), "don't fit its classes"),
    ],
)
def test_a_damaged_file_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_profile(content, "profile.npz")


def test_another_schema_version_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.profile.rows.ROWS_SCHEMA", 2)
    content = to_bytes(profile().rows)
    monkeypatch.undo()
    with pytest.raises(InputError, match="x: schema_version is 2, this code reads 1; do it again"):
        from_bytes(content, "x", "do it again")


def test_large_data_is_sampled_the_same_way_each_time() -> None:
    names = [f"{i}.jpg" for i in range(50)]
    assert chosen(names) == list(range(50))
    part = chosen(names, 10)
    assert part == sorted(set(part)) == chosen(names, 10)
    assert len(part) == 10
