"""AP against CPU seconds: whole pipeline runs of the small configurations, and of changes of them, one at a time.

    python -m benchmarks.recipes --list                                  names, and what --state holds
    python -m benchmarks.recipes --coco-dir DIR                          the shipped configurations, three seeds
    python -m benchmarks.recipes --coco-dir DIR --ablations --seeds 0    also one change at a time
    python -m benchmarks.recipes --coco-dir DIR --only custom-cpu "custom-cpu, without flip"
    python -m benchmarks.recipes --coco-dir DIR --seeds 0 --only custom-cpu --set task.losses.detection.scale_weight=0.1

Each row is `centernet run` in a process of its own, without its cache, into a registry of its own: CPU seconds and
wall-clock time are those of everything from the check of the data to the report. Finished runs are kept in --state, by
configuration, data and seed, so that an interrupted benchmark resumes where it stopped, and a changed configuration is
measured again. Changed code is not noticed: give it another --state. The demo always runs on its generated data; the
others too where --coco-dir is not given.
"""

import argparse
import hashlib
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from beam_preprocess.base import files, yaml
from beam_preprocess.base.command import Parser, run
from beam_preprocess.base.config_text import resolve
from beam_preprocess.base.errors import Failure, InputError

GENERATED = "generated data"
DEMO = "demo"
KEPT = ("ap", "ap50", "ap75")
RUN = (sys.executable, "-m", "pipeline", "run")
"""The command that is measured."""

RATE = "trainer.optimizer_config.learning_rate.cosine"


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """A shipped configuration, perhaps with changes."""

    name: str
    config: str
    changes: tuple[str, ...] = ()


SHIPPED = tuple(Recipe(name=name, config=name) for name in ("custom-cpu", "custom-small", DEMO))


def _cpu(name: str, *changes: str) -> Recipe:
    return Recipe(name=f"custom-cpu, {name}", config="custom-cpu", changes=changes)


ABLATIONS = (
    _cpu("from scratch", "task.init_checkpoint=''", "task.model.frozen_level=0"),
    _cpu("all layers trained", "task.model.frozen_level=0"),
    _cpu("frozen to level 3", "task.model.frozen_level=3"),
    _cpu("8 views", "preprocess.train_views=8"),
    _cpu("size weight 0.1", "task.losses.detection.scale_weight=0.1"),
    _cpu("size weight 0.5", "task.losses.detection.scale_weight=0.5"),
    _cpu("decoder 64", "task.model.decoder.fpn.num_filters=64"),
    _cpu("decoder 128", "task.model.decoder.fpn.num_filters=128"),
    _cpu("full convolutions in the decoder", "task.model.decoder.fpn.use_separable_conv=false"),
    _cpu("learning rate 0.001", f"{RATE}.initial_learning_rate=0.001"),
    _cpu("600 steps", "trainer.train_steps=600", f"{RATE}.decay_steps=600"),
    _cpu("256 px", "preprocess.image_size=[256, 256]"),
    _cpu("EMA 0.95", "trainer.optimizer_config.ema.average_decay=0.95"),
    _cpu("without flip", "export.flip=false"),
    Recipe(
        name="custom-small, size weight 0.2",
        config="custom-small",
        changes=("task.losses.detection.scale_weight=0.2",),
    ),
    Recipe(name="demo, without flip", config=DEMO, changes=("export.flip=false",)),
)
"""One change of a shipped configuration each."""


def parser() -> Parser:
    """The benchmark's flags."""
    made = Parser(description=__doc__)
    made.add_argument("--coco-dir", default="", metavar="DIR", help="photographs; default: the demo's generated data")
    made.add_argument("--ablations", action="store_true", help="also the changes, one at a time, of which --list tells")
    made.add_argument("--only", nargs="+", default=[], metavar="NAME", help="recipes to run, by name")
    made.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="a change of each recipe, as a row of its own"
    )
    made.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="N", help="default: 0 1 2")
    made.add_argument("--state", default="benchmarks-recipes.json", metavar="FILE", help="where finished runs are kept")
    made.add_argument("--work", default="", metavar="DIR", help="parent of the runs' folders; default: next to --state")
    made.add_argument("--keep", action="store_true", help="keep the runs' folders, with their reports")
    made.add_argument("--list", action="store_true", help="print the recipes' names, and what is measured so far")
    return made


def _call(flags: argparse.Namespace) -> None:
    recipes = _chosen(flags.only, tuple(flags.set), ablations=flags.ablations or flags.list)
    state = Path(flags.state).absolute()
    rows: dict[str, dict[str, Any]] = files.read_json(str(state), "give another --state") if state.exists() else {}
    work = Path(flags.work).absolute() if flags.work else state.with_suffix(".runs")
    for seed in [] if flags.list else flags.seeds:  # all recipes with one seed first
        for recipe in recipes:
            key = key_of(recipe, _data(recipe, flags.coco_dir), seed)
            if key not in rows:
                rows[key] = measure(recipe, _data(recipe, flags.coco_dir), seed, work, keep=flags.keep)
                files.write_text(str(state), json.dumps(rows, indent=1))
                print(json.dumps(rows[key]), file=sys.stderr, flush=True)
    print(_table(recipes, rows, flags.coco_dir, flags.seeds))


def _chosen(names: Sequence[str], changes: tuple[str, ...], *, ablations: bool) -> list[Recipe]:
    known = {recipe.name: recipe for recipe in (*SHIPPED, *ABLATIONS)}
    for name in names:
        if name not in known:
            raise InputError(f"--only {name}: not a recipe; use {', '.join(map(repr, known))}")
    chosen = [known[name] for name in names] or [*SHIPPED, *(ABLATIONS if ablations else ())]
    if not changes:
        return chosen
    return [
        Recipe(name=" ".join([recipe.name, *changes]), config=recipe.config, changes=recipe.changes + changes)
        for recipe in chosen
    ]


def _data(recipe: Recipe, coco_dir: str) -> str:
    return GENERATED if recipe.config == DEMO or not coco_dir else coco_dir


def key_of(recipe: Recipe, data: str, seed: int) -> str:
    found = resolve(recipe.config, recipe.changes)
    values = yaml.load(found.text, found.where)  # without its comments
    return hashlib.sha256(json.dumps([values, Path(data).name, seed], sort_keys=True).encode()).hexdigest()[:16]


def measure(recipe: Recipe, data: str, seed: int, work: Path, *, keep: bool) -> dict[str, Any]:
    """Runs the pipeline once, and reads what came of it."""
    folder = work / f"{key_of(recipe, data, seed)}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    command = [*RUN, "--no-cache", "--config", recipe.config, "--seed", str(seed)]
    command += [f"--set={change}" for change in recipe.changes]
    command += ["--runs-dir", str(folder / "runs"), "--registry", str(folder / "registry")]
    generated = ["--demo-data-dir", str(work / "demo-data")]
    if data != GENERATED:
        command += ["--coco-dir", str(Path(data).absolute())]
    elif recipe.config == DEMO:
        command += generated
    else:
        command += ["--coco-dir", str(generated(work / "demo-data"))]
    print(f"running {recipe.name}, seed {seed}: {folder}/log", file=sys.stderr, flush=True)
    load = os.getloadavg()[0]
    with (folder / "log").open("w") as log:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=Path(__file__).parents[1])
        _, status, used = os.wait4(process.pid, 0)  # its descendants included
        wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 3):  # 3: held by the gate, measured all the same
        raise Failure(f"{recipe.name}, seed {seed}: exit code {process.returncode}; see {folder}/log")
    summary = json.loads((folder / "runs" / "latest" / "summary.json").read_text())
    row = {
        "recipe": recipe.name,
        "data": Path(data).name,
        "seed": seed,
        **{name: summary[name] for name in KEPT},
        "cpu": round(used.ru_utime + used.ru_stime, 1),
        "wall": round(wall, 1),
        "seconds": summary["seconds"],
        "load": [round(load, 1), round(os.getloadavg()[0], 1)],  # before and after
        "machine": f"{cpu_name()}, {os.cpu_count()} cores",
        "date": str(date.today()),
    }
    if not keep:
        shutil.rmtree(folder)
    return row


def generated(folder: Path) -> Path:
    from pipeline.local import demo_data

    return Path(demo_data.generate(folder))


def _table(recipes: Sequence[Recipe], rows: dict[str, Any], coco_dir: str, seeds: Sequence[int]) -> str:
    """Medians over the seeds that were run, with the lowest and the highest, and where they were measured."""
    lines = ["| recipe | data | seeds | AP | AP50 | AP75 | CPU s | wall s |", "|---|---|---|---|---|---|---|---|"]
    places = dict[str, list[float]]()
    for recipe in recipes:
        data = _data(recipe, coco_dir)
        keys = [key_of(recipe, data, seed) for seed in seeds]
        found = [rows[key] for key in keys if key in rows]
        for row in found:
            places.setdefault(f"{row['machine']}, {row['date']}", []).extend(row["load"])
        cells = [_spread([row[name] for row in found], ".3f") for name in KEPT]
        cells += [_spread([row[name] for row in found], ".0f") for name in ("cpu", "wall")]
        lines.append(f"| {recipe.name} | {Path(data).name} | {len(found)} | {' | '.join(cells)} |")
    where = [f"{place}, load average {min(loads)} to {max(loads)}" for place, loads in sorted(places.items())]
    return "\n".join([*lines, "", *where])


def _spread(values: Sequence[float], form: str) -> str:
    if not values:
        return "not measured"
    middle = format(statistics.median(values), form)
    if len(values) == 1:
        return middle
    return f"{middle} ({format(min(values), form)} to {format(max(values), form)})"


def cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0, or 2 for bad input."""
    return run(parser(), argv, _call)


if __name__ == "__main__":
    sys.exit(main())
