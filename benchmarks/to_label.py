"""Are the images that `centernet watch` picks worth more than images at random? AP after retraining with either.

    python -m benchmarks.to_label --coco-dir DIR                  three seeds; generated data without --coco-dir
    python -m benchmarks.to_label --coco-dir DIR --seeds 0 --no-training
    python -m benchmarks.to_label --coco-dir DIR --copies 4            a pool that mostly shows what is known

A start model is trained on --start random training images by `centernet run`, and promoted. `centernet watch` scores
the other training images by it and picks --count of them. Labels are the data set's own. Of each seed, a model is
trained from ImageNet's weights on the start images and the picked ones, and another on the start images and as many
at random; both are evaluated on the validation images, which are also those of the profile.

With --copies, the images to choose from also hold that number of copies of each start image, a little darker or lighter
and with labels of their own: much of what a camera sees is what it saw before.

Trainings are small, custom-cpu at 128 px for 200 steps, one at a time, each in a process of its own. Finished ones are
kept in --state, by configuration, images and seed: an interrupted benchmark resumes, and a changed choice is trained
again.

With --no-training, only the start model is trained. The table then says what the labels of either choice would add:
objects, objects that the start model misses, and wrong detections, both by its thresholds and at IoU 0.5; at random
means the mean of all images, times --count.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance

from beam_preprocess.base import files
from beam_preprocess.base.command import Parser, run
from beam_preprocess.base.errors import Failure, InputError
from benchmarks import recipes
from trainer.scoring.results import ScoredImage, read_results

CHANGES = (
    "preprocess.image_size=[128, 128]",
    "preprocess.train_views=4",
    "task.model.decoder.fpn.num_filters=64",
    "trainer.train_steps=200",
    f"{recipes.RATE}.decay_steps=200",
    "trainer.checkpoint_interval=200",
    "trainer.validation_interval=200",
    "export.flip=false",
    "gate.min_ap=0.0",  # the start model is to be promoted, however bad
)
CENTERNET = (sys.executable, "-m", "pipeline")
WAYS = ("picked", "random")
COPY = "copy-"
GAINS = ("objects", "missed", "wrong")


@dataclass(frozen=True, kw_only=True, slots=True)
class Data:
    """A data set's folders and annotation files."""

    train_images: str
    val_images: str
    train: dict[str, Any]
    """Content of the training annotations."""
    val_annotations: str
    name: str

    def names(self) -> list[str]:
        """File names of the training images, sorted."""
        return sorted(image["file_name"] for image in self.train["images"])


def parser() -> Parser:
    """The benchmark's flags."""
    made = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--coco-dir", default="", metavar="DIR", help="photographs; default: the demo's generated data")
    made.add_argument("--start", type=int, default=60, metavar="N", help="images of the start model (default: 60)")
    made.add_argument("--count", type=int, default=60, metavar="N", help="images to label (default: 60)")
    made.add_argument("--copies", type=int, default=0, metavar="N", help="copies of each start image (default: 0)")
    made.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="N", help="default: 0 1 2")
    made.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a change of the trainings")
    made.add_argument(
        "--no-training", action="store_true", help="train the start model only, and count what labels add"
    )
    made.add_argument("--state", default="benchmarks-to-label.json", metavar="FILE", help="finished runs are kept here")
    made.add_argument("--work", default="", metavar="DIR", help="folder for data and runs; default: next to --state")
    return made


def _call(flags: argparse.Namespace) -> None:
    state = Path(flags.state).absolute()
    work = Path(flags.work).absolute() if flags.work else state.with_suffix(".runs")
    data = load(Path(flags.coco_dir or recipes.generated(work / "demo-data")).absolute())
    if (available := len(data.names())) < flags.start + flags.count:
        raise InputError(f"--start {flags.start} --count {flags.count}: there are {available} training images")
    recipe = recipes.Recipe(name="to label", config="custom-cpu", changes=(*CHANGES, *flags.set))
    names = np.random.default_rng([3, 0]).permutation(data.names()).tolist()
    start, pool = names[: flags.start], names[flags.start :]
    if flags.copies:
        data, copies = with_copies(data, start, flags.copies, work / f"copies-{flags.start}-{flags.copies}")
        pool += copies
    folder = write_data(data, start, work)
    key = recipes.key_of(recipe, str(folder), 0)
    first = kept(state, key, lambda: recipes.measure(recipe, str(folder), 0, work, keep=True))
    watched = watch(
        data, pool, work / key / "registry", flags.count, work / f"watched-{key}-{flags.count}-{flags.copies}"
    )
    picked = [image["file_name"] for image in watched["images"]]
    errors = gains(data, watched)
    new = sum(not name.startswith(COPY) for name in picked)
    print(f"start: {flags.start} images, AP {first['ap']:.3f}; {len(pool)} to choose from", flush=True)
    print(f"{len(picked) - new} of the picks are copies\n\n{gain_table(errors, picked)}", flush=True)
    rows = []
    for seed in flags.seeds if not flags.no_training else ():
        drawn = np.random.default_rng([4, seed]).permutation(pool)[: flags.count].tolist()
        rows.append(
            {
                way: _trained(data, recipe, start + added, seed, state, work)
                for way, added in (("picked", picked), ("random", drawn))
            }
        )
        rows[-1]["objects"] = {
            way: sum(errors[name]["objects"] for name in added)
            for way, added in (("picked", picked), ("random", drawn))
        }
    if rows:
        print(f"\n{table(flags.seeds, rows)}")


def kept(state: Path, key: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What was measured earlier, or is now."""
    rows: dict[str, dict[str, Any]] = files.read_json(str(state), "give another --state") if state.exists() else {}
    if key not in rows:
        rows[key] = measure()
        files.write_text(str(state), json.dumps(rows, indent=1))
        print(json.dumps(rows[key]), file=sys.stderr, flush=True)
    return rows[key]


def _trained(
    data: Data, recipe: recipes.Recipe, names: Sequence[str], seed: int, state: Path, work: Path
) -> dict[str, Any]:
    """Trains on some of the images."""
    folder = write_data(data, names, work)
    key = recipes.key_of(recipe, str(folder), seed)
    return kept(state, key, lambda: _train(recipe, folder, seed, work, work / key))


def _train(recipe: recipes.Recipe, folder: Path, seed: int, work: Path, output: Path) -> dict[str, Any]:
    """Records, a training, and AP of its last weights on the validation images."""
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    settings = [f"--set={change}" for change in recipe.changes]
    load_before = os.getloadavg()[0]
    records = {"train": output / "train", "val": work / "val"}
    for split, place in records.items():
        if (place / "manifest.json").exists():
            continue
        files_of = ["--images", str(folder / f"{split}2017")]
        files_of += ["--annotations", str(folder / "annotations" / f"instances_{split}2017.json")]
        command = ["preprocess", *files_of, "--split", split, "--output", str(place), "--config", recipe.config]
        _run([*command, *settings, "--seed", str(seed if split == "train" else 0)], output / "log")
    command = ["train", "--model_dir", str(output / "model"), "--mode", "train_and_eval", "--seed", str(seed)]
    command += ["--records", str(records["train"]), "--val-records", str(records["val"])]
    _run([*command, "--config_file", recipe.config, *settings], output / "log")
    last = files.read_json(str(output / "model" / "train.json"), "run the benchmark again")["last"]
    row = {
        "data": folder.name,
        "seed": seed,
        "ap": last["ap"],
        "ap50": last["ap50"],
        "measured_on": last["measured_on"],
        "load": [round(load_before, 1), round(os.getloadavg()[0], 1)],
        "machine": f"{recipes.cpu_name()}, {os.cpu_count()} cores",
        "date": str(date.today()),
    }
    shutil.rmtree(output)
    return row


def _run(words: Sequence[str], log: Path, accepted: Sequence[int] = (0,)) -> None:
    """Runs `centernet` with these words."""
    with log.open("a") as file:
        done = subprocess.run(
            [*CENTERNET, *words], stdout=file, stderr=subprocess.STDOUT, cwd=Path(__file__).parents[1], check=False
        )
    if done.returncode not in accepted:
        raise Failure(f"centernet {words[0]}: exit code {done.returncode}; see {log}")


def load(folder: Path) -> Data:
    """Reads a data set."""
    from pipeline.graph.layouts import find_layout

    found = find_layout(str(folder), lambda path: Path(path).exists(), splits=False)
    train: dict[str, Any] = files.read_json(found["train_annotations"], "give another --coco-dir")
    return Data(
        train_images=found["train_images"],
        val_images=found["val_images"],
        train=train,
        val_annotations=found["val_annotations"],
        name=folder.name,
    )


def write_data(data: Data, names: Sequence[str], work: Path) -> Path:
    """A data set with some of the training images; its name is a function of them."""
    digest = hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()[:12]
    folder = work / "data" / f"{data.name}-{len(names)}-{digest}"
    folder.joinpath("annotations").mkdir(parents=True, exist_ok=True)
    for name, target in (("train2017", data.train_images), ("val2017", data.val_images)):
        if not (folder / name).exists():
            (folder / name).symlink_to(target, target_is_directory=True)
    wanted = set(names)
    images = [image for image in data.train["images"] if image["file_name"] in wanted]
    ids = {image["id"] for image in images}
    annotations = [entry for entry in data.train["annotations"] if entry["image_id"] in ids]
    content = {**data.train, "images": images, "annotations": annotations}
    files.write_text(str(folder / "annotations" / "instances_train2017.json"), json.dumps(content))
    validation = files.read_text(data.val_annotations, "give another --coco-dir")
    files.write_text(str(folder / "annotations" / "instances_val2017.json"), validation)
    return folder


def with_copies(data: Data, names: Sequence[str], count: int, folder: Path) -> tuple[Data, list[str]]:
    """(the data set with `count` copies of some training images, the copies' file names)."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in data.names():
        if not (folder / name).exists():
            (folder / name).symlink_to(Path(data.train_images) / name)
    content = {**data.train, "images": [*data.train["images"]], "annotations": [*data.train["annotations"]]}
    entries = {image["file_name"]: image for image in data.train["images"]}
    copies, random = [], np.random.default_rng(5)
    for name in names:
        objects = [entry for entry in data.train["annotations"] if entry["image_id"] == entries[name]["id"]]
        with Image.open(folder / name) as image:
            image.load()
        for number in range(count):
            copy = f"{COPY}{number}-{name}"
            ImageEnhance.Brightness(image).enhance(random.uniform(0.85, 1.15)).save(folder / copy, quality=90)
            number_of_image = max(entry["id"] for entry in content["images"]) + 1
            content["images"].append({**entries[name], "file_name": copy, "id": number_of_image})
            first = max(entry["id"] for entry in content["annotations"]) + 1
            content["annotations"] += [
                {**entry, "id": first + i, "image_id": number_of_image} for i, entry in enumerate(objects)
            ]
            copies.append(copy)
    return replace(data, train=content, train_images=str(folder)), copies


def watch(data: Data, pool: Sequence[str], registry: Path, count: int, output: Path) -> dict[str, Any]:
    """What `centernet watch` picks of the pool: content of to_label.json."""
    images = output / "images"
    images.mkdir(parents=True, exist_ok=True)
    for name in pool:
        link = images / name
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.exists():
            link.symlink_to(Path(data.train_images) / name)
    command = ["watch", "--images", str(images), "--registry", str(registry), "--label", str(count)]
    # 3: drifted, 4: too few images to tell
    _run([*command, "--output", str(output / "watch")], output / "log", (0, 3, 4))
    found: dict[str, Any] = files.read_json(str(output / "watch" / "to_label.json"), "run the benchmark again")
    return {**found, "scores": str(output / "watch" / "scores")}


def gains(data: Data, watched: dict[str, Any]) -> dict[str, dict[str, int]]:
    """By file name: objects, objects that the model misses, and wrong detections."""
    ids = {image["file_name"]: image["id"] for image in data.train["images"]}
    truth: dict[int, list[tuple[int, list[float]]]] = {}
    for entry in data.train["annotations"]:
        truth.setdefault(entry["image_id"], []).append((entry["category_id"], entry["bbox"]))
    return {
        image.file_name: _errors(image, truth.get(ids[image.file_name], []), watched["info"])
        for image in read_results(watched["scores"])
    }


def _errors(image: ScoredImage, truth: Sequence[tuple[int, list[float]]], info: dict[str, Any]) -> dict[str, int]:
    found, wrong = set(), 0
    for entry in image.detections:  # by descending score
        minimum = info["score_thresholds"].get(str(entry["category_id"]), info["score_threshold"])
        if entry["score"] < minimum:
            continue
        overlaps = [
            (_iou(entry["bbox"], box), i)
            for i, (category, box) in enumerate(truth)
            if category == entry["category_id"] and i not in found
        ]
        best, place = max(overlaps, default=(0.0, -1))
        if best >= 0.5:
            found.add(place)
        else:
            wrong += 1
    return {"objects": len(truth), "missed": len(truth) - len(found), "wrong": wrong}


def _iou(one: Sequence[float], other: Sequence[float]) -> float:
    width = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    height = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    both = max(width, 0.0) * max(height, 0.0)
    return both / max(one[2] * one[3] + other[2] * other[3] - both, 1e-9)


def gain_table(errors: Mapping[str, Mapping[str, int]], picked: Sequence[str]) -> str:
    """What the labels of the picked images add, and those of as many at random would on average."""
    lines = ["| labels of | objects | missed | wrong |", "|---|---|---|---|"]
    sums = [sum(errors[image][name] for image in picked) for name in GAINS]
    means = [len(picked) * sum(entry[name] for entry in errors.values()) / len(errors) for name in GAINS]
    lines.append(f"| {len(picked)} picked | {' | '.join(map(str, sums))} |")
    lines.append(f"| {len(picked)} at random | {' | '.join(f'{mean:.1f}' for mean in means)} |")
    return "\n".join(lines)


def table(seeds: Sequence[int], rows: Sequence[Mapping[str, Any]]) -> str:
    """One line per seed, the differences, and where they were measured."""
    lines = ["| seed | AP, picked | AP, random | objects, picked | objects, random |", "|---|---|---|---|---|"]
    for seed, row in zip(seeds, rows, strict=True):
        cells = [f"{row[way]['ap']:.3f}" for way in WAYS] + [str(row["objects"][way]) for way in WAYS]
        lines.append(f"| {seed} | {' | '.join(cells)} |")
    gained = [row["picked"]["ap"] - row["random"]["ap"] for row in rows]
    lines += ["", f"picked - random: median {np.median(gained):+.3f}, {min(gained):+.3f} to {max(gained):+.3f}"]
    runs = [row[way] for row in rows for way in WAYS]
    places = sorted({f"{row['machine']}, {row['date']}" for row in runs})
    loads = [load for row in runs for load in row["load"]]
    return "\n".join([*lines, "", f"{'; '.join(places)}, load average {min(loads)} to {max(loads)}"])


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0, or 2 for bad input."""
    return run(parser(), argv, _call)


if __name__ == "__main__":
    sys.exit(main())
