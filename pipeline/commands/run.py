"""`centernet run`: the whole pipeline on this machine."""

import argparse
import os
from collections.abc import Sequence

from beam_preprocess.base import command
from beam_preprocess.base.errors import InputError
from pipeline.commands.flags import SCRATCH, add_data, add_start, start_changes

DESCRIPTION = """Run the whole pipeline on this machine: check the data, preprocess, train, export, evaluate, compare
with the champion, then promote the model or hold it, and report why. Without data flags, it
generates the demo data set and runs on that."""
EXAMPLES = (
    "centernet run",
    "centernet run --coco-dir /data/coco",
    "centernet run --coco-dir /data/coco --minutes 30 --set gate.min_ap=0.4",
    "centernet run --coco-dir /data/coco --config my.yaml --set trainer.train_steps=2000",
    "centernet run --train-images D --train-annotations F --val-images D --val-annotations F --seed 1",
    "centernet run --train-images D --train-annotations F --val-fraction 0.2",
    "centernet run --coco-dir /data/coco --init od-api:hg104 --train-steps 0",
    "centernet run --only-if-changed",
    "centernet run --in-containers --coco-dir /data/coco",
    "centernet run --resume runs/latest",
    "centernet run --resume runs/latest --set gate.min_ap=0.35",
)
NOTES = """The first example is the demo. The last one judges a held run again, without training.

exit codes: 0 done (promoted, held or pending approval), 1 a stage failed or the run was interrupted, 2 bad input or
usage"""

FIXED_BY_RESUME = (
    "train_images",
    "train_annotations",
    "val_images",
    "val_annotations",
    "coco_dir",
    "val_fraction",
    "demo_data_dir",
    "config",
    "minutes",
    "init",
    "train_steps",
    "max_reject_fraction",
    "seed",
    "registry",
    "runs_dir",
    "only_if_changed",
    "in_containers",
    "image",
)
"""Flags that `--resume` can't honour: the run was started with its own values."""


def parser() -> command.Parser:
    """The flags. A flag that `--resume` can't honour is None when it is not given."""
    made = command.parser("run", DESCRIPTION, examples=EXAMPLES, notes=NOTES)
    data = made.add_argument_group("data (COCO format)")
    add_data(data)
    data.add_argument("--demo-data-dir", metavar="DIR", help="folder of the demo's data; default: .demo-data")

    options = made.add_argument_group("run options")
    options.add_argument(
        "--config",
        metavar="NAME",
        help="a shipped configuration's name, or a YAML file's path or URI; default: demo for the demo; for "
        "your own data, one that is written for it, as centernet init does, and kept in the run's folder",
    )
    options.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override one key of the configuration, such as trainer.train_steps=2000; repeatable",
    )
    options.add_argument(
        "--minutes",
        type=float,
        metavar="M",
        help="without --config: length of the training in minutes, by the speed measured on this machine; default: 10",
    )
    add_start(options)
    options.add_argument(
        "--max-reject-fraction",
        type=float,
        metavar="F",
        help="short for --set preprocess.max_reject_fraction=F: maximum fraction of training images rejected",
    )
    options.add_argument("--seed", type=int, metavar="N", help="seed of crops, weights and data order; default: 0")
    options.add_argument("--registry", metavar="DIR", help="folder of the model registry; default: registry")
    options.add_argument("--runs-dir", metavar="DIR", help="parent folder of the run's folder; default: runs")
    options.add_argument(
        "--resume",
        default="",
        metavar="RUN",
        help="folder of an earlier run: resume it, with its own flags. --set then takes keys of gate: and the "
        "bounds of export: only, and the run is judged again, unless it has promoted its model",
    )
    options.add_argument(
        "--only-if-changed",
        action="store_const",
        const=True,
        help="skip training if nothing changed: data, configuration, seed and image are those of the registry's last "
        "completed run",
    )
    options.add_argument(
        "--in-containers",
        action="store_const",
        const=True,
        help="run each stage in a container of its own, as vertex-cpu does on Vertex AI; needs Docker or podman, an "
        "image (make images-local), and the Python package docker. Containers have no network; they read the data and "
        "write the run's folder and the registry",
    )
    options.add_argument(
        "--image",
        metavar="NAME",
        help="image of the containers, which run its code, not this clone's; default: the one that make images-local "
        "builds",
    )
    options.add_argument(
        "--no-cache",
        action="store_true",
        help="run every stage; by default preprocess, train, export and evaluate take the result of an earlier run "
        "below --runs-dir with the same data, configuration, seed and code",
    )
    options.add_argument(
        "--notify",
        default="",
        metavar="ADDRESS",
        help="email the outcome (Vertex AI only; locally it is printed)",
    )
    options.add_argument(
        "--webhook-secret",
        default="",
        metavar="NAME",
        help="post the outcome to the webhook whose address this environment variable holds",
    )
    options.add_argument("--strict", action="store_true", help="make warnings about the data errors")
    options.add_argument("-v", "--verbose", action="store_true", help="show the whole log, not one line per stage")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes: see `NOTES`."""
    return command.run(parser(), argv, _call)


def _call(flags: argparse.Namespace) -> int:
    from pipeline.graph.request import DATA, RunRequest
    from pipeline.local.containers import IMAGE
    from pipeline.local.prepare import LocalOptions
    from pipeline.local.run import run

    if flags.resume:
        _refuse_fixed(flags)
    flags.init = _located(flags.init)
    if flags.minutes is not None and flags.config:
        raise InputError(f"--minutes {flags.minutes:g}: given with --config; set trainer.train_steps instead")
    if flags.image and not flags.in_containers:
        raise InputError(f"--image {flags.image}: given without --in-containers; add it, or leave out --image")
    changes = [*start_changes(flags), *flags.set]
    if flags.max_reject_fraction is not None:
        changes.append(f"preprocess.max_reject_fraction={flags.max_reject_fraction}")
    given = {name: getattr(flags, name) for name in (*DATA, "coco_dir", "val_fraction", "config", "seed", "registry")}
    given = {name: value for name, value in given.items() if value is not None}
    local = {name: getattr(flags, name) for name in ("runs_dir", "demo_data_dir", "minutes")}
    local = {name: value for name, value in local.items() if value is not None}
    request = RunRequest(
        **given,
        changes=tuple(changes),
        init=flags.init or "",
        only_if_changed=bool(flags.only_if_changed),
        cached=not flags.no_cache,
        notify=flags.notify,
        webhook_secret=flags.webhook_secret,
        strict=flags.strict,
    )
    image = (flags.image or IMAGE) if flags.in_containers else ""
    return run(request, LocalOptions(**local, resume=flags.resume, image=image, verbose=flags.verbose))


def _located(start: str | None) -> str | None:
    """A start on this machine by its real path: `runs/latest` will be the new run's link."""
    if not start or start == SCRATCH or "://" in start:
        return start
    from trainer.weights.catalogue import find

    if os.path.exists(start):
        return os.path.realpath(start)
    if find(start) is None and not os.path.exists(f"{start}.index"):
        raise InputError(
            f"--init {start}: no such file or folder; give a path, or a name of centernet init-weights --list"
        )
    return start if find(start) else os.path.abspath(start)


def _refuse_fixed(flags: argparse.Namespace) -> None:
    for name in FIXED_BY_RESUME:
        if getattr(flags, name) is not None:
            flag = f"--{name.replace('_', '-')}"
            raise InputError(f"{flag}: a resumed run keeps its own value; leave out {flag}, or start a new run")
