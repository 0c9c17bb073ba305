"""Converts an exported model's `image_tensor` signature for other runtimes, if the result detects the same.

The converted model takes one image, uint8 [1, H, W, 3], of exactly the network's input size: letterbox it first
(`beam_preprocess.format.geometry`: aspect ratio kept, image at the top left, black below or to the right). Its boxes
are fractions of that input. It is compared with the SavedModel on synthetic images and written only when all
differences are within the bound. The SavedModel itself never changes.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from beam_preprocess.base.errors import Failure, InputError
from beam_preprocess.base.files import write_bytes
from trainer.saved_model.inference import read_label_map
from trainer.saved_model.layout import TENSOR

FORMATS = ("tflite", "onnx")
OUTPUTS = ("detection_boxes", "detection_scores", "detection_classes", "num_detections")
IMAGES = 8
MAX_DELTA = 1e-3
"""Bound for scores, and for boxes as fractions of the input: float32 arithmetic in another order."""
ONNX_OPSET = 17

Runner = Callable[[np.ndarray], dict[str, np.ndarray]]
"""From uint8 [1, H, W, 3] to the signature's outputs."""


class ConversionRefused(Failure):
    """The converter failed, or its result detects something else."""


def convert(*, model: str, to: str, output: str, max_delta: float = MAX_DELTA) -> dict[str, float]:
    """Writes the converted model.

    Args:
      model: SavedModel folder.
      to: one of FORMATS.
      output: the file to write.
      max_delta: largest difference of a score, or of a coordinate as a fraction of the input.

    Returns:
      Parity: "images", "compared" detections, "max_score_delta", "max_box_delta".

    Raises:
      InputError: the folder isn't one of our models, or the format is unknown.
      ConversionRefused: the converter isn't installed or fails, or the bound is exceeded. Nothing is written.
    """
    if to not in FORMATS:
        raise InputError(f"--to {to}: unknown format; use {' or '.join(FORMATS)}")
    height, width = read_label_map(model)["input_size"]
    loaded = tf.saved_model.load(model)
    signature = loaded.signatures[TENSOR]

    @tf.function(input_signature=[tf.TensorSpec([1, height, width, 3], tf.uint8, name="image_tensor")])
    def serve(image_tensor: tf.Tensor) -> dict[str, tf.Tensor]:
        outputs = signature(image_tensor=image_tensor)
        return {name: outputs[name] for name in OUTPUTS}

    try:
        content, run = _tflite(serve, loaded) if to == "tflite" else _onnx(serve)
    except (ConversionRefused, InputError):
        raise
    except Exception as error:  # converters raise all kinds of exceptions; the consequence is the same
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise ConversionRefused(f"{model}: not converted to {to}: {reason}; serve the SavedModel") from error
    parity = compare(lambda image: {k: v.numpy() for k, v in serve(tf.constant(image)).items()}, run, (height, width))
    print(
        f"parity: {parity['images']:.0f} images, {parity['compared']:.0f} detections, "
        f"score {parity['max_score_delta']:.2g}, box {parity['max_box_delta']:.2g} of the input",
        flush=True,
    )
    worst = max(parity["max_score_delta"], parity["max_box_delta"])
    if not worst <= max_delta:
        raise ConversionRefused(
            f"{output}: not written: the {to} model differs from the SavedModel by {worst:.3g}, more than "
            f"{max_delta:g}; serve the SavedModel, or allow the difference with --max-delta"
        )
    write_bytes(output, content)
    print(f"result: {output}, {len(content) / 1e6:.1f} MB", flush=True)
    return parity


def compare(one: Runner, other: Runner, size: tuple[int, int]) -> dict[str, float]:
    """Largest differences over synthetic images.

    Scores are compared by rank. Boxes and classes are compared where the neighbouring scores differ enough for the rank
    to be the same on both sides.
    """
    scores, boxes, compared = [0.0], [0.0], 0
    for seed in range(IMAGES):
        image = _image(seed, size)
        found, converted = one(image), other(image)
        own = found["detection_scores"][0].astype(np.float64)
        scores.append(float(np.abs(own - converted["detection_scores"][0]).max()))
        gaps = np.abs(np.diff(own)) > 10 * scores[-1] + 1e-6
        distinct = np.r_[True, gaps] & np.r_[gaps, False] & (own > 0)
        compared += int(distinct.sum())
        same = found["detection_classes"][0] == converted["detection_classes"][0]
        delta = np.abs(found["detection_boxes"][0] - converted["detection_boxes"][0]).max(axis=1)
        boxes.append(float(np.where(same, delta, 1.0)[distinct].max(initial=0.0)))
    return {
        "images": float(IMAGES),
        "compared": float(compared),
        "max_score_delta": max(scores),
        "max_box_delta": max(boxes),
    }


def _image(seed: int, size: tuple[int, int]) -> np.ndarray:
    """Blocks of colour with noise, uint8 [1, H, W, 3]."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (size[0] // 8 + 1, size[1] // 8 + 1, 3))
    blocks = coarse.repeat(8, axis=0).repeat(8, axis=1)[: size[0], : size[1]]
    return np.clip(blocks + rng.integers(-20, 21, (*size, 3)), 0, 255).astype(np.uint8)[None]


def _tflite(serve: Any, loaded: Any) -> tuple[bytes, Runner]:
    converter = tf.lite.TFLiteConverter.from_concrete_functions([serve.get_concrete_function()], loaded)
    content = bytes(converter.convert())
    interpreter = tf.lite.Interpreter(model_content=content)
    runner = interpreter.get_signature_runner()
    (name,) = runner.get_input_details()
    return content, lambda image: dict(runner(**{name: image}))


def _onnx(serve: Any) -> tuple[bytes, Runner]:
    try:
        import onnxruntime  # type: ignore[import-not-found]
        import tf2onnx  # type: ignore[import-not-found]
    except ImportError as error:
        raise ConversionRefused(
            f"ONNX needs packages that aren't installed ({error.name}): pip install tf2onnx onnx onnxruntime, in a "
            f"separate environment if pip reports a conflict; the SavedModel is unchanged"
        ) from error
    built, _ = tf2onnx.convert.from_function(serve, input_signature=serve.input_signature, opset=ONNX_OPSET)
    content = built.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (entry,) = session.get_inputs()
    names = [output.name for output in session.get_outputs()]
    # tf2onnx names the outputs in the structure's order, which tf.function sorts by key.
    keys = names if set(OUTPUTS) <= set(names) else sorted(OUTPUTS)
    return content, lambda image: dict(zip(keys, session.run(names, {entry.name: image}), strict=True))
