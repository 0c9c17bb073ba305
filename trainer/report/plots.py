"""Curves of training, precision and calibration as inline SVG, by matplotlib."""

import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainer.coco.analysis_file import Analysis

COLOURS = ("#2f5d8a", "#d97a1e", "#5b8c5a", "#8a5a83", "#7a7f87", "#b3382c", "#3aa0a0", "#c2a21a")
CLASSES_SHOWN = len(COLOURS)
"""Curves of classes in one chart: one colour each."""
LOG_RATIO = 30.0
"""From this ratio between largest and smallest value on, the axis is logarithmic."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Panel:
    """One small chart."""

    title: str
    svg: str


def training_curves(history: Sequence[Mapping[str, Any]]) -> list[Panel]:
    """Charts of the columns of history.jsonl over the step.

    The losses share a panel, their parts another; every other number gets one of its own. Values that are no
    finite number are not drawn.

    Args:
      history: rows with "step"; other keys are columns, which a row may lack.
    """
    columns: dict[str, list[tuple[float, float]]] = {}
    for row in history:
        for name, value in row.items():
            if name not in ("step", "epoch") and _finite(value) and _finite(row.get("step")):
                columns.setdefault(name, []).append((float(row["step"]), float(value)))
    totals: list[str] = [name for name in ("total_loss", "loss", "validation_loss") if name in columns]
    parts = [name for name in columns if name.endswith("_loss") and name not in totals]
    groups: list[tuple[str, list[str]]] = [("Loss", totals), ("Parts of the loss", parts)]
    groups += [(_words(name), [name]) for name in columns if name not in totals + parts]
    return [
        Panel(title=title, svg=_line_chart(title, {name: columns[name] for name in names}))
        for title, names in groups
        if names
    ]


def precision_curves(analysis: Analysis, objects: Mapping[int, int]) -> list[Panel]:
    """Precision over recall: the mean of the classes at three IoUs, and the classes with most objects at 0.50.

    Args:
      analysis: of the model.
      objects: how many each category has; those with most are shown.
    """
    recall = analysis.precision_recall.recall
    labels = {"0.50": "IoU 0.50", "0.75": "IoU 0.75", "mean": "mean of 0.50 to 0.95"}
    mean = {label: analysis.precision_recall.precision.get(key) for key, label in labels.items()}
    present = [entry for entry in analysis.per_class if entry.precision50 is not None]
    shown = sorted(present, key=lambda entry: -objects.get(entry.category_id, 0))[:CLASSES_SHOWN]
    classes = {entry.name: entry.precision50 for entry in shown}
    title = "Classes at IoU 0.50" + (f", the {len(shown)} with most objects" if len(shown) < len(present) else "")
    return [
        Panel(title=name, svg=_unit_chart(name, "recall", "precision", recall, lines))
        for name, lines in (("Mean of the classes", mean), (title, classes))
        if any(line is not None for line in lines.values())
    ]


def calibration_curve(analysis: Analysis) -> list[Panel]:
    """Of the detections with a score, the share that found an object; nothing without detections."""
    bins = [bin_ for bin_ in analysis.calibration if bin_.mean_score is not None and bin_.precision is not None]
    if not bins:
        return []
    scores: list[float | None] = [bin_.mean_score for bin_ in bins]
    share = {"detections": [bin_.precision for bin_ in bins], "score = precision": scores}
    title = "Calibration of the scores"
    return [Panel(title=title, svg=_unit_chart(title, "score", "share correct", scores, share))]


def _unit_chart(
    title: str,
    across: str,
    up: str,
    xs: Sequence[float | None],
    lines: Mapping[str, Sequence[float | None] | None],
) -> str:
    """A chart of fractions over fractions."""
    drawn = {name: [(x, y) for x, y in zip(xs, ys, strict=True)] for name, ys in lines.items() if ys is not None}
    points = {n: [(x, y) for x, y in line if x is not None and y is not None] for n, line in drawn.items()}
    return _line_chart(title, points, across=across, up=up)


def _line_chart(
    title: str, lines: Mapping[str, Sequence[tuple[float, float]]], *, across: str = "step", up: str = ""
) -> str:
    """One chart; with `up`, of fractions, whose names are shown as they are."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    # Ids of clip paths must differ between the charts of one page.
    with mpl.rc_context({"font.size": 9, "svg.hashsalt": title, "axes.edgecolor": "#9aa3ad", "axes.linewidth": 0.8}):
        figure = Figure(figsize=(4.4, 2.5), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        for colour, (name, points) in zip(COLOURS * len(lines), lines.items(), strict=False):
            marker = "o" if len(points) < 3 else None
            steps, heights = [step for step, _ in points], [value for _, value in points]
            axes.plot(
                steps,
                heights,
                color=colour,
                linewidth=1.6,
                marker=marker,
                markersize=3.5,
                label=name if up else _words(name),
            )
        values = [value for points in lines.values() for _, value in points]
        if min(values) > 0 and max(values) > LOG_RATIO * min(values) and "loss" in title.lower():
            axes.set_yscale("log")
        axes.set_xlabel(across, color="#5d6776")
        if up:
            axes.set_ylabel(up, color="#5d6776")
            axes.set(xlim=(0, 1), ylim=(0, 1.02))
        axes.tick_params(colors="#5d6776", length=3)
        axes.grid(axis="y", color="#e6e9ed", linewidth=0.7)
        axes.spines[["top", "right"]].set_visible(False)
        if len(lines) > 1:
            axes.legend(frameon=False, fontsize=8)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return _inline(buffer.getvalue(), title)


def _inline(svg: str, title: str) -> str:
    """The <svg> element alone, sized by its container. Names of namespaces and of the format are addresses that
    nothing loads, but a page that promises to be self-contained should not have any."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", svg)
    head, _, body = svg.partition(">")
    head = re.sub(r'\s(width|height)="[^"]*"', "", head)
    return f'{head} role="img" aria-label="{title}">{body}'


def _words(name: str) -> str:
    text = {"ct_loss": "centre", "scale_loss": "size", "ct_offset_loss": "offset", "total_loss": "training"}
    text |= {"validation_loss": "validation"}
    return text.get(name, name.replace("_", " ").capitalize())


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
