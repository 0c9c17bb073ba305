"""The rows of the report's tables."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from trainer.coco.analysis import Analysis
from trainer.coco.bootstrap import Comparison
from trainer.coco.label_errors import Finding, image_suspicions
from trainer.promotion.serving import Serving
from trainer.promotion.summary import Summary
from trainer.report.words import difference, finite

MISTAKES = 10
MATRIX_CLASSES = 30
"""Maximum number of classes of a confusion matrix on the page; with more, only the commonest pairs are shown."""

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


def comparisons(intervals: Mapping[str, Comparison | None]) -> list[tuple[str, Comparison]]:
    """Name of the other model, and the bootstrap comparison with it."""
    return [(name, found) for name, found in intervals.items() if found is not None]


def error_rows(analysis: Analysis) -> list[dict[str, Any]]:
    largest = max(analysis.errors.values(), default=0)
    return [
        {"name": name, "words": ERROR_WORDS[name], "count": count, "share": count / largest if largest else 0}
        for name, count in analysis.errors.items()
    ]


def mistake_rows(analysis: Analysis, run: Summary) -> list[dict[str, Any]]:
    """The pairs of classes that were confused most often."""
    names, classes = _names(run), analysis.confusion.classes
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


def _names(run: Summary) -> dict[int, str]:
    return {entry.category_id: entry.name for entry in run.per_class}


def matrix(analysis: Analysis, run: Summary) -> dict[str, Any] | None:
    """The confusion matrix with the share of each cell in its row; None with more than MATRIX_CLASSES classes.

    Classes without objects and detections are left out.
    """
    names, confusion = _names(run), analysis.confusion
    used = [
        i for i in range(len(confusion.classes)) if sum(confusion.matrix[i]) or sum(row[i] for row in confusion.matrix)
    ]
    if not used or len(used) > MATRIX_CLASSES:
        return None
    order = [*used, len(confusion.classes)]
    labels = [str(names.get(confusion.classes[i], confusion.classes[i])) for i in used]
    rows = []
    for place, i in enumerate(order):
        counts = [confusion.matrix[i][j] for j in order]
        whole = sum(counts)
        rows.append(
            {
                "name": labels[place] if place < len(used) else "background",
                "cells": [
                    {"count": count, "share": count / whole if whole else 0, "right": i == j and place < len(used)}
                    for j, count in zip(order, counts, strict=True)
                ],
            }
        )
    return {"columns": [*labels, "missed"], "rows": rows, "left_out": len(confusion.classes) - len(used)}


def class_error_rows(analysis: Analysis, serving: Serving | None) -> list[dict[str, Any]]:
    """One row per class that has objects or detections: counts, and the recommended threshold. Most errors first."""
    recommended = {entry.category_id: entry for entry in serving.classes} if serving else {}
    rows = [
        {
            "name": entry.name,
            "counts": entry.counts,
            "objects": entry.thresholds.objects,
            "threshold": recommended.get(entry.category_id),
        }
        for entry in analysis.per_class
        if entry.thresholds.objects or entry.counts.false
    ]
    return sorted(rows, key=lambda row: (-row["counts"].missed - row["counts"].false, row["name"]))


def suspect_rows(findings: Sequence[Finding], files: Mapping[int, str]) -> list[dict[str, Any]]:
    """One row per suspicious image, most suspicious first."""
    return [
        {
            "file": files[image],
            "suspicion": suspicion,
            "count": sum(finding.image_id == image for finding in findings),
        }
        for image, suspicion in image_suspicions(findings).items()
    ]


def metric_rows(
    run: Summary, metrics: tuple[str, ...], objects: Mapping[str, int] | None = None
) -> list[dict[str, Any]]:
    """One row per metric: label, meaning, value, the champion's value, difference, number of objects.

    Args:
      run: the run.
      metrics: names from METRIC_NAMES.
      objects: size to the number of objects that its metrics cover.
    """
    own, other = run.metrics, run.champion.metrics
    return [
        {
            "label": METRIC_LABELS[name][0],
            "meaning": METRIC_LABELS[name][1],
            "value": own[name],
            "champion": other.get(name),
            "delta": difference(own[name], other.get(name)),
            "objects": (objects or {}).get(name.rpartition("_")[2]),
        }
        for name in metrics
    ]


def class_rows(run: Summary) -> list[dict[str, Any]]:
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


def split_facts(data: Mapping[str, Any]) -> list[dict[str, Any]]:
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
                "images": facts["images"] if finite(facts.get("images")) else None,
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


def reject_rows(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row per reason: its count in the training data and in the validation data."""
    sides = {name: (data.get(name) or {}).get("rejects") or {} for name in ("train", "val")}
    reasons = sorted({*sides["train"], *sides["val"]})
    return [
        {"reason": reason, "train": sides["train"].get(reason, 0), "val": sides["val"].get(reason, 0)}
        for reason in reasons
    ]


def stage_rows(seconds: Mapping[str, float]) -> list[dict[str, Any]]:
    longest = max(seconds.values(), default=0)
    return [{"name": n, "seconds": s, "share": s / longest if longest else 0} for n, s in seconds.items()]
