"""Charts of the report."""

import math
import re

import pytest

from trainer.report.plots import training_curves


@pytest.mark.parametrize(
    ("history", "titles"),
    [
        ([], []),
        ([{"step": 1}], []),
        ([{"step": 1, "total_loss": 2.0}], ["Loss"]),
        ([{"step": 1, "total_loss": 2.0, "epoch": 1}, {"step": 2, "validation_loss": 2.0}], ["Loss"]),
        (
            [{"step": i, "total_loss": 2.0, "ct_loss": 1.0, "scale_loss": 1.0, "learning_rate": 0.1} for i in (1, 2)],
            ["Loss", "Parts of the loss", "Learning rate"],
        ),
        ([{"step": 1, "total_loss": math.nan}, {"step": 2, "total_loss": None, "note": "text"}], []),
        ([{"step": i, "total_loss": 0.0} for i in range(3)], ["Loss"]),
    ],
)
def test_curves(history, titles):
    panels = training_curves(history)
    assert [panel.title for panel in panels] == titles
    for panel in panels:
        assert panel.svg.startswith("<svg viewBox=")
        assert "http" not in panel.svg


def test_ids_of_two_charts_differ():
    panels = training_curves([{"step": i, "total_loss": 2.0, "learning_rate": 2.0} for i in range(5)])
    first, second = (set(re.findall(r'<clipPath id="([^"]+)"', panel.svg)) for panel in panels)
    assert first
    assert not first & second


def test_what_a_validation_measured_is_labelled():
    """AP on images that are trained on is not accuracy: the page must not look as if it were."""
    row = {"step": 2, "total_loss": 2.0, "validation_loss": 2.0, "ap": 0.5, "ap50": 0.7}
    for kind in ("64 training images", "9 held-out training images"):
        panels = training_curves([{"step": 1, "total_loss": 2.0}, {**row, "measured_on": kind}])
        assert [panel.title for panel in panels] == ["Loss", f"AP on {kind}", f"AP50 on {kind}"]
        assert f'aria-label="AP on {kind}"' in panels[1].svg
