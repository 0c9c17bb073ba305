"""Streaming the entries of an annotation file."""

import json
import math

from hypothesis import given
from hypothesis import strategies as st

from beam_preprocess.format.annotation_stream import StrictJson


class Trickle:
    """A stream that gives a few bytes at a time."""

    def __init__(self, data: bytes, step: int) -> None:
        self.data, self.step = data, step

    def read(self, size: int) -> bytes:
        out, self.data = self.data[: self.step], self.data[self.step :]
        return out


texts = st.lists(st.sampled_from(["NaN", "Infinity", "-", ", ", " ", ":", '"', "\\", "n"]), max_size=6).map("".join)
"""What must stay as it is: a name such as "no, NaN, none"."""


@given(
    values=st.lists(st.one_of(st.floats(width=32), st.integers(-9, 9), texts), max_size=8),
    step=st.integers(1, 12),
    indent=st.sampled_from([None, 3]),
)
def test_non_finite_numbers_become_null_wherever_reads_end(values: list, step: int, indent: int | None) -> None:
    stream = StrictJson(Trickle(json.dumps({"v": values}, indent=indent).encode(), step))  # type: ignore[arg-type]
    text = b"".join(iter(stream.read, b""))
    expected = [None if isinstance(v, float) and not math.isfinite(v) else v for v in values]
    assert json.loads(text)["v"] == expected
