"""Converts an exported model's `image_tensor` signature for other runtimes, if the result detects the same.

    python -m trainer.convert --model saved_model --to tflite --output model.tflite
    python -m trainer.convert --model saved_model --to onnx --output model.onnx

The converted model takes one image, uint8 [1, H, W, 3], of exactly the network's input size: letterbox before
(`beam_preprocess.format.geometry`: aspect kept, top left, black below or to the right). Its boxes are fractions of that
input. It is compared with the SavedModel on noise and blocks, and is written only within the bound. The SavedModel
stays as it is whatever happens.
"""

import argparse
import os
import sys
from collections.abc import Callable
from typing import Any

if __name__ == "__main__":
    # Before TensorFlow is imported: it speaks of missing drivers on every start.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.files import write_bytes
from trainer.export import read_label_map

FORMATS = ("tflite", "onnx")
OUTPUTS = ("detection_boxes", "detection_scores", "detection_classes", "num_detections")
IMAGES = 8
MAX_DELTA = 1e-3
"""Of scores, and of boxes as fractions of the input: float32 arithmetic in another order."""
ONNX_OPSET = 17

Runner = Callable[[np.ndarray], dict[str, np.ndarray]]
"""uint8 [1, H, W, 3] to the signature's outputs."""


class ConversionRefused(Exception):
    """The converter can't do it, or what it made detects something else."""


def convert(*, model: str, to: str, output: str, max_delta: float = MAX_DELTA) -> dict[str, float]:
    """Writes the converted model.

    Args:
      model: SavedModel folder of `trainer.export`.
      to: one of FORMATS.
      output: the file to write, local.
      max_delta: largest difference of a score, or of a coordinate as a fraction of the input.

    Returns:
      Parity: "images", "compared" detections, "max_score_delta", "max_box_delta".

    Raises:
      InputError: no model of ours, or an unknown format.
      ConversionRefused: the converter isn't installed or fails, or the bound is exceeded. Nothing is written.
    """
    if to not in FORMATS:
        raise InputError(f"--to {to}: unknown format; use {' or '.join(FORMATS)}")
    height, width = read_label_map(model)["input_size"]
    loaded = tf.saved_model.load(model)
    signature = loaded.signatures["image_tensor"]

    @tf.function(input_signature=[tf.TensorSpec([1, height, width, 3], tf.uint8, name="image_tensor")])
    def serve(image_tensor: tf.Tensor) -> dict[str, tf.Tensor]:
        outputs = signature(image_tensor=image_tensor)
        return {name: outputs[name] for name in OUTPUTS}

    try:
        content, run = _tflite(serve, loaded) if to == "tflite" else _onnx(serve)
    except (ConversionRefused, InputError):
        raise
    except Exception as error:  # converters raise whatever they like; the answer is the same
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
            f"{max_delta:g}; serve the SavedModel, or allow it with --max-delta"
        )
    write_bytes(output, content)
    print(f"result: {output}, {len(content) / 1e6:.1f} MB", flush=True)
    return parity


def compare(one: Runner, other: Runner, size: tuple[int, int]) -> dict[str, float]:
    """Largest differences over made images.

    Scores are compared by rank. Boxes and classes are compared where the neighbouring scores are far enough apart that
    the rank is the same on both sides.
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
            f"ONNX needs packages that aren't installed ({error.name}): pip install tf2onnx onnx onnxruntime, in an "
            f"environment of its own if pip reports a conflict; the SavedModel stands"
        ) from error
    made, _ = tf2onnx.convert.from_function(serve, input_signature=serve.input_signature, opset=ONNX_OPSET)
    content = made.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (entry,) = session.get_inputs()
    names = [output.name for output in session.get_outputs()]
    # tf2onnx names the outputs by the structure's order, which tf.function sorts by key.
    keys = names if set(OUTPUTS) <= set(names) else sorted(OUTPUTS)
    return content, lambda image: dict(zip(keys, session.run(names, {entry.name: image}), strict=True))


def main(argv: list[str] | None = None) -> int:
    """Exit code 0, 2 for bad input, or 1 when nothing usable came out."""
    parser = argparse.ArgumentParser(
        prog="python -m trainer.convert",
        description="Convert an exported model's tensor signature to TFLite or ONNX, within a bound.",
        epilog=(__doc__ or "").split("\n\n", 1)[1],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", required=True, help="SavedModel folder of trainer.export")
    parser.add_argument("--to", required=True, metavar="FORMAT", help=" or ".join(FORMATS))
    parser.add_argument("--output", required=True, help="the file to write")
    parser.add_argument(
        "--max-delta",
        type=float,
        default=MAX_DELTA,
        help="largest difference of a score, or of a coordinate as a fraction of the input (default: %(default)s)",
    )
    flags = parser.parse_args(argv)
    try:
        convert(model=flags.model, to=flags.to, output=flags.output, max_delta=flags.max_delta)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except ConversionRefused as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
