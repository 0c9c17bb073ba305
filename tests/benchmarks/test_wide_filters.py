"""What the benchmark of wide filters prints, and when it refuses to compare. Its steps here cost nothing."""

import re
from collections.abc import Callable

import pytest

from benchmarks import wide_filters

FLAGS = ["--config", "demo", "--rounds", "2"]


@pytest.fixture
def losses(monkeypatch: pytest.MonkeyPatch) -> dict[bool, float]:
    """The loss of each side's every step."""
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "1")  # the benchmark sets it for its process
    found = {True: 2.0, False: 2.0}

    def step_of(_config: str, *, in_parts: bool) -> tuple[Callable[[], float], int]:
        return lambda: found[in_parts], 9

    monkeypatch.setattr(wide_filters, "step_of", step_of)
    return found


def test_both_sides_and_their_ratio(losses: dict[bool, float], capsys: pytest.CaptureFixture[str]) -> None:
    assert wide_filters.main(FLAGS) == 0
    first, *rows = capsys.readouterr().out.splitlines()
    assert first == "demo: 9 wide filters, losses of the first steps equal (2.000)"
    assert [re.split(r" {2,}", row.strip())[0] for row in rows] == ["whole", "in parts", "ratio"]


def test_steps_that_compute_something_else_are_not_compared(
    losses: dict[bool, float], capsys: pytest.CaptureFixture[str]
) -> None:
    losses[True] = 2.1
    assert wide_filters.main(FLAGS) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "losses differ" in err
