"""The model card: what a SavedModel was built from and how well it does, as Markdown inside the model."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from trainer.config.sections import ExportConfig
from trainer.promotion.summary import installed_versions
from trainer.shared.commit import commit
from trainer.weights.origin import sentence


def model_card(
    *, summary: Mapping[str, Any], options: ExportConfig, text: str, parity: Mapping[str, Any] | None, reason: str
) -> str:
    """The card. Unknown facts are labelled as unknown.

    Args:
      summary: content of train.json.
      options: the export's options.
      text: the training's configuration, YAML.
      parity: content of parity.json, or None.
      reason: why parity is None.
    """
    height, width = summary["input_size"]
    scales = ", ".join(f"{scale:g}" for scale in options.scales)
    augmentation = f"flip {'on' if options.flip else 'off'}, scales {scales}" if options.augments else "none"
    if options.augments and options.augmented_apart:
        augmentation += "; only in the signature `image_bytes_augmented`"
    facts = {
        "network": f"CenterNet, input {height}x{width}, {len(summary['categories'])} classes",
        "training": f"{_known(summary, 'steps')} steps on {_known(summary, 'images')} images{_held_out(summary)}",
        "initial weights": _cell(sentence(summary)),
        "test-time augmentation": augmentation,
        "score threshold of `num_detections`": f"{options.score_threshold:g}",
        "data digest": _known(summary, "data_digest"),
        "records digest": _known(summary, "records_digest"),
        "training digest": _known(summary, "train_digest"),
        "code commit": commit(),
    }
    sections = {
        "Accuracy": _accuracy(parity, reason) + "\n",
        "Classes": _table("id", "name", {c["id"]: _cell(c["name"]) for c in summary["categories"]}),
        "Export options": _table("option", "value", {key: _option(value) for key, value in asdict(options).items()}),
        "Versions": _table("package", "version", installed_versions()),
        "Training configuration": _fenced(text),
    }
    body = "".join(f"\n## {title}\n\n{content}" for title, content in sections.items())
    return f"# Model card\n\n{_table('', '', facts)}{body}"


def _accuracy(parity: Mapping[str, Any] | None, reason: str) -> str:
    elsewhere = (
        "The model was not evaluated on other images for this card; the run's evaluation.json has the AP on the whole "
        "validation set."
    )
    if parity is None:
        return f"Not evaluated before export: {reason}. Parity with the checkpoint: not measured. {elsewhere}"
    ap = "not defined (they have no objects)" if parity["ap_export"] is None else f"{parity['ap_export']:.4f}"
    return (
        f"AP of this model on {parity['images']} validation images: {ap}. {elsewhere}\n\n"
        f"Parity with the checkpoint on the same images: {parity['matched']} detections matched, "
        f"{parity['unmatched']} have no counterpart within the bounds; the largest difference is "
        f"{parity['max_score_delta']:.2g} for scores and {parity['max_box_delta']:.2g} pixels for box coordinates."
    )


def _held_out(summary: Mapping[str, Any]) -> str:
    held_out, chosen = summary.get("held_out"), summary.get("chosen")
    text = f", {held_out} more held out" if held_out else ""
    return f"{text}; weights of step {chosen['step']}, the best on those held out" if chosen else text


def _known(summary: Mapping[str, Any], key: str) -> Any:
    return summary.get(key) or "unknown"


def _table(left: str, right: str, rows: Mapping[Any, Any]) -> str:
    lines = "".join(f"| {name} | {value} |\n" for name, value in rows.items())
    return f"| {left} | {right} |\n|---|---|\n{lines}"


def _option(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(_option, value))
    return str(value).lower() if isinstance(value, bool) else f"{value:g}"


def _cell(text: str) -> str:
    return " ".join(str(text).split()).replace("|", "\\|")


def _fenced(text: str) -> str:
    """A code block whose fence is longer than any in the text."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}yaml\n{text.rstrip()}\n{fence}\n"
