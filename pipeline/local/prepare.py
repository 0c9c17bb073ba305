"""From a request to the folder of a run: everything that can be known to be wrong is refused before it exists."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO

from beam_preprocess.base.config_text import ConfigText, resolve
from beam_preprocess.base.errors import InputError
from beam_preprocess.dataset.foreign import recognise_folder
from beam_preprocess.dataset.split import check_fraction, first_images, split_by_content
from beam_preprocess.dataset.warnings import block
from beam_preprocess.format.annotations import class_map
from pipeline.graph.layouts import coco_layout, known_files
from pipeline.graph.request import RunRequest
from pipeline.local import cache as local_cache
from pipeline.local import demo_data, kfp_runner, run_folder
from pipeline.local.run_folder import RunFolder, existing_folder, shown
from pipeline.preflight.configuration import ConfigCheck
from pipeline.preflight.data import LocalData, check_data
from pipeline.preflight.estimates import check_space, estimate
from pipeline.preflight.folders import check_writable
from pipeline.preflight.weights import check_start, check_weights
from pipeline.recommend.hardware import CPU
from pipeline.recommend.write import MINUTES, before_data, write
from trainer.config.export_config import BOUNDS
from trainer.config.sections import RunConfig, parse_config
from trainer.promotion.resolve import published, was_champion
from trainer.registry.uri import open_registry

DEMO_CONFIG = "demo"
REGISTRY = "registry"
TRIALS = ".trials.json"
"""File below the runs' folder with what the trials of this machine measured."""
SPLITS = ".splits"
"""Folder below the runs' folder for the annotation files that `--val-fraction` writes."""
UNTRAINED_IMAGES = 16
"""Training images of a run with 0 steps."""
JUDGING = ("gate", *(f"export.{name}" for name in BOUNDS))
"""What a resumed run may change: sections and keys that judge a model, and change nothing about it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalOptions:
    """What only runs on this machine have."""

    runs_dir: str = "runs"
    demo_data_dir: str = ".demo-data"
    resume: str = ""
    """Folder of an earlier run."""
    image: str = ""
    """Image of the containers that the stages run in; "" runs them as processes."""
    verbose: bool = False
    minutes: float | None = None
    """Of training, for a configuration that is written from the data."""


def new_run(request: RunRequest, options: LocalOptions) -> RunFolder:
    """The folder of a new run. Without data, the demo's data is generated.

    Raises:
      InputError: data, configuration or a folder can't be used, or the disk is too small.
    """
    if request.val_fraction:
        check_fraction(request.val_fraction)
    data = located(request)
    new_images = _new_images(request, bool(data))
    runs, registry = Path(options.runs_dir).absolute(), Path(request.registry or REGISTRY).absolute()
    if data and not request.config_or(""):
        minutes = MINUTES if options.minutes is None else options.minutes
        made_with = before_data(CPU, minutes, request.changes)
        check_start(made_with, made_with.where)
        _check_writable(runs, registry)
        if request.val_fraction:
            data = split(data, request.val_fraction, str(runs / SPLITS))
        config = _written(data, made_with, request, minutes, runs / TRIALS)
        request = replace(request, val_fraction=0.0)
    elif options.minutes is not None:
        raise InputError(f"--minutes {options.minutes:g}: only for your own data without --config; leave it out")
    else:
        config = resolve(request.config_or(DEMO_CONFIG), request.changes)
    parsed = parse_config(config.text, config.where)
    print(f"weights              {check_start(parsed, config.where)}", flush=True)
    if parsed.deploy is not None:
        print("deploy               the section is for Vertex AI: nothing is deployed by this run", flush=True)
    _check_writable(runs, registry)
    config_check = ConfigCheck(config, local_cache.valid_configurations(runs))
    try:
        if not data:
            data = _demo_data(Path(options.demo_data_dir).absolute())
        if request.val_fraction:
            data = split(data, request.val_fraction, str(runs / SPLITS))
        if parsed.experiment["trainer"].get("train_steps") == 0:
            data = _without_training(data, runs)
        checked = check_data(data, parsed.preprocess, strict=request.strict)
        _show(checked)
        kfp_runner.load()  # while the other process still checks
        config_check.wait()  # the estimate reads values of Model Garden's sections
        check_weights(parsed, config, class_map(checked.parsed["train"].categories, parsed.preprocess.class_index)[1])
        expected = estimate(checked, parsed, runs)
        print(f"estimate             {expected.line()}", flush=True)
        check_space(expected, runs)
    finally:
        config_check.stop()
    values: dict[str, Any] = {**data, "config": config.text, "registry": str(registry), "seed": request.seed}
    if request.only_if_changed:
        values["only_if_changed"] = True
    return run_folder.create(runs, values | new_images, checked.warnings, options.image, request.pipeline)


def resumed_run(request: RunRequest, options: LocalOptions) -> RunFolder:
    """The folder of an earlier run, with the request's changes in its configuration.

    Raises:
      InputError: not the folder of a run, its data is gone, a change that would train again, or a change of a run that
        has promoted its model.
    """
    folder = run_folder.resume(Path(options.resume))
    changed = _judged_again(folder, request.changes) if request.changes else None
    arguments = folder.arguments()
    _show(check_data(arguments, parse_config(arguments["config"]).preprocess, strict=request.strict))
    check_writable(Path(arguments["registry"]), "--registry")
    if changed:
        folder.change(changed.text, request.changes)
    return folder


def _new_images(request: RunRequest, own_data: bool) -> dict[str, str]:
    """What only a watch has, with an absolute path.

    Raises:
      InputError: there are no such images, or it is unknown how the champion was trained.
    """
    new = request.watched()
    if not new:
        return {}
    if own_data and not request.config_or(""):
        raise InputError(
            "--config: not given; a watch trains as the champion was trained: give its run's, such as "
            "runs/latest/config.yaml"
        )
    path = str(Path(new["images"]).absolute())
    if not existing_folder(path).is_dir():
        raise InputError(f"--images {request.images}: no such folder; give the folder of the new images")
    return {**new, "images": path}


def _check_writable(runs: Path, registry: Path) -> None:
    check_writable(runs, "--runs-dir")
    check_writable(registry, "--registry")


def _written(
    data: Mapping[str, str], made_with: RunConfig, request: RunRequest, minutes: float, trials: Path
) -> ConfigText:
    """The configuration written from the data; prints its choices."""
    checked = check_data(data, made_with.preprocess, strict=request.strict)
    written = write(checked.parsed, checked.folders["train"], minutes=minutes, changes=request.changes, known=trials)
    for title, line in written.lines.items():
        print(f"{title:<20} {line}", flush=True)
    return written.config(request.changes)


def located(request: RunRequest) -> dict[str, str]:
    """The request's data as absolute paths, in whatever layout its folder has.

    Raises:
      InputError: the folder has none that is known.
    """
    if not request.coco_dir:
        return {name: str(Path(value).absolute()) for name, value in request.data().items()}
    folder = Path(request.coco_dir).absolute()
    if not folder.is_dir():
        raise InputError(f"--coco-dir {request.coco_dir}: no such folder; give the folder of the data set")
    found = replace(request, coco_dir=str(folder)).located(os.path.exists).data()
    if not any(os.path.isfile(path) for path in found.values()):
        other = recognise_folder(str(folder))
        if other:
            raise InputError(f"--coco-dir {request.coco_dir}: {other}")
        raise InputError(
            f"--coco-dir {request.coco_dir}: has none of the annotation files {known_files()}; give the four data "
            "flags instead"
        )
    return found


def split(data: Mapping[str, str], fraction: float, folder: str, out: TextIO | None = None) -> dict[str, str]:
    """The data parameters of both splits of one annotation file, which are written into a folder."""
    images = data["train_images"]
    made = split_by_content(images, data["train_annotations"], fraction, folder)
    print(made.line(fraction), flush=True, file=out)
    return {
        "train_images": images,
        "train_annotations": made.train,
        "val_images": images,
        "val_annotations": made.val,
    }


def _without_training(data: Mapping[str, str], runs: Path) -> dict[str, str]:
    """The data of a run that trains no step: of the training images only a few, which the records' form needs."""
    few = first_images(data["train_images"], data["train_annotations"], UNTRAINED_IMAGES, str(runs / SPLITS))
    print(f"training             none: {UNTRAINED_IMAGES} of the training images at most are preprocessed", flush=True)
    return {**data, "train_annotations": few}


def _show(data: LocalData) -> None:
    if data.warnings:
        print(block(data.warnings), flush=True)


def _judged_again(folder: RunFolder, changes: Sequence[str]) -> ConfigText:
    for change in changes:
        key = change.partition("=")[0].strip()
        if not {key, key.partition(".")[0]} & set(JUDGING):
            raise InputError(
                f"--set {change}: --resume takes keys of gate: and the bounds of export: ({', '.join(BOUNDS)}) only; "
                "leave out --resume for a new run, which reuses what the change leaves as it is"
            )
    arguments = folder.arguments()
    store = open_registry(arguments["registry"])
    own = published(store, arguments["run_id"])
    if own and was_champion(store, own.version):
        raise InputError(
            f"--set {changes[0]}: the run has promoted {own.version}, and no new judgement takes that back; start a "
            "new run, or return to an earlier champion with centernet registry rollback"
        )
    config = resolve(str(folder.config), changes)
    parse_config(config.text, config.where)
    return config


def _demo_data(folder: Path) -> dict[str, str]:
    made = demo_data.generate(folder)
    print(f"demo data            {shown(folder)}", flush=True)
    return coco_layout(str(made))
