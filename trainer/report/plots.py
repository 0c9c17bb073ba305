"""Curves of training, precision and calibration as inline SVG, drawn by matplotlib."""

import io
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from trainer.coco.analysis import THRESHOLD_POINTS, Analysis
from trainer.report.words import finite

COLOURS = ("#2f5d8a", "#d97a1e", "#5b8c5a", "#8a5a83", "#7a7f87", "#b3382c", "#3aa0a0", "#c2a21a")
CLASSES_SHOWN = len(COLOURS)
"""Maximum number of class curves in one chart: one colour per class."""
SOFT, EDGE, GRID = "#5d6776", "#9aa3ad", "#e6e9ed"
VARIABLES = {colour: f"--c{i}" for i, colour in enumerate(COLOURS)} | {SOFT: "--soft", EDGE: "--edge", GRID: "--line"}
"""Colours to the page's variables, which have other values on a dark screen."""
MEASURED_ON = "measured_on"
"""Key of a validation's row in history.jsonl: how many images of which kind."""
MEASURED = ("validation_loss", "ap", "ap50")
SAYS = {
    "Loss": "The sum that training minimises; lower is better.",
    "Parts of the loss": "Heatmap of the centres, sizes, and offsets within a cell; their weighted sum is the loss.",
    "AP": "Interim AP, mean over IoU 0.50 to 0.95, of the network during training.",
    "AP50": "Interim AP at IoU 0.50, of the network during training.",
    "Learning rate": "The step size of the optimizer.",
    "Images per second": "Training speed.",
    "Data wait": "Fraction of the time in which training waited for data.",
}
"""Title of a training chart to what it shows."""
LOG_RATIO = 30.0
"""The axis is logarithmic if the ratio of largest to smallest value is above this."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Panel:
    """One small chart."""

    title: str
    says: str
    """What it shows, in a sentence."""
    svg: str


@dataclass(frozen=True, kw_only=True, slots=True)
class _Axes:
    """What the axes of a chart are."""

    across: str
    up: str
    unit: bool = False
    """Both go from 0 to 1."""
    mark: float | None = None
    """Place of a vertical line."""


def training_curves(history: Sequence[Mapping[str, Any]]) -> list[Panel]:
    """Charts of the columns of history.jsonl over the step.

    Total losses share a panel, the parts of the loss share another, and every other column gets its own. Values that
    are not finite numbers are not drawn. What a validation measured is labelled with the images that it measured.

    Args:
      history: rows with "step"; the other keys are columns, which a row may lack.
    """
    measured_on = " and ".join(dict.fromkeys(str(row[MEASURED_ON]) for row in history if row.get(MEASURED_ON)))
    where = f" on {measured_on}" if measured_on else ""
    columns: dict[str, list[tuple[float, float]]] = {}
    for row in history:
        for name, value in row.items():
            if name not in ("step", "epoch") and finite(value) and finite(row.get("step")):
                columns.setdefault(name, []).append((float(row["step"]), float(value)))
    totals: list[str] = [name for name in ("total_loss", "loss", "validation_loss") if name in columns]
    parts = [name for name in columns if name.endswith("_loss") and name not in totals]
    groups: list[tuple[str, list[str]]] = [("Loss", totals), ("Parts of the loss", parts)]
    groups += [(_words(name), [name]) for name in columns if name not in totals + parts]
    panels = []
    for title, names in groups:
        if names:
            labels = {name: _words(name) + (where if name in MEASURED and len(names) > 1 else "") for name in names}
            says = SAYS.get(title, f"{title} over the training steps.")
            if where and set(names) & {*MEASURED}:
                says = f"{says} Measured{where}."
            lines = {labels[name]: columns[name] for name in names}
            panels.append(_panel(title, says, lines, _Axes(across="training step", up=title.lower())))
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
    says = "Precision at each recall; the area below a curve is its AP."
    return [
        _unit_panel(name, says, _Axes(across="recall", up="precision", unit=True), recall, lines)
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
    says = "The fraction of correct detections by score: below the diagonal, scores are overconfident."
    axes = _Axes(across="score", up="fraction correct", unit=True)
    return [_unit_panel("Calibration of the scores", says, axes, scores, share)]


def threshold_curves(analysis: Analysis) -> list[Panel]:
    """Precision, recall and F1 against the score threshold: all classes together, and those with the most objects.

    Each has its best threshold marked; curves without one are left out.
    """
    present = [entry for entry in analysis.per_class if entry.thresholds.best is not None]
    shown = sorted(present, key=lambda entry: -entry.thresholds.objects)[: CLASSES_SHOWN - 1]
    curves = [("All classes", analysis.overall), *((entry.name, entry.thresholds) for entry in shown)]
    scores: list[float | None] = [i / (THRESHOLD_POINTS - 1) for i in range(THRESHOLD_POINTS)]
    panels = []
    for name, curve in curves:
        if curve.best is None:
            continue
        best = curve.best
        says = (
            f"Best F1 {best.f1:.2f} at a threshold of {best.score:.2f}: precision {best.precision:.2f}, recall "
            f"{best.recall:.2f}."
        )
        axes = _Axes(across="score threshold", up="fraction", unit=True, mark=best.score)
        lines: dict[str, Sequence[float | None]] = {
            "precision": curve.precision,
            "recall": curve.recall,
            "F1": curve.f1,
        }
        panels.append(_unit_panel(name, says, axes, scores, lines))
    return panels


def _unit_panel(
    title: str,
    says: str,
    axes: _Axes,
    xs: Sequence[float | None],
    lines: Mapping[str, Sequence[float | None]] | Mapping[str, Sequence[float | None] | None],
) -> Panel:
    """A chart of lines over common x values, without the points that are None."""
    drawn = {name: [(x, y) for x, y in zip(xs, ys, strict=True)] for name, ys in lines.items() if ys is not None}
    points = {n: [(x, y) for x, y in line if x is not None and y is not None] for n, line in drawn.items()}
    return _panel(title, says, {name: line for name, line in points.items() if line}, axes)


def _panel(title: str, says: str, lines: Mapping[str, Sequence[tuple[float, float]]], axes: _Axes) -> Panel:
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    # Ids of clip paths must differ between the charts of one page. Text stays text: any script, in the page's colours.
    style = {"svg.hashsalt": f"{title} {says}", "svg.fonttype": "none", "font.size": 9, "text.color": SOFT}
    with mpl.rc_context({**style, "axes.edgecolor": EDGE, "axes.linewidth": 0.8, "axes.labelcolor": SOFT}):
        figure = Figure(figsize=(4.4, 2.5), layout="constrained")
        FigureCanvasSVG(figure)
        plot = figure.add_subplot()
        handles = []
        for colour, points in zip(COLOURS * len(lines), lines.values(), strict=False):
            marker = "o" if len(points) < 3 else None
            xs, ys = [x for x, _ in points], [y for _, y in points]
            handles += plot.plot(xs, ys, color=colour, linewidth=1.6, marker=marker, markersize=3.5)
        values = [value for points in lines.values() for _, value in points]
        if not axes.unit and min(values) > 0 and max(values) > LOG_RATIO * min(values) and "loss" in title.lower():
            plot.set_yscale("log")
        plot.set_xlabel(axes.across)
        plot.set_ylabel(axes.up)
        if axes.unit:
            plot.set(xlim=(0, 1), ylim=(0, 1.02))
        if axes.mark is not None:
            plot.axvline(axes.mark, color=SOFT, linewidth=1, linestyle=(0, (3, 2)))
        plot.tick_params(colors=SOFT, length=3)
        plot.grid(axis="y", color=GRID, linewidth=0.7)
        plot.spines[["top", "right"]].set_visible(False)
        if len(lines) > 1:
            plot.legend(handles, [_legend(name) for name in lines], frameon=False, fontsize=8)
        buffer = io.StringIO()
        with warnings.catch_warnings():  # the browser has the letters that matplotlib's own font lacks
            warnings.filterwarnings("ignore", message="Glyph")
            figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return Panel(title=title, says=says, svg=_inline(buffer.getvalue(), f"{title}. {says}"))


def _legend(name: str) -> str:
    """A class's name as matplotlib shows it unchanged: "$" begins a formula, and names with "_" in front are hidden."""
    shown = name.replace("$", r"\$")
    return f"\u200b{shown}" if shown.startswith("_") else shown


def _inline(svg: str, label: str) -> str:
    """The <svg> element alone, sized by its container, in the page's colours.

    Nothing loads the addresses of namespaces and metadata, but a self-contained page should not contain any address.
    """
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", svg)
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, f"var({variable})")
    head, _, body = svg.partition(">")
    head = re.sub(r'\s(width|height)="[^"]*"', "", head)
    return f'{head} role="img" aria-label="{escape(label)}">{body}'


def _words(name: str) -> str:
    text = {"ct_loss": "centre", "scale_loss": "size", "ct_offset_loss": "offset", "total_loss": "training"}
    text |= {"validation_loss": "validation", "ap": "AP", "ap50": "AP50"}
    return text.get(name, name.replace("_", " ").capitalize())
