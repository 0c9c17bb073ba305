"""Makes a starting point for training from a checkpoint: ours, Model Garden's or the Object Detection API's.

It reads a finished or interrupted training of ours, a Model Garden checkpoint, or an archive of the Object Detection
API (ExtremeNet, CenterNet Hourglass-104), as a .tar.gz or unpacked. It writes a folder for `task.init_checkpoint`.
"""

import contextlib
import dataclasses
import io
import json
import os
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

import tensorflow as tf
import tf_keras
from official.projects.centernet.utils.checkpoints import load_weights, read_checkpoints

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.files import write_text
from trainer.config.experiment import CenterNetTask
from trainer.config.live_keys import INITIAL_MODULES
from trainer.config.networks import HOURGLASS
from trainer.weights import loading
from trainer.weights.loading import Transfer

SUMMARY = "init_weights.json"
"""Written last; names every variable."""
OD_API_NETWORK = "model/_feature_extractor/_network/"
OD_API_HEADS = "model/_prediction_head_dict/"
_CLASS_BIAS = f"{OD_API_HEADS}object_center/0/layer_with_weights-1/bias/.ATTRIBUTES/VARIABLE_VALUE"
EXTRACTED_LIMIT = 8 << 30
"""Bytes; Hourglass-104 with its optimizer has 2.3 GB."""

BuildModel = Callable[[CenterNetTask], tf_keras.Model]


def convert(
    *,
    source: str,
    output: str,
    task: CenterNetTask,
    build_model: BuildModel,
    modules: str = "backbone",
    num_classes: int = 0,
) -> Transfer:
    """Writes the starting point.

    Args:
      source: URI of a checkpoint's folder or prefix, or of a .tar.gz.
      output: folder to write.
      task: its `model` is the network that the weights are for.
      build_model: builds the network of a task.
      modules: one of `live_keys.INITIAL_MODULES`.
      num_classes: of the new model; needed for heads.

    Raises:
      InputError: the source is not such a checkpoint, or doesn't fit the model; the message names the variables.
    """
    if modules not in INITIAL_MODULES:
        raise InputError(f"--modules {modules}: use one of {', '.join(INITIAL_MODULES)}")
    if modules != "backbone" and num_classes < 1:
        raise InputError(
            f"--num-classes {num_classes}: the shape of the heads depends on it; give 1 or more, or --records"
        )
    task = task.replace()
    task.model.num_classes = num_classes or 1
    summary = os.path.join(output, SUMMARY)
    try:
        # Before an archive of gigabytes is converted.
        tf.io.gfile.makedirs(output)
        if tf.io.gfile.exists(summary):
            tf.io.gfile.remove(summary)
    except tf.errors.OpError as error:
        raise InputError(f"--to {output}: can't be written: {error.message}; give another folder") from error
    with tempfile.TemporaryDirectory() as folder:
        found = _unpacked(source, folder) if source.endswith((".tar.gz", ".tgz")) else source
        prefix = loading.find_checkpoint(found)
        if _is_od_api(prefix):
            prefix = _od_api_converted(prefix, task, build_model, modules, os.path.join(folder, "converted"))
        model = build_model(task)
        transfer = loading.load(prefix, modules, model)
    items = {"backbone": model.backbone} if modules == "backbone" else model.checkpoint_items
    tf.train.Checkpoint(**items).write(os.path.join(output, loading.WEIGHTS))
    content = {"source": source, "modules": modules, "num_classes": num_classes, **dataclasses.asdict(transfer)}
    write_text(summary, json.dumps(content, indent=1) + "\n")
    return transfer


def _unpacked(archive: str, folder: str) -> str:
    """Unpacks an archive; the prefix of the only checkpoint in it."""
    try:
        with tf.io.gfile.GFile(archive, "rb") as file, tarfile.open(fileobj=file, mode="r|gz") as tar:
            size = 0
            for member in tar:
                size += member.size
                if size > EXTRACTED_LIMIT:
                    raise InputError(f"{archive}: unpacks to more than {EXTRACTED_LIMIT >> 30} GB; unpack it yourself")
                tar.extract(member, folder, filter="data")
    except (tf.errors.NotFoundError, tarfile.TarError, EOFError, OSError) as error:
        raise InputError(
            f"{archive}: can't be unpacked ({' '.join(str(error).split())[:200]}); give a .tar.gz with one checkpoint"
        ) from error
    prefixes = sorted(str(path.with_suffix("")) for path in Path(folder).rglob("*.index"))
    if len(prefixes) != 1:
        raise InputError(f"{archive}: holds {len(prefixes)} checkpoints; unpack it and give the prefix of one")
    return prefixes[0]


def _is_od_api(prefix: str) -> bool:
    return any(name.startswith(OD_API_NETWORK) for name in tf.train.load_checkpoint(prefix).get_variable_to_shape_map())


def _od_api_converted(prefix: str, task: CenterNetTask, build_model: BuildModel, modules: str, output: str) -> str:
    """The checkpoint under our names, by Model Garden's own converter."""
    if task.model.backbone.type != HOURGLASS:
        raise InputError(
            f"{prefix}: an Hourglass of the Object Detection API, but task.model.backbone.type is "
            f"{task.model.backbone.type}; give a configuration with the hourglass"
        )
    shapes = tf.train.load_checkpoint(prefix).get_variable_to_shape_map()
    has_heads = _CLASS_BIAS in shapes
    if modules == "all" and not has_heads:
        raise InputError(f"{prefix}: has no CenterNet heads (ExtremeNet?); use --modules backbone")
    theirs: CenterNetTask = task.replace()
    if has_heads:
        theirs.model.num_classes = shapes[_CLASS_BIAS][0]
    model = build_model(theirs)
    log = io.StringIO()
    try:
        with contextlib.redirect_stdout(log):  # one line per layer
            weights, _ = read_checkpoints.get_ckpt_weights_as_dict(prefix)
            extractor = weights["model"]["_feature_extractor"]["_network"]
            _check_count(
                model.backbone, load_weights.load_weights_backbone(model.backbone, extractor, "hourglass104_512")
            )
            if has_heads and modules != "backbone":
                heads = weights["model"]["_prediction_head_dict"]
                _check_count(model.head, load_weights.load_weights_head(model.head, heads, "detection_2d"))
    except (KeyError, ValueError, IndexError) as error:
        raise InputError(
            f"{prefix}: doesn't fit task.model (Hourglass {task.model.backbone.hourglass.model_id} x "
            f"{task.model.backbone.hourglass.num_hourglasses}): {' '.join(str(error).split())[:300]}"
        ) from error
    items = {"backbone": model.backbone} | ({"head": model.head} if has_heads and modules != "backbone" else {})
    return str(tf.train.Checkpoint(**items).write(output))


def _check_count(part: tf_keras.Model, loaded: int) -> None:
    if loaded != part.count_params():
        raise ValueError(f"the checkpoint holds {loaded} of {part.count_params()} values of {part.name}")
