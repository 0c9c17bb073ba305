"""Are the images that `centernet watch` picks worth more than images at random? AP after retraining with either.

    python -m benchmarks.to_label --coco-dir DIR                  three seeds; generated data without --coco-dir
    python -m benchmarks.to_label --coco-dir DIR --seeds 0 --no-training
    python -m benchmarks.to_label --coco-dir DIR --copies 4            a pool that mostly shows what is known
    python -m benchmarks.to_label --coco-dir DIR --nights 0.25         a pool of which a quarter has drifted

A start model is trained on --start random training images by `centernet run`, and promoted. `centernet watch` scores
the other training images by it and picks --count of them. Labels are the data set's own. Of each seed, a model is
trained from ImageNet's weights on the start images and the picked ones, and another on the start images and as many
at random; both are evaluated on the validation images, which are also those of the profile.

With --copies, the images to choose from also hold that number of copies of each start image, a little darker or lighter
and with labels of their own: much of what a camera sees is what it saw before.

With --nights, that share of the images to choose from was taken by night, by a camera with infrared light: grey, dark
and noisy. The start model has seen none. The models are evaluated on each validation image by day and by night, and by
day alone.

Trainings are small, custom-cpu at 128 px for --steps, one at a time, each in a process of its own. Finished ones are
kept in --state, by configuration, images and seed: an interrupted benchmark resumes, and a changed choice is trained
again.

With --no-training, only the start model is trained. The table then says what the labels of either choice would add:
objects, objects that the start model misses, and wrong detections, both by its thresholds and at IoU 0.5; at random
means the mean of all images, times --count.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from beam_preprocess.base import files
from beam_preprocess.base.command import Parser, run
from beam_preprocess.base.errors import Failure, InputError
from benchmarks import recipes
from benchmarks.to_label_pools import COPY, NIGHT, Data, load, with_copies, with_nights, write_data
from trainer.scoring.results import ScoredImage, read_results

CHANGES = (
    "preprocess.image_size=[128, 128]",
    "preprocess.train_views=4",
    "task.model.decoder.fpn.num_filters=64",
    "export.flip=false",
    "gate.min_ap=0.0",  # the start model is to be promoted, however bad
)
CENTERNET = (sys.executable, "-m", "pipeline")
STEPS = (
    "trainer.train_steps",
    f"{recipes.RATE}.decay_steps",
    "trainer.checkpoint_interval",
    "trainer.validation_interval",
)
WAYS = ("picked", "random")
GAINS = ("objects", "missed", "wrong")


def parser() -> Parser:
    """The benchmark's flags."""
    made = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--coco-dir", default="", metavar="DIR", help="photographs; default: the demo's generated data")
    made.add_argument("--start", type=int, default=60, metavar="N", help="images of the start model (default: 60)")
    made.add_argument("--count", type=int, default=60, metavar="N", help="images to label (default: 60)")
    made.add_argument("--copies", type=int, default=0, metavar="N", help="copies of each start image (default: 0)")
    made.add_argument(
        "--nights", type=float, default=0.0, metavar="SHARE", help="share of images taken by night (default: 0)"
    )
    made.add_argument("--steps", type=int, default=200, metavar="N", help="of each training (default: 200)")
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
    steps = (f"{key}={flags.steps}" for key in STEPS)
    recipe = recipes.Recipe(name="to label", config="custom-cpu", changes=(*CHANGES, *steps, *flags.set))
    names = np.random.default_rng([3, 0]).permutation(data.names()).tolist()
    start, pool = names[: flags.start], names[flags.start :]
    folder = write_data(data, start, work)
    key = recipes.key_of(recipe, str(folder), 0)
    first = kept(state, key, lambda: recipes.measure(recipe, str(folder), 0, work, keep=True))
    changed = 0
    if flags.copies:
        data, copies = with_copies(data, start, flags.copies, work / f"copies-{flags.start}-{flags.copies}")
        pool += copies
        changed += len(copies)
    if flags.nights:
        nights = np.random.default_rng(6).permutation(pool)[: round(flags.nights * len(pool))].tolist()
        data, pool = with_nights(data, nights, pool, work / f"nights-{flags.start}-{flags.copies}-{len(nights)}")
        changed = sum(map(is_changed, pool))
    watched = watch(data, pool, work / key / "registry", flags.count, work / f"watched-{key}-{flags.count}-{data.name}")
    picked = [image["file_name"] for image in watched["images"]]
    errors = gains(data, watched)
    print(f"start: {flags.start} images, AP {first['ap']:.3f}; {len(pool)} to choose from", flush=True)
    if changed:
        print(f"{changed} of them are copies or nights, and {sum(map(is_changed, picked))} of those picked", flush=True)
    print(f"\n{gain_table(errors, picked)}", flush=True)
    day = folder if flags.nights else None
    rows = []
    for seed in flags.seeds if not flags.no_training else ():
        drawn = np.random.default_rng([4, seed]).permutation(pool)[: flags.count].tolist()
        choices = dict(zip(WAYS, (picked, drawn), strict=True))
        row = {way: _trained(data, recipe, start + choices[way], seed, state, work, day) for way in WAYS}
        objects = {way: sum(errors[name]["objects"] for name in choices[way]) for way in WAYS}
        rows.append({**row, "objects": objects})
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
    data: Data, recipe: recipes.Recipe, names: Sequence[str], seed: int, state: Path, work: Path, day: Path | None
) -> dict[str, Any]:
    """Trains on some of the images."""
    folder = write_data(data, names, work)
    key = recipes.key_of(recipe, str(folder), seed)
    return kept(state, key, lambda: _train(recipe, folder, seed, work / f"val-{data.name}", work / key, day))


def _train(
    recipe: recipes.Recipe, folder: Path, seed: int, val: Path, output: Path, day: Path | None
) -> dict[str, Any]:
    """Records, a training, and AP of its last weights on the validation images; of those by `day`, also alone."""
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    settings = [f"--set={change}" for change in recipe.changes]
    load_before = os.getloadavg()[0]
    records = _records(recipe, folder, "train", seed, output / "train", output / "log")
    _records(recipe, folder, "val", 0, val, output / "log")
    command = ["train", "--model_dir", str(output / "model"), "--config_file", recipe.config, *settings]
    training = ["--mode", "train_and_eval", "--seed", str(seed), "--records", str(records), "--val-records", str(val)]
    _run([*command, *training], output / "log")
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
    if day:
        by_day = _records(recipe, day, "val", 0, val.parent / f"{val.name}-day", output / "log")
        _run([*command, "--mode", "eval", "--val-records", str(by_day)], output / "log")
        lines = files.read_text(str(output / "model" / "validation.jsonl"), "run the benchmark again").splitlines()
        row["ap_day"] = json.loads(lines[-1])["ap"]
    shutil.rmtree(output)
    return row


def _records(recipe: recipes.Recipe, data: Path, split: str, seed: int, place: Path, log: Path) -> Path:
    """Preprocesses one split, unless it was."""
    if not (place / "manifest.json").exists():
        command = ["preprocess", "--split", split, "--output", str(place), "--seed", str(seed)]
        command += ["--images", str(data / f"{split}2017"), "--config", recipe.config]
        command += ["--annotations", str(data / "annotations" / f"instances_{split}2017.json")]
        _run([*command, *(f"--set={change}" for change in recipe.changes)], log)
    return place


def _run(words: Sequence[str], log: Path, accepted: Sequence[int] = (0,)) -> None:
    """Runs `centernet` with these words."""
    with log.open("a") as file:
        done = subprocess.run(
            [*CENTERNET, *words], stdout=file, stderr=subprocess.STDOUT, cwd=Path(__file__).parents[1], check=False
        )
    if done.returncode not in accepted:
        raise Failure(f"centernet {words[0]}: exit code {done.returncode}; see {log}")


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


def is_changed(name: str) -> bool:
    """Whether it is a copy or taken by night."""
    return name.startswith((COPY, NIGHT))


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
    numbers = {"AP": "ap", "AP by day": "ap_day"} if "ap_day" in rows[0][WAYS[0]] else {"AP": "ap"}
    heads = [f"{name}, {way}" for name in (*numbers, "objects") for way in WAYS]
    lines = [f"| seed | {' | '.join(heads)} |", "|---" * (1 + len(heads)) + "|"]
    for seed, row in zip(seeds, rows, strict=True):
        cells = [f"{row[way][number]:.3f}" for number in numbers.values() for way in WAYS]
        lines.append(f"| {seed} | {' | '.join([*cells, *(str(row['objects'][way]) for way in WAYS)])} |")
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
