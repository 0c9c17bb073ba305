"""Exports a finished training as a SavedModel that takes original encoded images.

    python -m trainer.export --checkpoint runs/latest/checkpoint --output saved_model \\
        --images val2017 --annotations annotations/instances_val2017.json
    python -m trainer.export --checkpoint runs/latest/checkpoint --output augmented --flip --scales 1,1.25

With images, the export and the checkpoint must detect the same on them (`parity`), or nothing is exported.

assets/label_map.json       categories, digests, options
assets/model_card.md        the same for people
assets.extra/parity.json    what was compared; absent where no images were given
saved_model.pb              moved here last: servers take it as the ready signal
"""

import argparse
import json
import os
import sys
import tempfile
import uuid
from dataclasses import asdict, replace
from typing import Any

if __name__ == "__main__":
    # Before TensorFlow is imported: it speaks of missing drivers on every start.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import tensorflow as tf
import tf_keras

from beam_preprocess.base.errors import InputError
from trainer.config.experiment import CenterNetTask, build_experiment
from trainer.config.sections import ExportConfig, RunConfig, parse_config
from trainer.model import network, tta
from trainer.saved_model import parity
from trainer.saved_model.model_card import MODEL_CARD, model_card
from trainer.saved_model.signatures import LABEL_MAP, ServingModule
from trainer.training import checkpoints

SAVED_MODEL = "saved_model.pb"
PARITY = os.path.join("assets.extra", "parity.json")


class ExportRefused(Exception):
    """The exported model isn't the one that was trained."""


def export(
    *,
    checkpoint: str,
    output: str,
    images: str = "",
    annotations: str = "",
    data_digest: str = "",
    flip: bool | None = None,
    scales: tuple[float, ...] | None = None,
) -> dict[str, Any]:
    """Writes the SavedModel.

    Args:
      checkpoint: a finished model folder of `trainer.train`.
      output: folder of the SavedModel; one that was exported from the same training with the same options is left
        alone, unless its parity is unknown and can be measured now.
      images: folder of validation images, for parity; "" for none.
      annotations: their COCO annotation file.
      data_digest: identifies both, for parity.json.
      flip: in place of the configuration's `export.flip`.
      scales: in place of `export.scales`.

    Returns:
      The content of the label map file.

    Raises:
      InputError: the training isn't finished, the output holds another model, or an image can't be used.
      ExportRefused: checkpoint and export detect different things; nothing is left in the output.
    """
    if bool(images) != bool(annotations):
        raise InputError("--images and --annotations belong together; give both, or none for an export without parity")
    summary = checkpoints.read_summary(checkpoint)
    if summary is None:
        raise InputError(
            f"{checkpoint}: no {checkpoints.SUMMARY}; the training isn't finished, run trainer.train again"
        )
    with tf.io.gfile.GFile(os.path.join(checkpoint, "config.yaml")) as file:
        text = file.read()
    config = parse_config(text, f"{checkpoint}/config.yaml")
    changes: dict[str, Any] = {"flip": flip, "scales": scales}
    options = replace(config.export, **{name: value for name, value in changes.items() if value is not None})
    measured = bool(images) and options.parity_images > 0
    label_map = _label_map(summary, options)
    if _is_reused(output, label_map, measured=measured):
        return label_map

    # Variables are float32 under every policy; exporting under float32 makes decoding and the network exact.
    tf_keras.mixed_precision.set_global_policy("float32")
    task = _trained_task(config, summary)
    # Replicas are a matter of training; the plain layer has the same variables.
    task.model.norm_activation.use_sync_bn = False
    input_sizes = tta.scaled_sizes(tuple(summary["input_size"]), options.scales, task.model.backbone.get().model_id)
    model = network.build_model(task)
    model(tf.zeros([1, *task.model.input_size]), training=False)
    checkpoints.restore_weights(checkpoint, model)
    temporary = f"{output.rstrip('/')}.tmp-{uuid.uuid4().hex[:8]}"
    try:
        with tempfile.TemporaryDirectory() as folder:
            module = ServingModule(
                model,
                input_sizes=input_sizes,
                category_ids=_category_ids(summary),
                score_threshold=options.score_threshold,
                assets=_write_assets(folder, label_map),
                flip=options.flip,
                augmented_apart=options.augmented_apart,
            )
            tf.saved_model.save(module, temporary, signatures=module.signatures())
        found = None
        if measured:
            served = not options.augmented_apart
            found = parity.measure(
                checkpoint=parity.checkpoint_detector(
                    model,
                    input_sizes=input_sizes if served else input_sizes[:1],
                    category_ids=_category_ids(summary),
                    flip=options.flip and served,
                ),
                exported=parity.export_detector(temporary),
                images=images,
                annotations=annotations,
                input_size=input_sizes[0],
                config=options,
                data_digest=data_digest,
            )
            _judge(found, output)
            _write(os.path.join(temporary, PARITY), found.to_json())
        reason = "no validation images were given" if not images else "export.parity_images is 0"
        if not measured:
            print(f"warning: {output}: parity with the checkpoint is not measured: {reason}", file=sys.stderr)
        card = model_card(
            summary=summary, config=options, text=text, parity=asdict(found) if found else None, reason=reason
        )
        _write(os.path.join(temporary, "assets", MODEL_CARD), card)
        _move(temporary, output)
    finally:
        if tf.io.gfile.exists(temporary):
            tf.io.gfile.rmtree(temporary)
    print(f"result: SavedModel with {len(summary['categories'])} classes, input {summary['input_size']}", flush=True)
    return label_map


def _trained_task(config: RunConfig, summary: dict[str, Any]) -> CenterNetTask:
    """The task whose weights these are; what --params_override changed stands in train.json alone."""
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


def _is_reused(output: str, label_map: dict[str, Any], *, measured: bool) -> bool:
    """Whether the output already holds this export. One without parity is removed when parity can be measured."""
    ready = os.path.join(output, SAVED_MODEL)
    if not tf.io.gfile.exists(ready):
        return False
    if read_label_map(output) != label_map:
        raise InputError(
            f"{output}: holds the export of another training or with other options; remove it or use another folder"
        )
    if measured and not tf.io.gfile.exists(os.path.join(output, PARITY)):
        print(f"{output}: was exported without parity; it is exported again", flush=True)
        tf.io.gfile.remove(ready)
        return False
    print(f"result: reused {output}: exported before from the same training", flush=True)
    return True


def _write_assets(folder: str, label_map: dict[str, Any]) -> list[str]:
    """The asset files; the card has its place, and is filled in when the AP is known."""
    paths = [os.path.join(folder, LABEL_MAP), os.path.join(folder, MODEL_CARD)]
    for path, content in zip(paths, (json.dumps(label_map, indent=1), ""), strict=True):
        with open(path, "w") as file:
            file.write(content)
    return paths


def _judge(found: parity.Parity, output: str) -> None:
    """One line about parity, or the refusal."""
    if not found.passed:
        raise ExportRefused(
            f"{output}: not exported: the export differs from its checkpoint on {found.images} images: "
            f"{'; '.join(found.failures)}. Look for what changed between training and serving; the bounds are "
            f"export.max_… of the configuration"
        )
    ap = "no objects" if found.ap_export is None else f"AP {found.ap_export:.4f}, checkpoint {found.ap_checkpoint:.4f}"
    print(
        f"parity: {found.images} images, {found.matched} pairs, {found.unmatched} unmatched, "
        f"score {found.max_score_delta:.2g}, box {found.max_box_delta:.2g} px, {ap}",
        flush=True,
    )


def _category_ids(summary: dict[str, Any]) -> list[int]:
    """By class index; channels without a category (ids used as indices) keep index + 1, their COCO id."""
    ids = list(range(1, summary["num_classes"] + 1))
    for category in summary["categories"]:
        ids[category["index"]] = category["id"]
    return ids


def _move(temporary: str, output: str) -> None:
    """Moves the files of a finished export to their place, saved_model.pb last."""
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
    tf.io.gfile.makedirs(os.path.dirname(path))
    with tf.io.gfile.GFile(path, "w") as file:
        file.write(text)


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
    """Exit code 0, 2 for bad input, or 1 when the export was refused."""
    parser = argparse.ArgumentParser(
        prog="python -m trainer.export",
        description="Export a finished training as a SavedModel that takes original encoded images.",
        epilog=(__doc__ or "").split("\n\n", 1)[1],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--checkpoint", required=True, help="model folder of trainer.train")
    parser.add_argument("--output", required=True, help="folder of the SavedModel")
    parser.add_argument("--images", default="", help="folder of validation images, for parity with the checkpoint")
    parser.add_argument("--annotations", default="", help="their COCO annotation file")
    parser.add_argument(
        "--flip",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="average over the image and its mirror (default: the configuration's export.flip)",
    )
    parser.add_argument(
        "--scales", metavar="1,S,...", help="average over these scales (default: the configuration's export.scales)"
    )
    flags = parser.parse_args(argv)
    try:
        export(
            checkpoint=flags.checkpoint,
            output=flags.output,
            images=flags.images,
            annotations=flags.annotations,
            flip=flags.flip,
            scales=_scales(flags.scales),
        )
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except ExportRefused as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _scales(text: str | None) -> tuple[float, ...] | None:
    try:
        return None if text is None else tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"--scales {text}: is no list of numbers; use 1,1.25") from error


if __name__ == "__main__":
    sys.exit(main())
