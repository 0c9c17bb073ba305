"""Exports a finished training as a SavedModel that takes original encoded images.

    python -m trainer.export --checkpoint runs/latest/checkpoint --output saved_model

The label map travels inside (`assets/label_map.json`); `saved_model.pb` is written last, because servers take
it as the ready signal.
"""

import argparse
import json
import os
import sys
import tempfile
import uuid
from typing import Any

import tensorflow as tf
import tf_keras

from beam_preprocess.errors import InputError
from trainer import checkpoints, modeling
from trainer.config import parse_config
from trainer.experiment import build_experiment
from trainer.serving import LABEL_MAP, ServingModule

SAVED_MODEL = "saved_model.pb"


def export(*, checkpoint: str, output: str) -> dict[str, Any]:
    """Writes the SavedModel.

    Args:
      checkpoint: a finished model folder of `trainer.train`.
      output: folder of the SavedModel; one that was exported from the same training is left alone.

    Returns:
      The content of the label map file.

    Raises:
      InputError: the training isn't finished, or the output holds another model.
    """
    summary = checkpoints.read_summary(checkpoint)
    if summary is None:
        raise InputError(
            f"{checkpoint}: no {checkpoints.SUMMARY}; the training isn't finished, run trainer.train again"
        )
    with tf.io.gfile.GFile(os.path.join(checkpoint, "config.yaml")) as file:
        config = parse_config(file.read(), f"{checkpoint}/config.yaml")
    label_map = {
        "categories": summary["categories"],
        "input_size": summary["input_size"],
        "score_threshold": config.export.score_threshold,
        "flip": config.export.flip,
        "train_digest": summary["train_digest"],
        "records_digest": summary["records_digest"],
        "data_digest": summary["data_digest"],
    }
    if tf.io.gfile.exists(os.path.join(output, SAVED_MODEL)):
        if read_label_map(output) != label_map:
            raise InputError(f"{output}: holds the export of another training; remove it or use another folder")
        print(f"result: reused {output}: exported before from the same training", flush=True)
        return label_map

    # Variables are float32 under every policy; exporting under float32 makes decoding and the network exact.
    tf_keras.mixed_precision.set_global_policy("float32")
    experiment = build_experiment(config)
    task = experiment.task
    task.model.num_classes = summary["num_classes"]
    # Replicas are a matter of training; the plain layer has the same variables.
    task.model.norm_activation.use_sync_bn = False
    model = modeling.build_model(task)
    model(tf.zeros([1, *task.model.input_size]), training=False)
    checkpoints.restore_weights(checkpoint, model)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, LABEL_MAP)
        with open(path, "w") as asset:
            json.dump(label_map, asset, indent=1)
        module = ServingModule(
            model,
            input_size=tuple(summary["input_size"]),
            category_ids=_category_ids(summary),
            score_threshold=config.export.score_threshold,
            label_map=path,
            flip=config.export.flip,
        )
        _save(module, output)
    print(f"result: SavedModel with {len(summary['categories'])} classes, input {summary['input_size']}", flush=True)
    return label_map


def _category_ids(summary: dict[str, Any]) -> list[int]:
    """By class index; channels without a category (ids used as indices) keep index + 1, their COCO id."""
    ids = list(range(1, summary["num_classes"] + 1))
    for category in summary["categories"]:
        ids[category["index"]] = category["id"]
    return ids


def _save(module: ServingModule, output: str) -> None:
    """Saves beside the output and moves the files over, saved_model.pb last."""
    temporary = f"{output.rstrip('/')}.tmp-{uuid.uuid4().hex[:8]}"
    tf.saved_model.save(module, temporary, signatures=module.signatures())
    names = [
        os.path.relpath(os.path.join(folder, name), temporary)
        for folder, _, files in tf.io.gfile.walk(temporary)
        for name in files
    ]
    for name in sorted(names, key=lambda n: (n == SAVED_MODEL, n)):
        target = os.path.join(output, name)
        tf.io.gfile.makedirs(os.path.dirname(target))
        tf.io.gfile.rename(os.path.join(temporary, name), target, overwrite=True)
    tf.io.gfile.rmtree(temporary)


def read_label_map(model: str) -> dict[str, Any]:
    """The label map inside a SavedModel.

    Raises:
      InputError: the folder isn't a model of ours.
    """
    path = os.path.join(model, "assets", LABEL_MAP)
    if not tf.io.gfile.exists(os.path.join(model, SAVED_MODEL)) or not tf.io.gfile.exists(path):
        raise InputError(f"{model}: not a SavedModel with assets/{LABEL_MAP}; export one with trainer.export")
    with tf.io.gfile.GFile(path) as file:
        return dict(json.loads(file.read()))


def main(argv: list[str] | None = None) -> int:
    """Exit code 0, or 2 for bad input."""
    parser = argparse.ArgumentParser(
        prog="python -m trainer.export",
        description="Export a finished training as a SavedModel that takes original encoded images.",
        epilog="example: python -m trainer.export --checkpoint runs/latest/checkpoint --output saved_model",
    )
    parser.add_argument("--checkpoint", required=True, help="model folder of trainer.train")
    parser.add_argument("--output", required=True, help="folder of the SavedModel")
    flags = parser.parse_args(argv)
    try:
        export(checkpoint=flags.checkpoint, output=flags.output)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
