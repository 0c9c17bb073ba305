"""Curves of training, precision and calibration as inline SVG, drawn by matplotlib."""

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainer.coco.analysis import Analysis
from trainer.report.words import finite

COLOURS = ("#2f5d8a", "#d97a1e", "#5b8c5a", "#8a5a83", "#7a7f87", "#b3382c", "#3aa0a0", "#c2a21a")
CLASSES_SHOWN = len(COLOURS)
"""Maximum number of class curves in one chart: one colour per class."""
MEASURED_ON = "measured_on"
"""Key of a validation's row in history.jsonl: how many images of which kind."""
MEASURED = ("validation_loss", "ap", "ap50")
LOG_RATIO = 30.0
"""The axis is logarithmic if the ratio of largest to smallest value is above this."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Panel:
    """One small chart."""

    title: str
    svg: str


def training_curves(history: Sequence[Mapping[str, Any]]) -> list[Panel]:
    """Charts of the columns of history.jsonl over the step.

    Total losses share a panel, the parts of the loss share another, and every other column gets its own. Values that
    are not finite numbers are not drawn. What a validation measured is labelled with the images that it measured.

    Args:
      history: rows with "step"; the other keys are columns, which a row may lack.
    """
    measured_on = " and ".join(dict.fromkeys(str(row[MEASURED_ON]) for row in history if row.get(MEASURED_ON)))
    columns: dict[str, list[tuple[float, float]]] = {}
    for row in history:
        for name, value in row.items():
            if name not in ("step", "epoch") and finite(value) and finite(row.get("step")):
                columns.setdefault(name, []).append((float(row["step"]), float(value)))
    totals: list[str] = [name for name in ("total_loss", "loss", "validation_loss") if name in columns]
    parts = [name for name in columns if name.endswith("_loss") and name not in totals]
    groups: list[tuple[str, list[str]]] = [("Loss", totals), ("Parts of the loss", parts)]
    groups += [(_words(name), [name]) for name in columns if name not in totals + parts]
    labels = {name: f"{_words(name)} on {measured_on}" for name in MEASURED if measured_on}
    panels = []
    for title, names in groups:
        lines = {labels.get(name, _words(name)): columns[name] for name in names}
        shown = labels.get(names[0], title) if len(names) == 1 else title
        if names:
            panels.append(Panel(title=shown, svg=_line_chart(shown, lines)))
    return panels


def precision_curves(analysis: Analysis, objects: Mapping[int, int]) -> list[Panel]:
    """Precision over recall: the mean over the classes at three IoUs, and the largest classes at IoU 0.50.

    Args:
      analysis: the model's analysis.
      objects: category id to number of objects; the classes with the most objects are shown.
    """
    recall = analysis.precision_recall.recall
    labels = {"0.50": "IoU 0.50", "0.75": "IoU 0.75", "mean": "mean over 0.50 to 0.95"}
    mean = {label: analysis.precision_recall.precision.get(key) for key, label in labels.items()}
    present = [entry for entry in analysis.per_class if entry.precision50 is not None]
    shown = sorted(present, key=lambda entry: -objects.get(entry.category_id, 0))[:CLASSES_SHOWN]
    classes = {entry.name: entry.precision50 for entry in shown}
    title = "Classes at IoU 0.50" + (f", the {len(shown)} with the most objects" if len(shown) < len(present) else "")
    return [
        Panel(title=name, svg=_unit_chart(name, "recall", "precision", recall, lines))
        for name, lines in (("Mean over the classes", mean), (title, classes))
        if any(line is not None for line in lines.values())
    ]


def calibration_curve(analysis: Analysis) -> list[Panel]:
    """The fraction of detections that found an object, over their score; empty without detections."""
    bins = [bin_ for bin_ in analysis.calibration if bin_.mean_score is not None and bin_.precision is not None]
    if not bins:
        return []
    scores: list[float | None] = [bin_.mean_score for bin_ in bins]
    share = {"detections": [bin_.precision for bin_ in bins], "score = precision": scores}
    title = "Calibration of the scores"
    return [Panel(title=title, svg=_unit_chart(title, "score", "fraction correct", scores, share))]


def _unit_chart(
    title: str,
    across: str,
    up: str,
    xs: Sequence[float | None],
    lines: Mapping[str, Sequence[float | None] | None],
) -> str:
    """A chart with both axes from 0 to 1."""
    drawn = {name: [(x, y) for x, y in zip(xs, ys, strict=True)] for name, ys in lines.items() if ys is not None}
    points = {n: [(x, y) for x, y in line if x is not None and y is not None] for n, line in drawn.items()}
    return _line_chart(title, points, across=across, up=up)


def _line_chart(
    title: str, lines: Mapping[str, Sequence[tuple[float, float]]], *, across: str = "step", up: str = ""
) -> str:
    """One chart. With `up`, a label of the y axis, both axes go from 0 to 1."""
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
                label=name,
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
    """The <svg> element alone, sized by its container. Nothing loads the addresses of namespaces and metadata, but a
    self-contained page should not contain any address."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", svg)
    head, _, body = svg.partition(">")
    head = re.sub(r'\s(width|height)="[^"]*"', "", head)
    return f'{head} role="img" aria-label="{title}">{body}'


def _words(name: str) -> str:
    text = {"ct_loss": "centre", "scale_loss": "size", "ct_offset_loss": "offset", "total_loss": "training"}
    text |= {"validation_loss": "validation", "ap": "AP", "ap50": "AP50"}
    return text.get(name, name.replace("_", " ").capitalize())
