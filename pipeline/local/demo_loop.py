"""`make demo-loop`: from a promoted model to its successor, because new images say so.

A model of five shapes is trained and promoted. New images arrive: darker, and with a sixth shape. The champion watches
them, says that they differ, and picks some; their labels (the generator's) arrive. The watch runs again, finds new
labels, and trains from the champion. The gate judges both models on old and new images.
"""

import argparse
import html
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from beam_preprocess.base import command
from beam_preprocess.base.errors import Failure, InputError
from beam_preprocess.base.files import write_text
from pipeline.local.demo_data import CATEGORIES, DemoData, generate
from trainer.coco.metrics import score
from trainer.coco.results import read_results
from trainer.promotion.due import NAME, Due, read_due
from trainer.promotion.evaluation import PREDICTIONS
from trainer.shared.fixes import EVALUATE_AGAIN

MARKER = ".demo-loop"
"""File that says that a folder is this command's."""
PAGE = "index.html"
NEW_SHAPE = "cross"
OLD = DemoData(train_images=160, val_images=60, classes=tuple(name for _, name in CATEGORIES if name != NEW_SHAPE))
"""What the first model is trained on."""
NEW = replace(OLD, train_images=100, val_images=40, classes=(), light=0.45, seed=1)
"""What arrives: its training images are production's, its validation images those that were set aside to judge by."""
SPLITS = ("train2017", "val2017")
FIRST_STEPS, SECOND_STEPS = 250, 120
CONFIG = (
    *("--config", "demo", "--set", "trainer.validation_interval=1000", "--set", "trainer.checkpoint_interval=1000"),
    *("--set", "preprocess.image_size=[96, 96]", "--set", "export.flip=false", "--set", "export.parity_images=16"),
    *("--set", "gate.min_ap=0.2", "--set", "watch.on_drift=retrain"),
)


def _steps(count: int) -> list[str]:
    cosine = "trainer.optimizer_config.learning_rate.cosine.decay_steps"
    return ["--set", f"trainer.train_steps={count}", "--set", f"{cosine}={count}"]


@dataclass(frozen=True, slots=True)
class Loop:
    """The folder of everything."""

    folder: Path
    log: Path

    @property
    def run(self) -> Path:
        """The newest run."""
        return (self.folder / "runs" / "latest").resolve()

    def centernet(self, *flags: str) -> None:
        """`centernet run`, whose output goes into the log.

        Raises:
          Failure: it failed.
        """
        places = ["--runs-dir", str(self.folder / "runs"), "--registry", str(self.folder / "registry")]
        with self.log.open("ab") as log:
            made = subprocess.run(
                [sys.executable, "-m", "pipeline", "run", *flags, *places],
                stdout=log,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if made.returncode:
            raise Failure(f"centernet run {' '.join(flags)}: exit code {made.returncode}; see {self.log}")

    def summary(self) -> dict[str, Any]:
        """The newest run's summary.json."""
        found: dict[str, Any] = json.loads((self.run / "summary.json").read_text())
        return found

    def due(self) -> Due:
        """What the newest watch decided."""
        return read_due(str(self.run / "stages" / "training-due" / NAME))


def parser() -> command.Parser:
    """The flags."""
    made = command.parser(
        "demo-loop",
        "Train and promote a model on generated images; let it watch new ones, which are darker and have a new shape;\n"
        "label what it picks; train again from it, and judge both on old and new images.",
        examples=("python -m pipeline.local.demo_loop", "python -m pipeline.local.demo_loop --folder another-loop"),
        notes="exit codes: 0 done, 1 a run failed, 2 bad input or usage",
    )
    made.add_argument(
        "--folder", default="demo-loop", metavar="DIR", help="everything goes there, and an earlier loop is replaced"
    )
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes: see the help."""
    return command.run(parser(), argv, lambda flags: _call(flags))


def _call(flags: argparse.Namespace) -> int:
    folder = Path(flags.folder).absolute()
    _make_room(folder)
    loop = Loop(folder, folder / "log.txt")
    started, shown = time.monotonic(), []
    for line in _told(loop):
        seconds = f"{time.monotonic() - started:6.1f} s"
        shown.append(f"{seconds}  {line}")
        print(shown[-1], flush=True)
    page = folder / PAGE
    write_text(str(page), _page(loop, shown))
    print(f"page      {os.path.relpath(page)}", flush=True)
    return 0


def _make_room(folder: Path) -> None:
    if folder.exists():
        if not (folder / MARKER).is_file():
            raise InputError(f"--folder {folder}: exists and is not an earlier loop's; choose another folder")
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    (folder / MARKER).write_text("")


def _told(loop: Loop) -> Iterator[str]:
    """Does everything, one line per step."""
    old, new = (generate(loop.folder / name, data) for name, data in (("old", OLD), ("new", NEW)))
    production = new / SPLITS[0]
    yield f"data      {OLD.train_images} images of {len(OLD.classes)} shapes to train on, {OLD.val_images} to judge by"
    loop.centernet("--coco-dir", str(old), *CONFIG, *_steps(FIRST_STEPS))
    first = loop.run
    _link(loop.folder / "first-run", first)
    summary = loop.summary()
    yield f"train     {summary['decision']['sentence']}; AP {summary['ap']:.3f}"
    yield f"new       {NEW.train_images} images arrive: darker, and with a {NEW_SHAPE}, which has no label"
    watch = ["--pipeline", "watch", "--images", str(production)]
    loop.centernet(*watch, "--coco-dir", str(old), "--config", str(first / "config.yaml"))
    _link(loop.folder / "first-watch", loop.run)
    due = loop.due()
    yield f"watch     {due.watched.said}"
    yield f"training  {'due' if due.train else 'none'}: {due.why.removeprefix('but ')}"
    names = _picked(due)
    merged, objects, new_objects = _labelled(loop.folder, old, new, names)
    yield f"label     {len(names)} of the images, {objects} objects, {new_objects} of the new shape: labels arrive"
    champion = loop.folder / "registry" / "versions" / summary["decision"]["new_version"]
    # The class head starts afresh: it gets one more channel.
    start = ["--init", str(champion), "--set", "task.init_checkpoint_modules=matching", *_steps(SECOND_STEPS)]
    loop.centernet(*watch, "--coco-dir", str(merged), "--config", str(first / "config.yaml"), *start)
    _link(loop.folder / "second-run", loop.run)
    due = loop.due()
    yield f"watch     {due.watched.said}"
    yield f"training  {'due' if due.train else 'none'}: {due.why}"
    if not due.train:
        raise Failure(f"no training after new labels: {due.why}; see {loop.log}")
    for name, ap in _judged(loop.run, merged).items():
        yield f"AP        {name} images: champion {ap['champion']:.3f}, candidate {ap['candidate']:.3f}"
    yield f"decision  {loop.summary()['decision']['sentence']}"


def _picked(due: Due) -> list[str]:
    """File names of the images that are worth labelling."""
    return [image["file_name"] for image in json.loads(Path(due.watched.to_label).read_text())["images"]]


def _labelled(folder: Path, old: Path, new: Path, names: Sequence[str]) -> tuple[Path, int, int]:
    """The old data set with the new images that were labelled, and with those to judge by.

    Returns:
      Its folder, the number of objects that the new training images add, and how many are of the new shape.
    """
    merged = folder / "merged"
    (merged / "annotations").mkdir(parents=True)
    counts = (0, 0)
    for split in SPLITS:
        (merged / split).mkdir()
        before, after = (_read(data, split) for data in (old, new))
        if split == SPLITS[0]:
            after["images"] = [image for image in after["images"] if image["file_name"] in set(names)]
        after = _renamed(after, split)
        for content, data, prefix in ((before, old, ""), (after, new, "new-")):
            for image in content["images"]:
                os.link(data / split / image["file_name"].removeprefix(prefix), merged / split / image["file_name"])
        shape = next(category["id"] for category in after["categories"] if category["name"] == NEW_SHAPE)
        if split == SPLITS[0]:
            found = [entry for entry in after["annotations"] if not entry["iscrowd"]]
            counts = (len(found), sum(entry["category_id"] == shape for entry in found))
        both = {key: [*before[key], *after[key]] for key in ("images", "annotations")}
        parts = {"": both, "-old": before, "-new": after}
        for name, part in parts.items():
            text = json.dumps({**after, **{key: part[key] for key in both}})
            (merged / "annotations" / f"instances_{split}{name}.json").write_text(text)
    return merged, *counts


def _read(data: Path, split: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((data / "annotations" / f"instances_{split}.json").read_text())
    return found


def _renamed(content: dict[str, Any], split: str) -> dict[str, Any]:
    """Images and annotations with names and ids that the old data set doesn't have."""
    offset = 1_000_000
    kept = {image["id"] for image in content["images"]}
    images = [
        {**image, "id": image["id"] + offset, "file_name": f"new-{image['file_name']}"} for image in content["images"]
    ]
    annotations = [
        {**entry, "id": entry["id"] + offset, "image_id": entry["image_id"] + offset}
        for entry in content["annotations"]
        if entry["image_id"] in kept
    ]
    return {**content, "images": images, "annotations": annotations}


def _judged(run: Path, merged: Path) -> dict[str, dict[str, float]]:
    """AP of both models on the old images, and on the new ones."""
    found: dict[str, dict[str, float]] = {}
    for name in ("old", "new"):
        annotations = merged / "annotations" / f"instances_{SPLITS[1]}-{name}.json"
        ids = [image["id"] for image in json.loads(annotations.read_text())["images"]]
        found[name] = {}
        for model in ("champion", "candidate"):
            everything = read_results(str(run / "stages" / f"evaluate-{model}" / PREDICTIONS), EVALUATE_AGAIN)
            predictions = everything.where(np.isin(everything.image_id, ids))
            found[name][model] = score(str(annotations), predictions, ids).values["ap"] or 0.0
    return found


def _link(link: Path, run: Path) -> None:
    link.symlink_to(os.path.relpath(run, link.parent))


def _page(loop: Loop, lines: Sequence[str]) -> str:
    pages = {
        "first-run/report.html": "the first model",
        "first-watch/watch.html": "what the champion saw",
        "second-run/watch.html": "what it saw when the labels had arrived",
        "second-run/report.html": "the second model, against the first",
    }
    links = "".join(f'<li><a href="{path}">{title}</a></li>\n' for path, title in pages.items())
    text = html.escape("\n".join(lines))
    return (
        '<!doctype html>\n<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">\n'
        "<title>demo-loop</title>\n<style>body{font:16px sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;"
        "color-scheme:light dark}pre{white-space:pre-wrap}</style>\n"
        f"<h1>From new images to a new champion</h1>\n<pre>{text}</pre>\n<ul>\n{links}</ul></html>\n"
    )


if __name__ == "__main__":
    sys.exit(main())
