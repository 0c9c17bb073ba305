"""Are the images that `centernet watch` picks worth more than images at random? AP after retraining with either.

    python -m benchmarks.to_label --coco-dir DIR                  three seeds; generated data without --coco-dir
    python -m benchmarks.to_label --coco-dir DIR --seeds 0 --no-training

Of each seed, a start model is trained on --start random training images, and promoted. `centernet watch` scores the
other training images by it and picks --count of them; as many are drawn at random. Labels are the data set's own. A
model is trained from ImageNet's weights on the start images and those that were picked, another on the start images
and those that were drawn, and both are evaluated on the validation images, which are also those of the profile.

Trainings are small: custom-cpu at 160 px for 300 steps. Each is `centernet run` in a process of its own, one at a
time, by the code of benchmarks.recipes. Finished ones are kept in --state, by configuration, images and seed: an
interrupted benchmark resumes, and a changed choice is trained again.

With --no-training, only start models are trained. The table then says what the labels of either choice would add:
objects, objects that the start model misses, and wrong detections, both by its thresholds and at IoU 0.5; at random
means the mean of all images, times --count.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from beam_preprocess.base import files
from beam_preprocess.base.command import Parser, run
from beam_preprocess.base.errors import Failure, InputError
from benchmarks import recipes
from trainer.scoring.results import ScoredImage, read_results

CHANGES = (
    "preprocess.image_size=[160, 160]",
    "preprocess.train_views=4",
    "trainer.train_steps=300",
    f"{recipes.RATE}.decay_steps=300",
    "trainer.checkpoint_interval=300",
    "trainer.validation_interval=300",
    "export.flip=false",
    "gate.min_ap=0.0",  # the start model is to be promoted, however bad
)
WATCH = (sys.executable, "-m", "pipeline", "watch")
WAYS = ("start", "picked", "random")


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
    made.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="N", help="default: 0 1 2")
    made.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a change of the trainings")
    made.add_argument("--no-training", action="store_true", help="train start models only, and count what labels add")
    made.add_argument("--state", default="benchmarks-to-label.json", metavar="FILE", help="finished runs are kept here")
    made.add_argument("--work", default="", metavar="DIR", help="folder for data and runs; default: beside --state")
    return made


def _call(flags: argparse.Namespace) -> None:
    state = Path(flags.state).absolute()
    work = Path(flags.work).absolute() if flags.work else state.with_suffix(".runs")
    data = load(Path(flags.coco_dir or recipes.generated(work / "demo-data")).absolute())
    if (available := len(data.names())) < flags.start + flags.count:
        raise InputError(f"--start {flags.start} --count {flags.count}: there are {available} training images")
    recipe = recipes.Recipe(name="to label", config="custom-cpu", changes=(*CHANGES, *flags.set))
    rows = []
    for seed in flags.seeds:
        rows.append(_compared(data, recipe, seed, flags, state, work))
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    print(table(rows))


def _compared(
    data: Data, recipe: recipes.Recipe, seed: int, flags: argparse.Namespace, state: Path, work: Path
) -> dict[str, Any]:
    """What one seed gives."""
    names = np.random.default_rng([3, seed]).permutation(data.names()).tolist()
    start, pool = names[: flags.start], names[flags.start :]  # at random, and in random order
    folder = write_data(data, start, work)
    trained = {"start": _trained(recipe, folder, seed, state, work)}
    registry = work / recipes.key_of(recipe, str(folder), seed) / "registry"
    watched = watch(data, pool, registry, flags.count, work / f"watched-{folder.name}-{seed}")
    chosen = {
        "picked": [image["file_name"] for image in watched["images"]],
        "random": pool[: flags.count],
    }
    for way, added in chosen.items() if not flags.no_training else ():
        trained[way] = _trained(recipe, write_data(data, start + added, work), seed, state, work)
    errors = gains(data, watched)
    means = {name: np.mean([errors[image][name] for image in pool]) * flags.count for name in GAINS}
    return {
        "seed": seed,
        "ap": {way: row["ap"] for way, row in trained.items()},
        "picked": {name: sum(errors[image][name] for image in chosen["picked"]) for name in GAINS},
        "random": {name: round(float(mean), 1) for name, mean in means.items()},
        "places": sorted({f"{row['machine']}, {row['date']}" for row in trained.values()}),
        "load": [load for row in trained.values() for load in row["load"]],
    }


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


def _trained(recipe: recipes.Recipe, folder: Path, seed: int, state: Path, work: Path) -> dict[str, Any]:
    rows: dict[str, dict[str, Any]] = files.read_json(str(state), "give another --state") if state.exists() else {}
    key = recipes.key_of(recipe, str(folder), seed)
    if key not in rows:
        rows[key] = recipes.measure(recipe, str(folder), seed, work, keep=True)
        files.write_text(str(state), json.dumps(rows, indent=1))
    return rows[key]


def watch(data: Data, pool: Sequence[str], registry: Path, count: int, output: Path) -> dict[str, Any]:
    """What `centernet watch` picks of the pool: content of to_label.json."""
    images = output / "images"
    images.mkdir(parents=True, exist_ok=True)
    for name in pool:
        link = images / name
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.exists():
            link.symlink_to(Path(data.train_images) / name)
    command = [*WATCH, "--images", str(images), "--registry", str(registry), "--label", str(count)]
    with (output / "log").open("w") as log:
        done = subprocess.run(
            [*command, "--output", str(output / "watch")],
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=Path(__file__).parents[1],
            check=False,
        )
    if done.returncode not in (0, 3, 4):  # 3: drifted, 4: too few images
        raise Failure(f"{os.fspath(output)}: exit code {done.returncode}; see {output}/log")
    found: dict[str, Any] = files.read_json(str(output / "watch" / "to_label.json"), "run the benchmark again")
    return {**found, "scores": str(output / "watch" / "scores")}


GAINS = ("objects", "missed", "wrong")


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


def table(rows: Sequence[dict[str, Any]]) -> str:
    """One line per seed, then the median."""
    lines = [
        "| seed | AP: start | AP: picked | AP: random | objects: picked | random | missed: picked | random "
        "| wrong: picked | random |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = [f"{row['ap'][way]:.3f}" if way in row["ap"] else "not measured" for way in WAYS]
        cells += [f"{row[way][name]:g}" for name in GAINS for way in ("picked", "random")]
        lines.append(f"| {row['seed']} | {' | '.join(cells)} |")
    gained = [row["ap"]["picked"] - row["ap"]["random"] for row in rows if "picked" in row["ap"]]
    if gained:
        lines += ["", f"picked - random: median {np.median(gained):+.3f}, {min(gained):+.3f} to {max(gained):+.3f}"]
    places = sorted({place for row in rows for place in row["places"]})
    loads = [load for row in rows for load in row["load"]]
    return "\n".join([*lines, "", f"{'; '.join(places)}, load average {min(loads)} to {max(loads)}"])


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0, or 2 for bad input."""
    return run(parser(), argv, _call)


if __name__ == "__main__":
    sys.exit(main())
