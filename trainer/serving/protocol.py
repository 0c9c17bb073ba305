"""From requests to images, and from detections to answers, in KServe's protocols V1 and V2. No kserve.

Both protocols name the outputs as the SavedModel's signature does, so that a client of TensorFlow Serving reads
them. Only detections at or above their class's threshold are in an answer. `detection_names` is ours.
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from trainer.saved_model.thresholds import Thresholds
from trainer.serving.plan import ServedClass

INPUT = "image_bytes"
"""The input of the signature, and of V2 requests."""
OUTPUTS = {
    "detection_boxes": ("FP32", (4,), np.float32),
    "detection_scores": ("FP32", (), np.float32),
    "detection_classes": ("INT32", (), np.int32),
    "detection_names": ("BYTES", (), np.object_),
}
"""Outputs per detection, to V2's type, the shape of one, and numpy's type."""
SIZE, COUNT = "image_size", "num_detections"
THRESHOLD = "score_threshold"
"""The one parameter of a request."""
_FORM = '{"instances": [{"b64": "..."}]}'
_V2_FORM = '{"inputs": [{"name": "image_bytes", "datatype": "BYTES", "shape": [1], "data": [{"b64": "..."}]}]}'


class BadRequest(ValueError):
    """The request can't be answered; the message gives the reason in one line, for its client."""


def v1_images(body: Any) -> list[bytes]:
    """The encoded images of a V1 request.

    Raises:
      BadRequest: it isn't one, or an image isn't base64.
    """
    if not isinstance(body, Mapping):
        raise BadRequest(f"body: not a JSON object; send {_FORM} with Content-Type: application/json")
    instances = body.get("instances")
    if not isinstance(instances, list) or not instances:
        raise BadRequest(f"instances: not a list with at least one image; send {_FORM}")
    return [_decoded(_unwrapped(value), f"instances[{i}]", _FORM) for i, value in enumerate(instances)]


def v2_images(name: str, datatype: str, shape: Sequence[int], data: Any, others: int) -> list[bytes]:
    """The encoded images of a V2 request's input.

    Args:
      name, datatype, shape, data: of the first input.
      others: number of inputs besides it.

    Raises:
      BadRequest: not the model's input, or an image isn't base64.
    """
    if others or name != INPUT or datatype != "BYTES":
        raise BadRequest(f"inputs: the model has one input, {INPUT} of type BYTES; send {_V2_FORM}")
    if not isinstance(data, list) or not data:
        raise BadRequest(f"inputs[0].data: not a list with at least one image; send {_V2_FORM}")
    if list(shape) not in ([len(data)], [len(data), 1]):
        raise BadRequest(f"inputs[0].shape: is {list(shape)}, and data has {len(data)} images; use [{len(data)}]")
    return [_decoded(value, f"inputs[0].data[{i}]", _V2_FORM) for i, value in enumerate(data)]


def given_threshold(parameters: Any) -> float | None:
    """The threshold that a request gives; None if it gives none.

    Raises:
      BadRequest: an unknown parameter, or a value outside 0 to 1.
    """
    if not parameters:
        return None
    if not isinstance(parameters, Mapping) or set(parameters) != {THRESHOLD}:
        raise BadRequest(f"parameters: the only one is {THRESHOLD}")
    value = parameters[THRESHOLD]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise BadRequest(f"parameters.{THRESHOLD}: is {value!r}; use 0 to 1")
    return float(value)


class Answers:
    """Answers of one model.

    Args:
      classes: with names and thresholds.
    """

    def __init__(self, classes: Sequence[ServedClass]) -> None:
        self._names = {entry.category_id: entry.name for entry in classes}
        self._minimum = Thresholds(
            default=max(entry.score_threshold for entry in classes),
            classes={entry.category_id: entry.score_threshold for entry in classes},
            source="",
        )

    def of(self, found: Mapping[str, np.ndarray], threshold: float | None) -> dict[str, np.ndarray]:
        """The outputs of one image: detections at or above the threshold (None: their class's own), and its size."""
        minimum = self._minimum if threshold is None else Thresholds(default=threshold, classes={}, source="")
        shown = minimum.shown(found["detection_scores"], found["detection_classes"])
        kept = {name: found[name][shown] for name in OUTPUTS if name in found}
        names = [self._names.get(int(category), str(int(category))) for category in kept["detection_classes"]]
        return {
            **kept,
            "detection_names": np.array(names, np.object_),
            COUNT: np.array(shown.sum(), np.int32),
            SIZE: found[SIZE],
        }


def v1_answer(images: Sequence[Mapping[str, np.ndarray]]) -> dict[str, Any]:
    """The body of a V1 answer."""
    return {"predictions": [{name: array.tolist() for name, array in image.items()} for image in images]}


def v2_tensors(images: Sequence[Mapping[str, np.ndarray]]) -> list[tuple[str, str, np.ndarray]]:
    """(name, type, values) of a V2 answer's tensors. Images with fewer detections are filled up with zeros."""
    counts = [int(image[COUNT]) for image in images]
    made = []
    for name, (datatype, inner, kind) in OUTPUTS.items():
        values: np.ndarray = np.full((len(images), max(counts), *inner), "" if datatype == "BYTES" else 0, kind)
        for row, count, image in zip(values, counts, images, strict=True):
            row[:count] = image[name]
        made.append((name, datatype, values))
    made.append((COUNT, "INT32", np.array(counts, np.int32)))
    made.append((SIZE, "INT32", np.stack([image[SIZE] for image in images]).astype(np.int32)))
    return made


def _unwrapped(value: Any) -> Any:
    """The value of a V1 instance that names the input."""
    if isinstance(value, Mapping) and set(value) == {INPUT}:
        return value[INPUT]
    return value


def _decoded(value: Any, where: str, form: str) -> bytes:
    if isinstance(value, bytes):  # V2's binary form
        return value
    text = value["b64"] if isinstance(value, Mapping) and set(value) == {"b64"} else value
    if not isinstance(text, str):
        raise BadRequest(f"{where}: not an image in base64; send {form}")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadRequest(f"{where}: not base64 ({error}); send the image file's bytes, encoded") from error
