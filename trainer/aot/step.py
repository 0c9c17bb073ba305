"""The training step as a file: what TensorFlow gives XLA, and how to call it elsewhere.

    step.hlo     the step of one replica as an HLO module: augmentation, network, losses, gradients, clipping,
                 optimizer, batch norm's averages; on uint8 images and sparse targets, as in training
    step.json    its parameters in order, and how to fill each without a checkpoint; written last
    values.npz   the variables' values, on request

TensorFlow lowers it for the CPU. The step has no stateful random operation and no custom call, so the module is the
same for every device (docs/training.md#tpu lists what was compared).
"""

import dataclasses
import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tf_keras
from official.core import config_definitions as cfg

from beam_preprocess.base.files import write_bytes, write_text
from beam_preprocess.format.manifest import Category, Manifest, Shard
from beam_preprocess.format.records import RECORD_SCHEMA_VERSION
from trainer.aot.step_code import step_files
from trainer.config.experiment import STRIDE, as_dict
from trainer.config.sections import RunConfig
from trainer.data.heatmap import Labels
from trainer.model import depthwise
from trainer.model.network import CenterNetModel
from trainer.training import distribution
from trainer.training.optimizer import create_slots
from trainer.training.task import Task
from trainer.weights.object_graph import captured_value

STEP, DESCRIPTION, VALUES = "step.hlo", "step.json", "values.npz"
SEED = 1


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Capacity:
    """What determines the shapes of a batch's targets, without records whose manifest has the exact numbers."""

    num_classes: int
    max_cells: int = 16_384
    """Maximum of stored heatmap cells per record. 60 images as crowded as COCO's had at most 6,199."""

    max_objects: int = 128
    """Model Garden's limit for COCO."""

    crowds: int = 1
    """If not 0, the step ignores crowd regions, which takes another operation."""


def manifest_of(config: RunConfig, capacity: Capacity) -> Manifest:
    """The manifest of imaginary records: enough to derive the types of the input."""
    made_with = config.preprocess
    return Manifest(
        schema_version=RECORD_SCHEMA_VERSION,
        split="train",
        data_digest="",
        records_digest="",
        images=1,
        views=1,
        objects=1,
        crowds=capacity.crowds,
        num_classes=capacity.num_classes,
        categories=tuple(Category(index=i, id=i + 1, name=str(i + 1)) for i in range(capacity.num_classes)),
        shards=(Shard(name="none", shard=0, view=0, records=1, bytes=0, sha256=""),),
        max_cells=capacity.max_cells,
        max_objects=capacity.max_objects,
        rejects={},
        class_histogram={},
        size_histogram={},
        parameters={
            "image_size": list(made_with.image_size),
            "stride": made_with.stride,
            "heatmap_cutoff": made_with.heatmap_cutoff,
            "gaussian_iou": made_with.gaussian_iou,
            "target_variant": made_with.target_variant,
        },
    )


def digest_of(experiment: cfg.ExperimentConfig, manifest: Manifest, batch: int) -> str:
    """Identifies a step: all keys of the experiment, the shape of the records, the batch, the code and TensorFlow."""
    shape = [manifest.num_classes, manifest.max_cells, manifest.max_objects, bool(manifest.crowds), manifest.parameters]
    code = [path.read_text() for path in step_files()]
    text = json.dumps([as_dict(experiment), shape, batch, tf.__version__, code], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def export_step(
    experiment: cfg.ExperimentConfig, manifest: Manifest, *, batch: int, folder: Path, with_values: bool = False
) -> dict[str, Any]:
    """Writes the folder, unless it already holds the same step.

    Args:
      experiment: from `make_experiment`. The step uses its precision, loss scale, clipping and optimizer, but not its
        strategy and batch.
      manifest: of the records, or from `manifest_of`.
      batch: images per replica.
      folder: folder to write.
      with_values: also write the variables' values: 2.3 GB for Hourglass-104.

    Returns:
      The content of step.json.

    Raises:
      InputError: unknown precision.
    """
    digest = digest_of(experiment, manifest, batch)
    description = folder / DESCRIPTION
    if description.exists() and not with_values:
        found: dict[str, Any] = json.loads(description.read_text())
        if found["digest"] == digest:
            return found
    folder.mkdir(parents=True, exist_ok=True)
    description.unlink(missing_ok=True)
    started = time.monotonic()
    tf_keras.utils.set_random_seed(SEED)
    distribution.set_precision(experiment.runtime)
    try:
        built = build_step(experiment, manifest, batch)
        hlo, captured = lower(built.step, built.inputs)
    finally:
        tf_keras.mixed_precision.set_global_policy("float32")
    write_bytes(str(folder / STEP), hlo)
    values = [captured_value(handle) for handle in captured]
    if with_values:
        np.savez(folder / VALUES, *values)
    written = {
        "digest": digest,
        "batch": batch,
        "configured_batch": experiment.task.train_data.global_batch_size,
        "image_size": list(experiment.task.model.input_size[:2]),
        "precision": experiment.runtime.mixed_precision_dtype or "float32",
        "parameters": sum(v.shape.num_elements() for v in built.model.trainable_variables),
        "convolution_flops": 3 * forward_flops(built.model, batch),
        "tensorflow": tf.__version__,
        "export_seconds": round(time.monotonic() - started, 1),
        "inputs": input_rules(built.inputs, manifest, experiment.task.model.num_classes),
        "variables": [variable_rule(value) for value in values],
    }
    write_text(str(description), json.dumps(written, indent=1) + "\n")
    return written


def lower(step: Any, inputs: Sequence[Any]) -> tuple[bytes, list[tf.Tensor]]:
    """(serialized HLO of a compiled function, what it captured: its parameters after the inputs, in this order).

    Args:
      step: a `tf.function` with jit_compile.
      inputs: tensors, or all of them specs.
    """
    hlo: bytes = step.experimental_get_compiler_ir(*inputs)(stage="hlo_serialized")
    return hlo, list(step.get_concrete_function(*inputs).captured_inputs)


def forward_flops(model: tf_keras.Model, batch: int) -> int:
    """Floating-point operations of the convolutions of one forward pass; a training step needs three times as many.

    Of our network, without the heads of size and offset, which training computes at the objects alone; `model` may be
    Model Garden's, which has them all.
    """

    @tf.function
    def forward(image: tf.Tensor) -> Any:
        if isinstance(model, CenterNetModel):
            return model.at_objects(image, tf.zeros([batch, 1], tf.int32))
        return model(image, training=True)

    graph = forward.get_concrete_function(tf.TensorSpec([batch, *model.backbone.input_shape[1:]], tf.float32)).graph
    total = 0
    for op in graph.get_operations():
        if op.type == "Conv2D":
            height, width, depth, _ = op.inputs[1].shape
            total += 2 * height * width * depth * op.outputs[0].shape.num_elements()
    return int(total)


class BuiltStep(NamedTuple):
    """A training step, and what it is made of."""

    step: Any
    """`tf.function` of the inputs that returns the loss."""
    inputs: list[tf.TensorSpec]
    """The image, then the fields of `Labels`."""
    model: tf_keras.Model
    optimizer: tf_keras.optimizers.Optimizer
    task: Task


def build_step(experiment: cfg.ExperimentConfig, manifest: Manifest, batch: int, *, compiled: bool = True) -> BuiltStep:
    """The step of one replica, with random weights.

    Args:
      experiment: see `export_step`.
      manifest: see `export_step`.
      batch: see `export_step`.
      compiled: with XLA; otherwise as a graph.
    """
    global_step = tf.Variable(0, dtype=tf.int64, name="global_step")
    task = Task(experiment.task, manifest, step=global_step)
    model = task.build_model()
    optimizer = task.create_optimizer(experiment.trainer.optimizer_config, experiment.runtime)
    create_slots(optimizer, model.trainable_variables)
    data = dataclasses.replace(experiment.task.train_data, global_batch_size=batch, input_path="none")
    specs = tf.nest.flatten(task.build_inputs(data).element_spec)

    @tf.function(jit_compile=compiled or None)
    def step(image: tf.Tensor, *labels: tf.Tensor) -> tf.Tensor:
        # As in training: a TPU's step is compiled too, but not by this option.
        xla = experiment.runtime.enable_xla
        with depthwise.gradients_in_parts(not compiled):
            loss = task.train_step((image, Labels(*labels)), model, optimizer, compiled=xla)[task.loss]
        global_step.assign_add(1)
        return loss

    return BuiltStep(step, specs, model, optimizer, task)


def input_rules(specs: list[tf.TensorSpec], manifest: Manifest, classes: int) -> list[dict[str, Any]]:
    """Per input: name, shape, dtype and the range of its random values."""
    height, width = manifest.parameters["image_size"]
    cells = (height // STRIDE) * (width // STRIDE)
    largest = {
        "image": 256,
        "image_id": 1 << 20,
        "cell_index": cells,
        "cell_class": classes,
        "object_cell": cells,
        "object_class": classes,
        "object_size": 32,
    }
    # The whole image is valid, every object is real, and there is no crowd.
    smallest = {"image_weight": 1, "object_mask": 1}
    rules = []
    for name, spec in zip(("image", *Labels._fields), specs, strict=True):
        low, high = smallest.get(name, 0), largest.get(name, 1)
        rule = {"name": name, "shape": spec.shape.as_list(), "dtype": spec.dtype.name, "low": low, "high": high}
        if name == "valid":
            rule["rows"] = [0, 0, height, width]
        if name == "ignore_mask":
            rule["high"] = 0
        rules.append(rule)
    return rules


def variable_rule(value: np.ndarray) -> dict[str, Any]:
    """Shape, dtype, and mean and deviation of the initial values (0 for constants such as slots and averages)."""
    rule = {"shape": list(value.shape), "dtype": value.dtype.name}
    if value.dtype.kind == "f":
        exact = value.astype(np.float64)
        return {**rule, "mean": float(exact.mean()), "deviation": float(exact.std())}
    return {**rule, "mean": int(value.reshape(-1)[0]) if value.size else 0, "deviation": 0.0}
