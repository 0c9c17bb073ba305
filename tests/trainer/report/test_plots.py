"""Charts of the report."""

import html
import math
import re
from dataclasses import replace

import pytest

from tests.trainer.made_report import analysis, thresholds
from trainer.coco.analysis import ClassAnalysis, ClassCounts
from trainer.report.plots import CLASSES_SHOWN, threshold_curves, training_curves


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


def test_every_chart_says_what_it_shows():
    history = [{"step": i, "total_loss": 2.0, "ap": 0.1, "ap50": 0.2, "learning_rate": 1.0} for i in (1, 2, 3)]
    history[1]["measured_on"] = "64 training images"
    panels = {panel.title: panel for panel in training_curves(history)}
    assert panels.keys() == {"Loss", "AP", "AP50", "Learning rate"}
    assert all(panel.says.endswith(".") for panel in panels.values())
    assert panels["AP"].says.endswith("Measured on 64 training images.")
    assert ">training step<" in panels["AP"].svg, "the axes have labels, as text"


def class_with(category_id: int, name: str, objects: int) -> ClassAnalysis:
    return ClassAnalysis(
        category_id=category_id,
        name=name,
        precision50=None,
        counts=ClassCounts(correct=0, missed=0, confused=0, false=0),
        thresholds=thresholds(objects),
    )


def test_threshold_curves_of_the_largest_classes():
    classes = [class_with(i, f"class {i}", 100 - i) for i in range(20)]
    made = analysis(per_class=(*classes, class_with(99, "x", 0)))
    panels = threshold_curves(made)
    assert [panel.title for panel in panels] == ["All classes", *(f"class {i}" for i in range(CLASSES_SHOWN - 1))]
    assert "stroke-dasharray" in panels[0].svg, "the best threshold is marked"
    assert threshold_curves(analysis(overall=thresholds(0), per_class=())) == []


@pytest.mark.parametrize(
    "name", ["$5 bill$", "_hidden", '"><script>', "\N{CJK UNIFIED IDEOGRAPH-732B}", "a & b", "%d {0}"]
)
def test_any_class_name_can_be_drawn(name):
    """matplotlib reads formulas between dollars, and hides what begins with "_"."""
    from trainer.report.plots import precision_curves

    curve = [1.0] * 101
    entries = tuple(replace(class_with(i, n, 5), precision50=curve) for i, n in enumerate((name, "other")))
    panels = precision_curves(analysis(per_class=entries), {})
    shown = html.unescape(" ".join(re.findall(r"<text[^>]*>([^<]*)</text>", panels[1].svg)))
    assert name in shown
    assert "<script" not in panels[1].svg
    (panel,) = (p for p in threshold_curves(analysis(per_class=(class_with(1, name, 5),))) if p.title == name)
    assert "<script" not in panel.svg
