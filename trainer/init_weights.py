"""Makes a starting point for training from somebody's checkpoint.

    python -m trainer.init_weights --from extremenet.tar.gz --to init --config_file coco-centernet-hourglass-gpu
    python -m trainer.init_weights --from runs/coco/train --to init --modules matching --num_classes 6 \\
        --config_file coco-centernet-hourglass-gpu

Takes a finished training or an interrupted one of ours, a Model Garden checkpoint, or an archive of the Object
Detection API (ExtremeNet, CenterNet Hourglass-104), as a .tar.gz or unpacked. Writes a folder for
`task.init_checkpoint`; `init_weights.json` in it is written last and names every variable.
"""

import argparse
import contextlib
import dataclasses
import io
import json
import os
import sys
import tarfile
import tempfile
from pathlib import Path

if __name__ == "__main__":
    # Before TensorFlow is imported: it speaks of missing drivers on every start.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import tensorflow as tf
import tf_keras
from official.projects.centernet.utils.checkpoints import load_weights, read_checkpoints

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.files import write_text
from trainer.config.experiment import CenterNetTask, build_experiment
from trainer.config.live_keys import INITIAL_MODULES
from trainer.config.sections import find_config, parse_config
from trainer.data.input_pipeline import load_manifest
from trainer.model import network
from trainer.weights import loading
from trainer.weights.loading import Transfer

SUMMARY = "init_weights.json"
OD_API_NETWORK = "model/_feature_extractor/_network/"
OD_API_HEADS = "model/_prediction_head_dict/"
_CLASS_BIAS = f"{OD_API_HEADS}object_center/0/layer_with_weights-1/bias/.ATTRIBUTES/VARIABLE_VALUE"
EXTRACTED_LIMIT = 8 << 30
"""Bytes; Hourglass-104 with its optimizer is 2.3 GB."""


def init_weights(*, source: str, output: str, config: str, modules: str = "backbone", num_classes: int = 0) -> Transfer:
    """Converts and writes.

    Args:
      source: URI of a checkpoint's folder or prefix, or of a .tar.gz.
      output: folder to write.
      config: YAML text; its `task.model` is what the weights are for.
      modules: one of `experiment.INITIAL_MODULES`.
      num_classes: of the new model; needed for heads.

    Raises:
      InputError: the source is no such checkpoint, or doesn't fit the model: its variables are named.
    """
    if modules not in INITIAL_MODULES:
        raise InputError(f"--modules {modules}: use one of {', '.join(INITIAL_MODULES)}")
    if modules != "backbone" and num_classes < 1:
        raise InputError(f"--num_classes {num_classes}: the heads' shape depends on it; give 1 or more, or --records")
    task = build_experiment(parse_config(config)).task
    task.model.num_classes = num_classes or 1
    summary = os.path.join(output, SUMMARY)
    try:
        # Now, and not after an archive of gigabytes was converted.
        tf.io.gfile.makedirs(output)
        if tf.io.gfile.exists(summary):
            tf.io.gfile.remove(summary)
    except tf.errors.OpError as error:
        raise InputError(f"--to {output}: can't be written: {error.message}; give another folder") from error
    with tempfile.TemporaryDirectory() as folder:
        found = _unpacked(source, folder) if source.endswith((".tar.gz", ".tgz")) else source
        prefix = loading.find_checkpoint(found)
        if _is_od_api(prefix):
            prefix = _converted(prefix, task, modules, os.path.join(folder, "converted"))
        model = network.build_model(task)
        transfer = loading.load(prefix, modules, model)
    items = {"backbone": model.backbone} | ({} if modules == "backbone" else {"head": model.head})
    tf.train.Checkpoint(**items).write(os.path.join(output, loading.WEIGHTS))
    content = {"source": source, "modules": modules, "num_classes": num_classes, **dataclasses.asdict(transfer)}
    write_text(summary, json.dumps(content, indent=1) + "\n")
    return transfer


def _unpacked(archive: str, folder: str) -> str:
    """The folder of the one checkpoint in an archive."""
    try:
        with tf.io.gfile.GFile(archive, "rb") as file, tarfile.open(fileobj=file, mode="r|gz") as tar:
            size = 0
            for member in tar:
                size += member.size
                if size > EXTRACTED_LIMIT:
                    raise InputError(f"{archive}: unpacks to more than {EXTRACTED_LIMIT >> 30} GB; unpack it yourself")
                tar.extract(member, folder, filter="data")
    except (tf.errors.NotFoundError, tarfile.TarError, EOFError, OSError) as error:
        raise InputError(f"{archive}: can't be unpacked: {' '.join(str(error).split())[:200]}") from error
    prefixes = sorted(str(path.with_suffix("")) for path in Path(folder).rglob("*.index"))
    if len(prefixes) != 1:
        raise InputError(f"{archive}: holds {len(prefixes)} checkpoints; unpack it and give the prefix of one")
    return prefixes[0]


def _is_od_api(prefix: str) -> bool:
    return any(name.startswith(OD_API_NETWORK) for name in tf.train.load_checkpoint(prefix).get_variable_to_shape_map())


def _converted(prefix: str, task: CenterNetTask, modules: str, output: str) -> str:
    """The checkpoint under our names, by Model Garden's own converter."""
    shapes = tf.train.load_checkpoint(prefix).get_variable_to_shape_map()
    has_heads = _CLASS_BIAS in shapes
    if modules == "all" and not has_heads:
        raise InputError(f"{prefix}: has no CenterNet heads (ExtremeNet?); use --modules backbone")
    theirs: CenterNetTask = task.replace()
    if has_heads:
        theirs.model.num_classes = shapes[_CLASS_BIAS][0]
    model = network.build_model(theirs)
    log = io.StringIO()
    try:
        with contextlib.redirect_stdout(log):  # a line a layer
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
        raise ValueError(f"{loaded} of {part.count_params()} values of {part.name} were in the checkpoint")


def main(argv: list[str] | None = None) -> int:
    """Exit code 0, or 2 for bad input."""
    parser = argparse.ArgumentParser(
        prog="python -m trainer.init_weights",
        description="Make a starting point for training from a checkpoint.",
        epilog=__doc__.split("\n\n", 1)[1] if __doc__ else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--from", dest="source", required=True, help="folder, checkpoint prefix or .tar.gz")
    parser.add_argument("--to", dest="output", required=True, help="folder to write, for task.init_checkpoint")
    parser.add_argument("--config_file", required=True, help="YAML file, or the name of a shipped config")
    parser.add_argument(
        "--modules",
        default="backbone",
        choices=INITIAL_MODULES,
        help="backbone; backbone and the head's layers whose shapes match; all (default: %(default)s)",
    )
    parser.add_argument("--num_classes", type=int, default=0, help="of the new model, for heads")
    parser.add_argument("--records", default="", help="folder of records that tells the number of classes instead")
    flags = parser.parse_args(argv)
    try:
        if flags.records and flags.num_classes:
            raise InputError(f"--records {flags.records} and --num_classes {flags.num_classes}: give one of them")
        transfer = init_weights(
            source=flags.source,
            output=flags.output,
            config=find_config(flags.config_file).read_text(),
            modules=flags.modules,
            num_classes=load_manifest(flags.records).num_classes if flags.records else flags.num_classes,
        )
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(
        f"result: {flags.output}: {len(transfer.loaded)} variables; set task.init_checkpoint to it and "
        f"task.init_checkpoint_modules to {'backbone' if flags.modules == 'backbone' else 'all'}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
