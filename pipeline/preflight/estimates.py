"""What a run will take: disk, from a trial on a few images and the size of the network; time, as far as it is known."""

import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from beam_preprocess.base import yaml
from beam_preprocess.base.errors import InputError
from beam_preprocess.dataset.validate import validate_boxes, validate_images
from beam_preprocess.format.annotations import CocoAnnotations, class_map
from beam_preprocess.format.config import PreprocessConfig
from beam_preprocess.format.images import ImageProblem, decode
from beam_preprocess.format.records import encode
from beam_preprocess.format.targets import manifest_code_table
from beam_preprocess.job.views import Labels, make_records
from components.support.stage import threads
from pipeline.preflight.data import LocalData
from pipeline.preflight.network_size import parameters
from trainer.config.sections import RunConfig

TRIAL_SECONDS = 10.0
"""Maximum duration of the trial."""
TRIAL_IMAGES = 32
SERIAL = 0.2
"""Fraction of preprocessing that threads do not share, because it holds Python's lock."""
MARGIN = 1.1
"""Records and checkpoints, and a tenth more for logs, predictions and the exported model's copies."""
HISTORY = "history.jsonl"
SPEED_ROWS = 20
"""Number of rows of an earlier run's history whose speeds are averaged."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """What a run will take."""

    record_bytes: int
    checkpoint_bytes: int
    model_bytes: int
    free_bytes: int
    """On the disk of the runs' folder."""
    preprocess_seconds: float
    train_seconds: float | None
    """None: no earlier run of this network and input is known."""
    speed_from: str = ""
    """Folder of the run whose speed was taken."""

    @property
    def needed_bytes(self) -> int:
        """Disk that the run needs."""
        return int(MARGIN * (self.record_bytes + self.checkpoint_bytes + self.model_bytes))

    def line(self) -> str:
        """The estimate for people."""
        if self.train_seconds == 0:
            training = "no training"
        elif self.train_seconds is None:
            training = "training unknown (no earlier run of this network on this machine)"
        else:
            training = f"training {duration(self.train_seconds)} (at the speed of {self.speed_from})"
        return (
            f"disk {size(self.needed_bytes)} of {size(self.free_bytes)} free (records {size(self.record_bytes)}, "
            f"checkpoints {size(self.checkpoint_bytes)}); preprocessing {duration(self.preprocess_seconds)}, {training}"
        )


def estimate(data: LocalData, config: RunConfig, runs: Path) -> Estimate:
    """Estimates a run from a trial on a few of its images, the size of its network, and earlier runs.

    Args:
      data: the checked data.
      config: the run's configuration.
      runs: parent of all runs.
    """
    trial = _trial(data, config.preprocess)
    views = {"train": config.preprocess.train_views, "val": 1}
    images = {split: len(coco.image_ids) for split, coco in data.parsed.items()}
    records = sum(images[split] * views[split] for split in images)
    coco = data.parsed["train"]
    weights = parameters(config.experiment, class_map(coco.categories, config.preprocess.class_index)[1])
    trainer = config.experiment["trainer"]
    optimizer = trainer.get("optimizer_config") or {}
    copies = 3 + bool((optimizer.get("ema") or {}) if isinstance(optimizer, dict) else False)  # weights, Adam's two
    workers = threads()
    kept = trainer.get("max_to_keep", 5)
    saved = max(1, trainer.get("train_steps", 0) // max(1, trainer.get("checkpoint_interval", 1) or 1))
    seconds, origin = _training_seconds(config, runs)
    return Estimate(
        record_bytes=round(records * trial.bytes_per_view),
        checkpoint_bytes=weights * 4 * copies * min(kept, saved),
        model_bytes=weights * 4 * 2,  # the averaged weights, and the exported model
        free_bytes=shutil.disk_usage(runs).free,
        preprocess_seconds=(images["train"] * views["train"] + images["val"])
        * trial.seconds_per_view
        * (SERIAL + (1 - SERIAL) / workers),
        train_seconds=seconds,
        speed_from=origin,
    )


def check_space(found: Estimate, runs: Path) -> None:
    """Refuses a run that the disk cannot hold.

    Raises:
      InputError: the disk is too small.
    """
    if found.needed_bytes > found.free_bytes:
        raise InputError(
            f"--runs-dir {runs}: the disk has {size(found.free_bytes)} free, and the run needs about "
            f"{size(found.needed_bytes)} (records {size(found.record_bytes)}, checkpoints "
            f"{size(found.checkpoint_bytes)}); free space, choose another disk, or lower preprocess.train_views or "
            "trainer.max_to_keep"
        )


def size(count: float) -> str:
    """Bytes for people."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def duration(seconds: float) -> str:
    """Seconds for people."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{seconds / 3600:.1f} h"


@dataclass(frozen=True, slots=True)
class _Trial:
    bytes_per_view: float
    seconds_per_view: float


def _trial(data: LocalData, config: PreprocessConfig) -> _Trial:
    """Makes the records of images spread over the training set, in memory. Images that cannot be read are skipped."""
    coco, folder = data.parsed["train"], Path(data.folders["train"])
    keep, _ = validate_images(coco)
    keep_boxes, boxes, _ = validate_boxes(coco, keep, config.min_box_side)
    index_of = {c.id: c.index for c in class_map(coco.categories, config.class_index)[0]}
    codes = len(manifest_code_table(asdict(config)).values)
    usable = np.flatnonzero(keep)
    chosen = usable[np.unique(np.linspace(0, len(usable) - 1, TRIAL_IMAGES).round().astype(int))]
    views = total = 0
    started = time.monotonic()
    for i in chosen.tolist():
        if time.monotonic() - started > TRIAL_SECONDS:
            break
        height, width = coco.image_sizes[i].tolist()
        try:
            pixels = decode((folder / coco.file_names[i]).read_bytes(), (height, width)).pixels
        except (OSError, ImageProblem):
            continue
        labels = _labels(coco, i, keep_boxes, boxes, index_of)
        for record, _ in make_records(
            pixels, labels, image_id=int(coco.image_ids[i]), views=config.train_views, seed=0, config=config
        ):
            total += len(encode(record, config.map_size, codes))
            views += 1
    seconds = time.monotonic() - started
    return _Trial(total / max(views, 1), seconds / max(views, 1))


def _labels(
    coco: CocoAnnotations, i: int, keep_boxes: np.ndarray, boxes: np.ndarray, index_of: Mapping[int, int]
) -> Labels:
    own = np.flatnonzero(keep_boxes & (coco.annotation_image_ids == coco.image_ids[i]))
    classes = [index_of[c] for c in coco.annotation_category_ids[own].tolist()]
    return Labels(boxes=boxes[own], classes=np.array(classes, np.int32), crowd=coco.crowd[own])


def _training_seconds(config: RunConfig, runs: Path) -> tuple[float | None, str]:
    """(seconds at the speed of the newest run with the same network and input, its folder)."""
    trainer, task = config.experiment["trainer"], config.experiment["task"]
    if trainer.get("train_steps") == 0:
        return 0.0, ""
    images = trainer.get("train_steps", 0) * ((task.get("train_data") or {}).get("global_batch_size", 0))
    if not isinstance(images, int) or not images:
        return None, ""
    for run in sorted(runs.glob("*/config.yaml"), reverse=True):
        if run.parent.is_symlink() or not _same_work(run, config):
            continue
        # `checkpoint` is a link that a finished run has; an interrupted one has only the stage's folder.
        rows = _rows(run.parent / "checkpoint" / HISTORY) or _rows(run.parent / "stages" / "train" / HISTORY)
        speeds = [row["images_per_second"] for row in rows if row.get("images_per_second")]
        if speeds:
            recent = speeds[-SPEED_ROWS:]
            return images * len(recent) / sum(recent), str(run.parent.name)
    return None, ""


def _same_work(path: Path, config: RunConfig) -> bool:
    """Whether an earlier run's steps did the same work: its network, batch, precision and input size."""
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), str(path)) or {}
    except (OSError, InputError):
        return False
    if not isinstance(values, dict):
        return False
    sizes = (values.get("preprocess") or {}).get("image_size", list(PreprocessConfig().image_size))
    same = {name: (values.get(name) or {}) == config.experiment[name] for name in ("task", "runtime")}
    return all(same.values()) and list(sizes) == list(config.preprocess.image_size)


def _rows(history: Path) -> list[dict[str, Any]]:
    try:
        return [json.loads(line) for line in history.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError):
        return []
