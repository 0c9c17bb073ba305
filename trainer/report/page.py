"""`report.html`: one self-contained page about one run, for the person who reads it on Monday.

Nothing in it is loaded from anywhere: curves are inline SVG, pictures are data URIs, there is no script.

    python -m trainer.report --run runs/latest/summary.json --predictions runs/latest/predictions.json \\
        --images val2017 --annotations annotations/instances_val2017.json --output report.html \\
        --analysis runs/latest/stages/evaluate-candidate/analysis.json
"""

import argparse
import math
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.files import read_json, write_text
from trainer.coco.analysis_file import Analysis, read_analysis
from trainer.coco.metrics import METRIC_NAMES
from trainer.report.words import difference, duration, finite, fraction, plain_value, signed
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
    "ar_1": ("AR 1", "recall with 1 detection an image"),
    "ar_10": ("AR 10", "with 10"),
    "ar_100": ("AR 100", "with 100"),
    "ar_small": ("AR small", "objects below 32\u00b2 pixels"),
    "ar_medium": ("AR medium", "32\u00b2 to 96\u00b2 pixels"),
    "ar_large": ("AR large", "above 96\u00b2 pixels"),
}


def write_report(
    *, run: Mapping[str, Any], predictions: str, annotations: str, images: str, output: str, analysis: str = ""
) -> None:
    """Writes the page.

    Args:
      run: content of summary.json (`trainer.promotion.summary.build_summary`).
      predictions: URI of the predictions in COCO results format.
      annotations: URI of the validation annotations.
      images: URI of the folder of the validation images.
      output: URI of the page.
      analysis: URI of analysis.json; without a readable one the page says which parts are missing, and why.

    Raises:
      InputError: `run` is no summary, or a file is missing or not of its format.
    """
    from trainer.report.gallery import gallery
    from trainer.report.plots import calibration_curve, precision_curves, training_curves

    missing = [
        key for key in ("decision", "champion", "per_class", "images", "detections", *METRIC_NAMES) if key not in run
    ]
    if missing:
        raise InputError(f"run: lacks {', '.join(missing)}; give the content of a run's summary.json")
    analysed, no_analysis = _analysis(analysis)
    groups = gallery(
        images=images,
        annotations=annotations,
        predictions=predictions,
        count=PICTURES,
        score_threshold=SCORE_THRESHOLD,
        analysis=analysed,
    )
    objects = {entry["category_id"]: entry["objects"] for entry in run["per_class"]}
    page = _template().render(
        run=run,
        paths=run.get("paths", {}),
        versions=run.get("versions", {}),
        config=run.get("config", ""),
        digest=run.get("data_digest", ""),
        unusable=run.get("objects_unusable", 0),
        colours={"truth": f"rgb{TRUTH_COLOUR}", "detection": f"rgb{DETECTION_COLOUR}"},
        decision=run["decision"],
        champion=run["champion"],
        scored_champion=run["champion"]["status"] == "scored",
        metrics=_metric_rows(run),
        classes=_class_rows(run),
        curves=training_curves(run.get("history", ())),
        groups=groups,
        sizes=[row for row in _metric_rows(run) if row["label"] in ("AP small", "AP medium", "AP large")],
        interval=run["decision"].get("ap_interval"),
        deltas=_intervals(run["decision"].get("intervals")),
        parity=run.get("parity"),
        no_analysis=no_analysis,
        precision=precision_curves(analysed, objects) if analysed else [],
        calibration=calibration_curve(analysed) if analysed else [],
        errors=_errors(analysed) if analysed else [],
        mistakes=_mistakes(analysed, run) if analysed else [],
        score_threshold=SCORE_THRESHOLD,
        splits=_splits(run.get("data", {})),
        rejects=_rejects(run.get("data", {})),
        stages=_stages(run.get("seconds", {})),
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
    environment.filters |= {"fraction": fraction, "signed": signed, "duration": duration, "plain_value": plain_value}
    return environment.get_template("report.html.j2")


def _analysis(uri: str) -> tuple[Analysis | None, str]:
    """(the analysis, why there is none)."""
    if not uri:
        return None, "none was given"
    try:
        return read_analysis(uri), ""
    except InputError as error:
        return None, str(error)


def _intervals(intervals: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """The bootstrap's comparisons, each with the name of the other model."""
    return [{"name": name, **facts} for name, facts in (intervals or {}).items() if facts]


ERROR_WORDS = {
    "correct": "found",
    "missed": "objects that no detection of their class found",
    "duplicate": "second detections of one object",
    "mislocalised": "right class, wrong place",
    "confused": "right place, wrong class",
    "background": "detections where nothing is",
}


def _errors(analysis: Analysis) -> list[dict[str, Any]]:
    largest = max(analysis.errors.values(), default=0)
    return [
        {"name": name, "words": ERROR_WORDS[name], "count": count, "share": count / largest if largest else 0}
        for name, count in analysis.errors.items()
    ]


def _mistakes(analysis: Analysis, run: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The commonest pairs of classes that were taken for each other."""
    names = {entry["category_id"]: entry["name"] for entry in run["per_class"]}
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


def _metric_rows(run: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row a metric: label, meaning, value, champion, delta."""
    other = run["champion"].get("metrics", {})
    return [
        {
            "label": METRIC_LABELS[name][0],
            "meaning": METRIC_LABELS[name][1],
            "value": run[name],
            "champion": other.get(name),
            "delta": difference(run[name], other.get(name)),
        }
        for name in METRIC_NAMES
    ]


def _class_rows(run: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The per-class entries with the champion's AP and the delta, best first, without ground truth last."""
    other = {entry["category_id"]: entry["ap"] for entry in run["champion"].get("per_class", ())}
    rows = [
        {
            **entry,
            "champion": other.get(entry["category_id"]),
            "delta": difference(entry["ap"], other.get(entry["category_id"])),
        }
        for entry in run["per_class"]
    ]
    return sorted(rows, key=lambda row: (-row["ap"] if finite(row["ap"]) else math.inf, row["name"]))


def _splits(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Per split: counts as (label, text) pairs, class and size shares, digest."""
    rows = []
    for name in ("train", "val"):
        facts = data.get(name) or {}
        counts = [
            (label, f"{facts[key]:,}")
            for key, label in (
                ("images", "images"),
                ("objects", "objects"),
                ("crowds", "crowd regions"),
                ("views", "views an image"),
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
    """One row a reason: how many of the training and of the validation data."""
    sides = {name: (data.get(name) or {}).get("rejects") or {} for name in ("train", "val")}
    reasons = sorted({*sides["train"], *sides["val"]})
    return [
        {"reason": reason, "train": sides["train"].get(reason, 0), "val": sides["val"].get(reason, 0)}
        for reason in reasons
    ]


def _stages(seconds: Mapping[str, float]) -> list[dict[str, Any]]:
    longest = max(seconds.values(), default=0)
    return [{"name": n, "seconds": s, "share": s / longest if longest else 0} for n, s in seconds.items()]


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m trainer.report`: exit code 0, or 2 with one line on stderr."""
    parser = argparse.ArgumentParser(
        prog="python -m trainer.report",
        description="Write the self-contained page about a run.",
        epilog="""example:
  python -m trainer.report --run runs/latest/summary.json --predictions runs/latest/predictions.json \\
      --images val2017 --annotations annotations/instances_val2017.json --output report.html""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--run", required=True, metavar="URI", help="summary.json of the run")
    parser.add_argument("--predictions", required=True, metavar="URI", help="predictions in COCO results format")
    parser.add_argument("--images", required=True, metavar="DIR", help="folder of the validation images")
    parser.add_argument("--annotations", required=True, metavar="URI", help="validation annotations, COCO")
    parser.add_argument("--output", required=True, metavar="URI", help="the page to write")
    parser.add_argument("--analysis", default="", metavar="URI", help="analysis.json of trainer.evaluate")
    flags = parser.parse_args(argv)
    try:
        run = read_json(flags.run, "give a run's summary.json")
        if not isinstance(run, dict):
            raise InputError(f"{flags.run}: is no summary; give a run's summary.json")
        write_report(
            run=run,
            predictions=flags.predictions,
            annotations=flags.annotations,
            images=flags.images,
            output=flags.output,
            analysis=flags.analysis,
        )
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(flags.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
