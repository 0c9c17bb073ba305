"""Checkpoints of the Object Detection API: its archives, and their weights under Model Garden's names."""

import contextlib
import io
import shutil
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

import tensorflow as tf
import tf_keras
from official.projects.centernet.utils.checkpoints import load_weights, read_checkpoints

from beam_preprocess.base.errors import InputError
from trainer.config.experiment import CenterNetTask
from trainer.config.networks import HOURGLASS
from trainer.weights import coco_classes
from trainer.weights.loading import Transfer

NETWORK = "model/_feature_extractor/_network/"
_CLASS_BIAS = "model/_prediction_head_dict/object_center/0/layer_with_weights-1/bias/.ATTRIBUTES/VARIABLE_VALUE"
EXTRACTED_LIMIT = 8 << 30
"""Bytes; Hourglass-104 with its optimizer has 2.3 GB."""
ARCHIVES = (".tar.gz", ".tgz")

BuildModel = Callable[[CenterNetTask], tf_keras.Model]


def unpacked(archive: str, folder: str) -> str:
    """Unpacks an archive; the prefix of the only checkpoint in it.

    Raises:
      InputError: it is missing, cut or too large, or doesn't hold one checkpoint.
    """
    try:
        with tf.io.gfile.GFile(archive, "rb") as file, tarfile.open(fileobj=file, mode="r|gz") as tar:
            size = 0
            for member in tar:
                size += member.size
                if size > EXTRACTED_LIMIT:
                    raise InputError(f"{archive}: unpacks to more than {EXTRACTED_LIMIT >> 30} GB; unpack it yourself")
                _extract(archive, tar, member, Path(folder))
    except (tf.errors.NotFoundError, tarfile.TarError, EOFError, OSError) as error:
        raise InputError(
            f"{archive}: can't be unpacked ({' '.join(str(error).split())[:200]}); give a .tar.gz with one checkpoint"
        ) from error
    prefixes = sorted(str(path.with_suffix("")) for path in Path(folder).rglob("*.index"))
    if len(prefixes) != 1:
        raise InputError(f"{archive}: holds {len(prefixes)} checkpoints; unpack it and give the prefix of one")
    return prefixes[0]


def _extract(archive: str, tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    """Writes a member below the folder. The filters of `tarfile` are missing in Python 3.11.3 and earlier."""
    path = (folder / member.name).resolve()
    if not path.is_relative_to(folder.resolve()) or not (member.isfile() or member.isdir()):
        raise InputError(f"{archive}: {member.name!r} is neither a file nor a folder inside of it; unpack it yourself")
    source = tar.extractfile(member)
    if source is not None:  # a folder has none
        path.parent.mkdir(parents=True, exist_ok=True)
        with source, path.open("wb") as target:
            shutil.copyfileobj(source, target)


def is_od_api(prefix: str) -> bool:
    """Whether a checkpoint is the Object Detection API's.

    Raises:
      InputError: it can't be read.
    """
    return any(name.startswith(NETWORK) for name in _shapes(prefix))


def load(
    prefix: str,
    modules: str,
    model: Callable[[], tf_keras.Model],
    *,
    task: CenterNetTask,
    build_model: BuildModel,
    class_names: Sequence[str] = (),
) -> Transfer:
    """Loads an Hourglass of the Object Detection API into a model, by Model Garden's own converter.

    A detector with COCO's 90 channels gives each of our classes its own channel, by name, if all are classes of COCO.

    Args:
      prefix: of the checkpoint.
      modules: one of `live_keys.INITIAL_MODULES`.
      model: gives the built model, once the checkpoint was read; it doesn't change if an error is raised.
      task: its `model` is the network.
      build_model: builds the network of a task.
      class_names: of our channels; empty: unknown.

    Raises:
      InputError: the checkpoint can't be read, or doesn't fit.
    """
    if task.model.backbone.type != HOURGLASS:
        raise InputError(
            f"{prefix}: an Hourglass of the Object Detection API, but task.model.backbone.type is "
            f"{task.model.backbone.type}; give a configuration with the hourglass"
        )
    shapes = _shapes(prefix)
    has_heads = _CLASS_BIAS in shapes
    if modules == "all" and not has_heads:
        raise InputError(f"{prefix}: has no CenterNet heads (ExtremeNet?); use --modules backbone")
    theirs = task.replace()
    theirs.model.num_classes = shapes[_CLASS_BIAS][0] if has_heads else 1
    built = build_model(theirs)
    with_heads = has_heads and modules != "backbone"
    log = io.StringIO()
    try:
        with contextlib.redirect_stdout(log):  # one line per layer
            weights, _ = read_checkpoints.get_ckpt_weights_as_dict(prefix)
            extractor = weights["model"]["_feature_extractor"]["_network"]
            _check_count(
                built.backbone, load_weights.load_weights_backbone(built.backbone, extractor, "hourglass104_512")
            )
            if with_heads:
                heads = weights["model"]["_prediction_head_dict"]
                _check_count(built.head, load_weights.load_weights_head(built.head, heads, "detection_2d"))
    except (KeyError, ValueError, IndexError) as error:
        raise InputError(
            f"{prefix}: doesn't fit task.model (Hourglass {task.model.backbone.hourglass.model_id} x "
            f"{task.model.backbone.hourglass.num_hourglasses}): {' '.join(str(error).split())[:300]}"
        ) from error
    channels = None
    if with_heads and theirs.model.num_classes == coco_classes.CHANNELS:
        channels = coco_classes.channels_of(class_names)
    return _copy(prefix, built, model(), modules, heads=with_heads, channels=channels)


def _copy(
    prefix: str,
    built: tf_keras.Model,
    model: tf_keras.Model,
    modules: str,
    *,
    heads: bool,
    channels: Sequence[int] | None,
) -> Transfer:
    pairs = list(zip(model.backbone.weights, built.backbone.weights, strict=True))
    if heads:
        pairs += zip(model.head.weights, built.head.weights, strict=True)
    values, misfits = [], []
    for ours, theirs in pairs:
        value = theirs.numpy()
        if channels is not None and value.shape[-1] == coco_classes.CHANNELS:
            value = value[..., list(channels)]
        if value.shape == tuple(ours.shape):
            values.append((ours, value))
        else:
            misfits.append(f"{ours.name} ({list(value.shape)}, here {ours.shape.as_list()})")
    if modules == "all" and misfits:
        raise InputError(f"{prefix}: doesn't fit all: of another shape: {', '.join(misfits[:5])}")
    for variable, value in values:
        variable.assign(value)
    absent = [] if heads or modules == "backbone" else [variable.name for variable in model.head.weights]
    return Transfer(loaded=tuple(variable.name for variable, _ in values), absent=tuple(absent), misfits=tuple(misfits))


def _check_count(part: tf_keras.Model, loaded: int) -> None:
    if loaded != part.count_params():
        raise ValueError(f"the checkpoint holds {loaded} of {part.count_params()} values of {part.name}")


def _shapes(prefix: str) -> dict[str, list[int]]:
    try:
        return dict(tf.train.load_checkpoint(prefix).get_variable_to_shape_map())
    except (tf.errors.OpError, ValueError, RuntimeError, IndexError) as error:
        raise InputError(
            f"{prefix}: can't be read ({' '.join(str(error).split())[:200]}); is the checkpoint whole?"
        ) from error
