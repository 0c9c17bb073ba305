"""`report.html`: one self-contained page about one run, for the person who reads it on Monday.

Nothing in it is loaded from anywhere: curves are inline SVG, pictures are data URIs, there is no script.

    python -m trainer.report --run runs/latest/summary.json --predictions runs/latest/predictions.json \\
        --images val2017 --annotations annotations/instances_val2017.json --output report.html
"""

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from beam_preprocess.errors import InputError
from trainer.coco_metrics import METRIC_NAMES
from trainer.draw import DETECTION_COLOUR, TRUTH_COLOUR
from trainer.files import read_json, write_text

TEMPLATES = Path(__file__).parent / "templates"
PICTURES = 12
SCORE_THRESHOLD = 0.3
DASH = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"

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


def write_report(*, run: Mapping[str, Any], predictions: str, annotations: str, images: str, output: str) -> None:
    """Writes the page.

    Args:
      run: content of summary.json (`trainer.summary.build_summary`).
      predictions: URI of the predictions in COCO results format.
      annotations: URI of the validation annotations.
      images: URI of the folder of the validation images.
      output: URI of the page.

    Raises:
      InputError: `run` is no summary, or a file is missing or not of its format.
    """
    from trainer.report_gallery import gallery
    from trainer.report_plots import training_curves

    missing = [
        key for key in ("decision", "champion", "per_class", "images", "detections", *METRIC_NAMES) if key not in run
    ]
    if missing:
        raise InputError(f"run: lacks {', '.join(missing)}; give the content of a run's summary.json")
    pictures = gallery(
        images=images,
        annotations=annotations,
        predictions=predictions,
        count=PICTURES,
        score_threshold=SCORE_THRESHOLD,
    )
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
        pictures=pictures,
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


def _metric_rows(run: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row a metric: label, meaning, value, champion, delta."""
    other = run["champion"].get("metrics", {})
    return [
        {
            "label": METRIC_LABELS[name][0],
            "meaning": METRIC_LABELS[name][1],
            "value": run[name],
            "champion": other.get(name),
            "delta": _difference(run[name], other.get(name)),
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
            "delta": _difference(entry["ap"], other.get(entry["category_id"])),
        }
        for entry in run["per_class"]
    ]
    return sorted(rows, key=lambda row: (-row["ap"] if _finite(row["ap"]) else math.inf, row["name"]))


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
            if _finite(facts.get(key))
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


def _difference(value: Any, other: Any) -> float | None:
    return value - other if _finite(value) and _finite(other) else None


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def fraction(value: Any) -> str:
    """0.4001 for a fraction, a dash for none."""
    return f"{value:.4f}" if _finite(value) else DASH if value is None else str(value)


def signed(value: Any) -> str:
    """+0.0123 or \u22120.0123; a dash for none."""
    if not _finite(value):
        return DASH
    text = f"{abs(value):.4f}"
    sign = "" if float(text) == 0 else "+" if value > 0 else MINUS
    return f"{sign}{text}"


def duration(seconds: float) -> str:
    """7.3 s, 4 min 05 s, 3 h 07 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60):02d} min"


def plain_value(value: Any) -> str:
    """A rule's value or threshold: numbers with 4 decimals, counts as they are, digests shortened."""
    if isinstance(value, float):
        return fraction(value) if value >= 0 or not _finite(value) else signed(value)
    if value is None or value == "":
        return DASH
    text = str(value)
    return text if len(text) <= 16 else f"{text[:12]}\u2026"


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
        )
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(flags.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
