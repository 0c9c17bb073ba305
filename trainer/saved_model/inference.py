"""Running an exported model: its label map, its signatures, and detections of image files."""

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.files import exists, read_json
from trainer.coco.results import Results
from trainer.saved_model.layout import LABEL_MAP, SAVED_MODEL, SERVED

Signature = Callable[..., dict[str, tf.Tensor]]


def read_label_map(model: str) -> dict[str, Any]:
    """The label map inside a SavedModel folder.

    Raises:
      InputError: the folder isn't one of our models.
    """
    path = os.path.join(model, LABEL_MAP)
    if not exists(os.path.join(model, SAVED_MODEL)) or not exists(path):
        raise InputError(f"{model}: not a SavedModel with {LABEL_MAP}; export one with `centernet export`")
    return dict(read_json(path, "export the model again"))


def load_model(model: str) -> Any:
    """An exported model, loaded from its files.

    Raises:
      InputError: the folder isn't one of our models, or can't be loaded.
    """
    read_label_map(model)
    try:
        return tf.saved_model.load(model)
    except (OSError, ValueError, tf.errors.OpError) as error:
        raise InputError(f"{model}: can't be loaded: {' '.join(str(error).split())[:300]}") from error


def load_signature(model: str, *names: str) -> Signature:
    """A signature of an exported model that takes `image_bytes`.

    Args:
      model: the SavedModel's folder.
      names: the first of these that it has; none for the served one.

    Raises:
      InputError: the folder isn't one of our models, can't be loaded, or lacks these signatures.
    """
    return signature_of(load_model(model), model, *names)


def signature_of(loaded: Any, model: str, *names: str) -> Signature:
    """`load_signature` of a model that is loaded already; `model` is its folder, for messages."""
    wanted = names or (SERVED,)
    name = next((name for name in wanted if name in loaded.signatures), None)
    if name is None:
        known = ", ".join(sorted(loaded.signatures))
        raise InputError(f"{model}: has no signature {' or '.join(wanted)}; it has {known}")
    signature = loaded.signatures[name]
    # A signature holds its variables weakly, so it must keep the model alive.
    signature.model = loaded
    return signature


def detect(signature: Signature, paths: Sequence[str]) -> list[dict[str, Any]]:
    """Detections of image files: one entry per file, numpy arrays without the batch axis.

    Raises:
      InputError: a file is missing or isn't an image; the message names it.
    """
    encoded = [read_image(path) for path in paths]
    try:
        outputs = signature(image_bytes=tf.constant(encoded))
    except tf.errors.OpError as error:
        if len(paths) == 1:
            raise InputError(f"{paths[0]}: not an image that can be decoded ({_reason(error)}); repair it") from error
        # Find out which file it was.
        for path in paths:
            detect(signature, [path])
        raise
    arrays = {name: tensor.numpy() for name, tensor in outputs.items()}
    return [{name: array[i] for name, array in arrays.items()} for i in range(len(paths))]


def read_image(path: str) -> bytes:
    """The bytes of an image file.

    Raises:
      InputError: the file is missing or can't be read, for example because it is a folder.
    """
    try:
        with tf.io.gfile.GFile(path, "rb") as file:
            return bytes(file.read())
    except tf.errors.NotFoundError as error:
        raise InputError(f"{path}: no such image; check the folder and the annotation file") from error
    except tf.errors.OpError as error:
        raise InputError(f"{path}: can't be read ({_reason(error)}); give an image file that you may read") from error


def results_of(image_id: int, detections: dict[str, Any]) -> Results:
    """One image's detections, [x, y, width, height] in original pixels.

    Peaks that the decoder masked (score 0) are left out: they are not detections.
    """
    kept = ~(detections["detection_scores"] <= 0)  # NaN stays: scoring reports it
    height, width = (int(v) for v in detections["image_size"])
    box = detections["detection_boxes"][kept].astype(np.float64) * [height, width, height, width]
    return Results(
        image_id=np.full(len(box), image_id, np.int64),
        category_id=detections["detection_classes"][kept].astype(np.int64),
        box=np.stack([box[:, 1], box[:, 0], box[:, 3] - box[:, 1], box[:, 2] - box[:, 0]], axis=1),
        score=detections["detection_scores"][kept].astype(np.float64),
    )


def to_coco(image_id: int, detections: dict[str, Any]) -> list[dict[str, Any]]:
    """The same in COCO results format."""
    return results_of(image_id, detections).entries()


def _reason(error: tf.errors.OpError) -> str:
    """The innermost sentence of a TensorFlow error."""
    return str(error.message).split("[[")[0].strip().splitlines()[-1][:160]
