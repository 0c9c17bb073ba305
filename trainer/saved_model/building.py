"""Exports a finished training as a SavedModel that takes original encoded images; `layout` names its files.

Given validation images, the export and the checkpoint must detect the same on them (`parity`), or nothing is exported.
"""

import json
import os
import sys
import tempfile
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import tensorflow as tf
import tf_keras

from beam_preprocess.base.errors import Failure, InputError
from beam_preprocess.base.json import parse
from trainer.config.experiment import CenterNetTask, build_experiment
from trainer.config.networks import multiple_of
from trainer.config.sections import ExportConfig, RunConfig, parse_config
from trainer.model import network, tta
from trainer.saved_model import parity
from trainer.saved_model.inference import load_model, read_label_map
from trainer.saved_model.layout import LABEL_MAP, MODEL_CARD, PARITY, SAVED_MODEL, SERVED
from trainer.saved_model.model_card import model_card
from trainer.saved_model.served_pixels import ServedPixels
from trainer.saved_model.signatures import ServingModule
from trainer.weights import finished


class ExportRefused(Failure):
    """The exported model isn't the one that was trained."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Validation:
    """Images for parity; "" in all fields when none were given."""

    images: str
    annotations: str
    data_digest: str


@dataclass(frozen=True, kw_only=True, slots=True)
class _Trained:
    """The trained network, ready to be served."""

    model: network.CenterNetModel
    input_sizes: Sequence[tuple[int, int]]
    category_ids: list[int]


def export(
    *,
    checkpoint: str,
    output: str,
    config: str = "",
    images: str = "",
    annotations: str = "",
    data_digest: str = "",
    flip: bool | None = None,
    scales: tuple[float, ...] | None = None,
) -> dict[str, Any]:
    """Writes the SavedModel.

    Args:
      checkpoint: a finished model folder of `centernet train`.
      output: folder of the SavedModel. An earlier export of the same training with the same options is reused, unless
        its parity was not measured, or was measured within other bounds, and can be measured now.
      config: YAML text whose `export:` section replaces the checkpoint's, so that another bound or threshold needs no
        new training; its other sections are not used. "" takes the checkpoint's own.
      images: folder of validation images, for parity; "" for none.
      annotations: their COCO annotation file.
      data_digest: identifies both, for parity.json.
      flip: overrides `export.flip`.
      scales: overrides `export.scales`.

    Returns:
      The content of the label map file.

    Raises:
      InputError: the training isn't finished, the output holds another model, or an image can't be used.
      ExportRefused: checkpoint and export detect different things; nothing is left in the output.
    """
    if bool(images) != bool(annotations):
        raise InputError("--images and --annotations belong together; give both, or neither to export without parity")
    summary = finished.require_summary(checkpoint)
    text = finished.read_config(checkpoint)
    run_config = parse_config(text, os.path.join(checkpoint, finished.CONFIG))
    options = parse_config(config).export if config else run_config.export
    changes: dict[str, Any] = {"flip": flip, "scales": scales}
    options = replace(options, **{name: value for name, value in changes.items() if value is not None})
    reason = "no validation images were given" if not images else ""
    if not reason and options.parity_images == 0:
        reason = "export.parity_images is 0"
    label_map = _label_map(summary, options)
    if _is_reused(output, label_map, bounds=None if reason else parity.bounds_of(options)):
        return label_map

    trained = _load(checkpoint, run_config, summary, options)
    temporary = f"{output.rstrip('/')}.tmp-{uuid.uuid4().hex[:8]}"
    try:
        _save(trained, temporary, label_map, options)
        found = None
        if reason:
            print(f"warning: {output}: parity with the checkpoint is not measured: {reason}", file=sys.stderr)
        else:
            validation = _Validation(images=images, annotations=annotations, data_digest=data_digest)
            found = _measured(trained, temporary, options, validation)
            _judge(found, output)
            _write(os.path.join(temporary, PARITY), found.to_json())
        card = model_card(
            summary=summary, options=options, text=text, parity=asdict(found) if found else None, reason=reason
        )
        _write(os.path.join(temporary, MODEL_CARD), card)
        _move(temporary, output)
    finally:
        if tf.io.gfile.exists(temporary):
            tf.io.gfile.rmtree(temporary)
    print(f"result: SavedModel with {len(summary['categories'])} classes, input {summary['input_size']}", flush=True)
    return label_map


def trained_task(config: RunConfig, summary: dict[str, Any]) -> CenterNetTask:
    """The task that the weights belong to. Only train.json has what `--params_override` changed."""
    task: CenterNetTask = build_experiment(config).task
    task.model.override(summary["model"])
    return task


def _label_map(summary: dict[str, Any], options: ExportConfig) -> dict[str, Any]:
    return {
        "categories": summary["categories"],
        "input_size": summary["input_size"],
        "score_threshold": options.score_threshold,
        "flip": options.flip,
        "scales": list(options.scales),
        "augmented_apart": options.augmented_apart,
        "train_digest": summary["train_digest"],
        "records_digest": summary["records_digest"],
        "data_digest": summary["data_digest"],
    }


def _is_reused(output: str, label_map: dict[str, Any], *, bounds: dict[str, float] | None) -> bool:
    """Whether the output already holds this export.

    Args:
      output: the folder.
      label_map: what identifies the export.
      bounds: those of parity, or None when it can't be measured now. An export whose parity was not measured within
        them is removed.
    """
    ready = os.path.join(output, SAVED_MODEL)
    if not tf.io.gfile.exists(ready):
        return False
    if read_label_map(output) != label_map:
        raise InputError(
            f"{output}: holds the export of another training or with other options; remove it or use another folder"
        )
    outdated = bounds is not None and _outdated(os.path.join(output, PARITY), bounds)
    if outdated:
        print(f"{output}: {outdated}; exporting again", flush=True)
        tf.io.gfile.remove(ready)
        return False
    print(f"result: reused {output}: an earlier export of the same training", flush=True)
    return True


def _outdated(path: str, bounds: dict[str, float]) -> str:
    """Why an earlier parity.json doesn't count; empty when it does."""
    if not tf.io.gfile.exists(path):
        return "was exported without parity"
    with tf.io.gfile.GFile(path) as file:
        found = parse(file.read(), path, "remove the export")
    if found.get("schema_version") != parity.PARITY_SCHEMA:
        return "was compared with its checkpoint by an earlier version"
    return "" if found.get("bounds") == bounds else "was compared with its checkpoint within other bounds"


def _load(checkpoint: str, config: RunConfig, summary: dict[str, Any], options: ExportConfig) -> _Trained:
    # Variables are float32 under every policy; exporting under float32 makes decoding and the network exact.
    tf_keras.mixed_precision.set_global_policy("float32")
    task = trained_task(config, summary)
    # Replicas matter in training only; the plain layer has the same variables.
    task.model.norm_activation.use_sync_bn = False
    input_sizes = tta.scaled_sizes(tuple(summary["input_size"]), options.scales, multiple_of(task.model))
    model = network.build_model(task)
    finished.restore_weights(checkpoint, model)
    return _Trained(model=model, input_sizes=input_sizes, category_ids=_category_ids(summary))


def _category_ids(summary: dict[str, Any]) -> list[int]:
    """By class index; channels without a category (ids used as indices) keep index + 1, their COCO id."""
    ids = list(range(1, summary["num_classes"] + 1))
    for category in summary["categories"]:
        ids[category["index"]] = category["id"]
    return ids


def _save(trained: _Trained, folder: str, label_map: dict[str, Any], options: ExportConfig) -> None:
    """Writes the SavedModel. Its model card is empty: it is written when the AP is known."""
    with tempfile.TemporaryDirectory() as assets:
        paths = [os.path.join(assets, os.path.basename(name)) for name in (LABEL_MAP, MODEL_CARD)]
        for path, content in zip(paths, (json.dumps(label_map, indent=1), ""), strict=True):
            with open(path, "w") as file:
                file.write(content)
        module = ServingModule(
            trained.model,
            input_sizes=trained.input_sizes,
            category_ids=trained.category_ids,
            score_threshold=options.score_threshold,
            assets=paths,
            flip=options.flip,
            augmented_apart=options.augmented_apart,
        )
        tf.saved_model.save(module, folder, signatures=module.signatures())


def _measured(trained: _Trained, folder: str, options: ExportConfig, validation: _Validation) -> parity.Parity:
    augmented = not options.augmented_apart
    loaded = load_model(folder)
    pixels = ServedPixels(loaded, trained.input_sizes if augmented else trained.input_sizes[:1])
    return parity.measure(
        checkpoint=parity.checkpoint_detector(
            trained.model,
            pixels=pixels,
            input_size=trained.input_sizes[0],
            category_ids=trained.category_ids,
            flip=options.flip and augmented,
        ),
        exported=parity.export_detector(loaded.signatures[SERVED]),
        pixels=pixels,
        images=validation.images,
        annotations=validation.annotations,
        input_size=trained.input_sizes[0],
        config=options,
        data_digest=validation.data_digest,
    )


def _judge(found: parity.Parity, output: str) -> None:
    """Prints one line about parity, or refuses the export."""
    if not found.passed:
        raise ExportRefused(
            f"{output}: not exported: the export differs from its checkpoint on {found.images} images: "
            f"{'; '.join(found.failures)}. Look for what changed between training and serving; the bounds are "
            f"export.max_… of the configuration (--set changes one without a new training)"
        )
    ap = "no objects" if found.ap_export is None else f"AP {found.ap_export:.4f}, checkpoint {found.ap_checkpoint:.4f}"
    print(
        f"parity: {found.images} images, {found.matched} pairs, {found.unmatched} unmatched, {found.apart} apart, "
        f"at most score {found.max_score_delta:.2g}, box {found.max_box_delta:.2g} px, "
        f"pixels {found.max_pixel_delta:.0f} grey levels, {ap}",
        flush=True,
    )


def _move(temporary: str, output: str) -> None:
    """Moves the files of a finished export into place, saved_model.pb last."""
    names = [
        os.path.relpath(os.path.join(folder, name), temporary)
        for folder, _, files in tf.io.gfile.walk(temporary)
        for name in files
    ]
    for name in sorted(names, key=lambda n: (n == SAVED_MODEL, n)):
        target = os.path.join(output, name)
        tf.io.gfile.makedirs(os.path.dirname(target))
        tf.io.gfile.rename(os.path.join(temporary, name), target, overwrite=True)


def _write(path: str, text: str) -> None:
    """Writes a file inside the temporary folder, which nobody reads before it is moved."""
    tf.io.gfile.makedirs(os.path.dirname(path))
    with tf.io.gfile.GFile(path, "w") as file:
        file.write(text)
