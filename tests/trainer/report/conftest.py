from collections.abc import Iterator
from typing import Any

import pytest

from trainer.report import plots


@pytest.fixture(scope="session", autouse=True)
def charts_drawn_once() -> Iterator[None]:
    """A chart takes 0.1 s and is a function of its values; most tests of a page read its text."""
    draw = plots._panel
    drawn: dict[str, plots.Panel] = {}

    def panel(*arguments: Any) -> plots.Panel:
        key = repr(arguments)
        if key not in drawn:
            drawn[key] = draw(*arguments)
        return drawn[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "_panel", panel)
        yield
