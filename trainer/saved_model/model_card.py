"""The model card: what a SavedModel was made of and how well it does, as Markdown inside the model."""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer.config.sections import ExportConfig
from trainer.promotion.summary import installed_versions

MODEL_CARD = "model_card.md"
PACKAGE = Path(__file__).parents[1]


def model_card(
    *, summary: Mapping[str, Any], config: ExportConfig, text: str, parity: Mapping[str, Any] | None, reason: str
) -> str:
    """The card. What isn't known is said to be unknown.

    Args:
      summary: content of train.json.
      config: the export's options.
      text: the run's configuration, YAML.
      parity: content of parity.json, or None.
      reason: why there is none.
    """
    height, width = summary["input_size"]
    scales = ", ".join(f"{scale:g}" for scale in config.scales)
    augmentation = f"flip {'on' if config.flip else 'off'}, scales {scales}" if config.augments else "none"
    if config.augments and config.augmented_apart:
        augmentation += "; in the signature `image_bytes_augmented` only"
    facts = {
        "network": f"CenterNet, input {height}x{width}, {len(summary['categories'])} classes",
        "training": f"{_known(summary, 'steps')} steps on {_known(summary, 'images')} images",
        "test-time augmentation": augmentation,
        "score threshold of `num_detections`": f"{config.score_threshold:g}",
        "digest of the data": _known(summary, "data_digest"),
        "digest of the records": _known(summary, "records_digest"),
        "digest of the training": _known(summary, "train_digest"),
        "commit of the code": commit(),
    }
    rows = "".join(f"| {name} | {value} |\n" for name, value in facts.items())
    categories = "".join(f"| {c['id']} | {_cell(c['name'])} |\n" for c in summary["categories"])
    versions = "".join(f"| {name} | {version} |\n" for name, version in installed_versions().items())
    return (
        f"# Model card\n\n| | |\n|---|---|\n{rows}\n## Accuracy\n\n{_accuracy(parity, reason)}\n"
        f"\n## Classes\n\n| id | name |\n|---|---|\n{categories}"
        f"\n## Versions\n\n| package | version |\n|---|---|\n{versions}"
        f"\n## Configuration\n\n{_fenced(text)}"
    )


def _accuracy(parity: Mapping[str, Any] | None, reason: str) -> str:
    elsewhere = "Not evaluated on any other images. evaluation.json of the run has the AP on the whole validation set."
    if parity is None:
        return f"Not evaluated before export: {reason}. Parity with the checkpoint: not measured. {elsewhere}"
    ap = "not defined (they have no objects)" if parity["ap_export"] is None else f"{parity['ap_export']:.4f}"
    return (
        f"AP on {parity['images']} validation images, through this model: {ap}. {elsewhere}\n\n"
        f"Parity with the checkpoint on them: {parity['matched']} pairs of detections, {parity['unmatched']} without a "
        f"counterpart; largest difference of a score {parity['max_score_delta']:.2g}, of a coordinate "
        f"{parity['max_box_delta']:.2g} pixels."
    )


def commit() -> str:
    """The commit of this source tree and whether it was edited since; "unknown" where it isn't in git."""
    found = _git("rev-parse", "--show-toplevel", "HEAD")
    # A package installed below somebody else's work tree would name their commit.
    if len(found) != 2 or Path(found[0]).resolve() != PACKAGE.parent.resolve():
        return "unknown (not run from a git work tree)"
    edited = _git("status", "--porcelain", "--untracked-files=no")
    return f"{found[1]}{', with uncommitted changes' if edited else ''}"


def _git(*arguments: str) -> list[str]:
    try:
        done = subprocess.run(
            ["git", "-C", str(PACKAGE), *arguments], capture_output=True, text=True, check=True, timeout=30
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return done.stdout.splitlines()


def _known(summary: Mapping[str, Any], key: str) -> Any:
    return summary.get(key) or "unknown"


def _cell(text: str) -> str:
    return " ".join(str(text).split()).replace("|", "\\|")


def _fenced(text: str) -> str:
    """A code block whose fence is longer than any in the text."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}yaml\n{text.rstrip()}\n{fence}\n"
