"""`report.html`: one self-contained page about one run.

The page loads nothing: curves are inline SVG, pictures are data URIs, and there is no script.
"""

import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.files import write_text
from trainer.coco.analysis import Analysis, read_analysis
from trainer.coco.bootstrap import Comparison
from trainer.coco.metrics import METRIC_NAMES
from trainer.promotion.summary import Summary
from trainer.report.gallery import gallery
from trainer.report.plots import calibration_curve, precision_curves, training_curves
from trainer.report.words import difference, duration, finite, fraction, plain_value, signed, significant
from trainer.shared.draw import DETECTION_COLOUR, TRUTH_COLOUR

TEMPLATES = Path(__file__).parent
PICTURES = 12
MISTAKES = 10
SCORE_THRESHOLD = 0.3

METRIC_LABELS = {
    "ap": ("AP", "mean over IoU 0.50 to 0.95"),
    "ap50": ("AP50", "IoU 0.50"),
    "ap75": ("AP75", "IoU 0.75"),
    "ap_small": ("AP small", "objects below 32\u00b2 pixels"),
    "ap_medium": ("AP medium", "32\u00b2 to 96\u00b2 pixels"),
    "ap_large": ("AP large", "above 96\u00b2 pixels"),
    "ar_1": ("AR 1", "recall with 1 detection per image"),
    "ar_10": ("AR 10", "with 10"),
    "ar_100": ("AR 100", "with 100"),
    "ar_small": ("AR small", "objects below 32\u00b2 pixels"),
    "ar_medium": ("AR medium", "32\u00b2 to 96\u00b2 pixels"),
    "ar_large": ("AR large", "above 96\u00b2 pixels"),
}
"""METRIC_NAMES to label and meaning."""
SIZE_METRICS = ("ap_small", "ap_medium", "ap_large")

ERROR_WORDS = {
    "correct": "found",
    "missed": "objects that no detection of their class found",
    "duplicate": "second detection of an object",
    "mislocalised": "right class, wrong place",
    "confused": "right place, wrong class",
    "background": "detection where there is no object",
}
"""ERROR_NAMES to their meaning."""


def write_report(
    *, run: Summary, predictions: str, annotations: str, images: str, output: str, analysis: str = ""
) -> None:
    """Writes the page.

    Args:
      run: the run's summary.
      predictions: URI of the predictions in COCO results format.
      annotations: URI of the validation annotations.
      images: URI of the folder of the validation images.
      output: URI of the page.
      analysis: URI of analysis.json; if it cannot be read, the page says which parts are missing and why.

    Raises:
      InputError: a file is missing or has another format.
    """
    analysed, no_analysis = _analysis(analysis)
    groups = gallery(
        images=images,
        annotations=annotations,
        predictions=predictions,
        count=PICTURES,
        score_threshold=SCORE_THRESHOLD,
        analysis=analysed,
    )
    objects = {entry.category_id: entry.objects for entry in run.per_class}
    page = _template().render(
        run=run,
        colours={"truth": f"rgb{TRUTH_COLOUR}", "detection": f"rgb{DETECTION_COLOUR}"},
        decision=run.decision,
        champion=run.champion,
        scored_champion=run.champion.status == "scored",
        metrics=_metric_rows(run, METRIC_NAMES),
        sizes=_metric_rows(run, SIZE_METRICS),
        classes=_class_rows(run),
        comparisons=_comparisons(run.decision.intervals),
        no_analysis=no_analysis,
        errors=_errors(analysed) if analysed else [],
        mistakes=_mistakes(analysed, run) if analysed else [],
        precision=precision_curves(analysed, objects) if analysed else [],
        calibration=calibration_curve(analysed) if analysed else [],
        groups=groups,
        score_threshold=SCORE_THRESHOLD,
        curves=training_curves(run.history),
        splits=_splits(run.data),
        rejects=_rejects(run.data),
        stages=_stages(run.seconds),
    )
    write_text(output, page)


def _template() -> Any:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for written in (fraction, signed, significant, duration, plain_value):
        environment.filters[written.__name__] = written
    return environment.get_template("report.html.j2")


def _analysis(uri: str) -> tuple[Analysis | None, str]:
    """The analysis, or why there is none."""
    if not uri:
        return None, "no analysis.json was given"
    try:
        return read_analysis(uri), ""
    except InputError as error:
        return None, str(error)


def _comparisons(intervals: Mapping[str, Comparison | None]) -> list[tuple[str, Comparison]]:
    """Name of the other model, and the bootstrap comparison with it."""
    return [(name, found) for name, found in intervals.items() if found is not None]


def _errors(analysis: Analysis) -> list[dict[str, Any]]:
    largest = max(analysis.errors.values(), default=0)
    return [
        {"name": name, "words": ERROR_WORDS[name], "count": count, "share": count / largest if largest else 0}
        for name, count in analysis.errors.items()
    ]


def _mistakes(analysis: Analysis, run: Summary) -> list[dict[str, Any]]:
    """The pairs of classes that were confused most often."""
    names = {entry.category_id: entry.name for entry in run.per_class}
    classes = analysis.confusion.classes
    pairs = Counter(
        {
            (true, taken): analysis.confusion.matrix[i][j]
            for i, true in enumerate(classes)
            for j, taken in enumerate(classes)
            if i != j and analysis.confusion.matrix[i][j]
        }
    )
    return [
        {"true": names.get(true, true), "taken": names.get(taken, taken), "count": count}
        for (true, taken), count in pairs.most_common(MISTAKES)
    ]


def _metric_rows(run: Summary, metrics: tuple[str, ...]) -> list[dict[str, Any]]:
    """One row per metric: label, meaning, value, the champion's value, difference."""
    own, other = run.metrics, run.champion.metrics
    return [
        {
            "label": METRIC_LABELS[name][0],
            "meaning": METRIC_LABELS[name][1],
            "value": own[name],
            "champion": other.get(name),
            "delta": difference(own[name], other.get(name)),
        }
        for name in metrics
    ]


def _class_rows(run: Summary) -> list[dict[str, Any]]:
    """One row per class, with the champion's AP and the difference; best first, classes without ground truth last."""
    other = {entry.category_id: entry.ap for entry in run.champion.per_class}
    rows = [
        {
            "name": entry.name,
            "ap": entry.ap,
            "ap50": entry.ap50,
            "objects": entry.objects,
            "images": entry.images,
            "champion": other.get(entry.category_id),
            "delta": difference(entry.ap, other.get(entry.category_id)),
        }
        for entry in run.per_class
    ]
    return sorted(rows, key=lambda row: (-row["ap"] if finite(row["ap"]) else math.inf, row["name"]))


def _splits(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Per split: counts as pairs of label and text, class and size shares, digest."""
    rows = []
    for name in ("train", "val"):
        facts = data.get(name) or {}
        counts = [
            (label, f"{facts[key]:,}")
            for key, label in (
                ("images", "images"),
                ("objects", "objects"),
                ("crowds", "crowd regions"),
                ("views", "views per image"),
            )
            if finite(facts.get(key))
        ]
        rows.append(
            {
                "name": {"train": "Training", "val": "Validation"}[name],
                "counts": counts,
                "classes": _shares(facts.get("class_histogram") or {}),
                "sizes": _shares(facts.get("size_histogram") or {}),
                "digest": facts.get("data_digest", ""),
            }
        )
    return rows


def _shares(histogram: Mapping[str, int]) -> list[dict[str, Any]]:
    largest = max(histogram.values(), default=0)
    return [
        {"name": name, "count": count, "share": count / largest if largest else 0} for name, count in histogram.items()
    ]


def _rejects(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row per reason: its count in the training data and in the validation data."""
    sides = {name: (data.get(name) or {}).get("rejects") or {} for name in ("train", "val")}
    reasons = sorted({*sides["train"], *sides["val"]})
    return [
        {"reason": reason, "train": sides["train"].get(reason, 0), "val": sides["val"].get(reason, 0)}
        for reason in reasons
    ]


def _stages(seconds: Mapping[str, float]) -> list[dict[str, Any]]:
    longest = max(seconds.values(), default=0)
    return [{"name": n, "seconds": s, "share": s / longest if longest else 0} for n, s in seconds.items()]
