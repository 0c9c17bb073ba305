"""Loads the start of a training into its model, whatever kind it is, and says where the weights came from."""

import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
import tf_keras

from beam_preprocess.base.errors import InputError
from beam_preprocess.format.manifest import Manifest
from trainer.config.experiment import CenterNetTask
from trainer.config.networks import pixels_of
from trainer.weights import catalogue, files, loading, mapping, od_api
from trainer.weights.catalogue import Entry
from trainer.weights.finished import SUMMARY as TRAINED
from trainer.weights.loading import Transfer
from trainer.weights.od_api import BuildModel
from trainer.weights.origin import ORIGIN, UNKNOWN, Origin

CONVERTED = "init_weights.json"
"""Next to weights that `centernet init-weights` wrote."""


def load(
    start: str,
    modules: str,
    model: Callable[[], tf_keras.Model],
    *,
    task: CenterNetTask,
    build_model: BuildModel,
    class_names: Sequence[str] = (),
) -> tuple[Transfer, Origin]:
    """Loads the weights that a training starts from; prints one line about them.

    Args:
      start: a name of the catalogue, an archive of the Object Detection API, or what `loading.find_checkpoint` takes.
      modules: one of `live_keys.INITIAL_MODULES`.
      model: gives the built model, once the weights are at hand; it doesn't change if an error is raised.
      task: of the model.
      build_model: builds the network of a task.
      class_names: of the model's classes; empty: unknown.

    Raises:
      InputError: there are no such weights, they aren't available, or they don't fit.
    """
    entry = catalogue.find(start)
    with tempfile.TemporaryDirectory(prefix="centernet-weights-") as folder:
        if entry is None:
            transfer = _from_path(start, modules, model, task, build_model, class_names, folder)
            origin = _origin_of(start, modules, transfer)
        else:
            check_entry(entry, task, modules)
            paths, digests = files.fetch(entry)
            if entry.reader in ("lite0", "keras"):
                transfer = _from_classifier(entry, paths[0], modules, model(), task)
            else:
                path = next(str(path) for path in paths if path.suffix in (".index", ".gz"))
                transfer = _from_path(path, modules, model, task, build_model, class_names, folder)
            origin = _origin(start, modules, transfer, entry.source, entry.licence, entry.trained_on, digests)
    left = loading.listed("fresh, because of another shape", transfer.misfits, transfer.absent)
    print(f"weights: {origin.line()}" + (f"; {left}" if left else ""), flush=True)
    return transfer, origin


def check_entry(entry: Entry, task: CenterNetTask, modules: str) -> None:
    """Refuses weights for another network than the task's.

    Raises:
      InputError: that.
    """
    catalogue.check_fits(entry, task.model.as_dict())
    if modules == "all" and not entry.whole:
        raise InputError(f"task.init_checkpoint_modules: all, but {entry.name} has no heads; set backbone")
    activation = task.model.norm_activation.activation
    if entry.activation and activation != entry.activation:
        print(
            f"warning: task.model.norm_activation.activation is {activation}, and {entry.name} was trained with "
            f"{entry.activation}; set that",
            flush=True,
        )


def _from_path(
    path: str,
    modules: str,
    model: Callable[[], tf_keras.Model],
    task: CenterNetTask,
    build_model: BuildModel,
    class_names: Sequence[str],
    folder: str,
) -> Transfer:
    prefix = od_api.unpacked(path, folder) if path.endswith(od_api.ARCHIVES) else loading.find_checkpoint(path)
    if od_api.is_od_api(prefix):
        return od_api.load(prefix, modules, model, task=task, build_model=build_model, class_names=class_names)
    return loading.load(prefix, modules, model())


def _from_classifier(entry: Entry, path: Path, modules: str, model: tf_keras.Model, task: CenterNetTask) -> Transfer:
    read = mapping.lite0_units(path) if entry.reader == "lite0" else mapping.application_units(entry.application, path)
    ours = pixels_of(task.model)
    loaded = mapping.assign(
        model.backbone, read, where=entry.name, theirs=entry.pixels or ours, ours=ours, epsilon=entry.epsilon
    )
    rest = [part for name, part in model.checkpoint_items.items() if name != "backbone"]
    absent = () if modules == "backbone" else tuple(variable.name for part in rest for variable in part.weights)
    return Transfer(loaded=tuple(loaded), absent=absent, misfits=())


def _origin(
    start: str,
    modules: str,
    transfer: Transfer,
    source: str,
    licence: str,
    trained_on: str,
    digests: Mapping[str, str],
) -> Origin:
    return Origin(
        start=start,
        source=source,
        licence=licence,
        trained_on=trained_on,
        modules=modules,
        loaded=len(transfer.loaded),
        fresh=len(transfer.absent) + len(transfer.misfits),
        sha256=digests,
    )


def _origin_of(path: str, modules: str, transfer: Transfer) -> Origin:
    """The origin of weights at a path: what is written next to them."""
    source, licence, trained_on = "a file given by its path", UNKNOWN, UNKNOWN
    for name, what in ((CONVERTED, "centernet init-weights"), (TRAINED, "an earlier training")):
        file = os.path.join(loading.model_folder(path), name)
        if not tf.io.gfile.exists(file):
            continue
        with tf.io.gfile.GFile(file) as opened:
            content: dict[str, Any] = json.loads(opened.read())
        before = content.get(ORIGIN) or {}
        source = f"{what}, from {before['start']}" if before else what
        licence, trained_on = before.get("licence", UNKNOWN), before.get("trained_on", UNKNOWN)
        if name == TRAINED:
            # Without a start of its own, nobody else's licence applies.
            licence = before.get("licence", "your own")
            trained_on = f"data {str(content.get('data_digest', UNKNOWN))[:12]}" + (
                f" after {trained_on}" if before else ""
            )
        break
    return _origin(path, modules, transfer, source, licence, trained_on, {})


def class_names(manifest: Manifest) -> list[str]:
    """The name of each channel of a model of these records; empty if some channels have no class."""
    names = {category.index: category.name for category in manifest.categories}
    return [names[i] for i in range(manifest.num_classes)] if len(names) == manifest.num_classes else []
