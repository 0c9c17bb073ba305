"""Writes what `benchmarks.carried` carries: steps of both sides, records, and trainings."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import tensorflow as tf
import tf_keras

from beam_preprocess.base.config_text import resolve
from beam_preprocess.format import records
from benchmarks import train_step_sides as sides
from trainer.aot import environment, xla
from trainer.aot import step as aot_step
from trainer.aot.xla_process import run_xla
from trainer.data.heatmap import Labels
from trainer.data.input_pipeline import load_manifest
from trainer.data.parsing import RecordParser
from trainer.training import distribution
from trainer.training.optimizer import AveragedWeights, create_slots
from trainer.training.run import make_experiment
from trainer.training.task import Task
from trainer.weights.object_graph import captured_value

DONE = "done"
OURS = "ours"
BATCH = 64


def write_step(folder: Path, case: dict[str, Any], jax: str) -> None:
    """One side's training step: program, description, and the labels of its images.

    Args:
      folder: the carried folder.
      case: see `train_step_sides`.
      jax: folder of the JAX environment.
    """
    folder = folder / "steps" / f"{case['side']}-{case['precision']}-{case['batch']}"
    if (folder / DONE).exists():
        return
    print(f"progress: {folder.name}", flush=True)
    build = sides.ours if case["side"] == OURS else sides.model_garden
    task, optimizer_config, runtime, (image, labels) = build(case | {"xla": True, "part": "step"})
    if case["side"] != OURS:
        task = _with_a_fixed_count(task, case["boxes"])
    flat = [tf.cast(image, tf.uint8 if case["side"] == OURS else tf.float32), *tf.nest.flatten(labels)]
    tf_keras.utils.set_random_seed(aot_step.SEED)
    distribution.set_precision(runtime)
    try:
        model = task.build_model()
        optimizer = task.create_optimizer(optimizer_config, runtime)
        create_slots(optimizer, model.trainable_variables)

        known = {"compiled": True} if case["side"] == OURS else {}

        @tf.function(jit_compile=True)
        def step(image: tf.Tensor, *flat: tf.Tensor) -> tf.Tensor:
            inputs = image, tf.nest.pack_sequence_as(labels, flat)
            return task.train_step(inputs, model, optimizer, **known)[task.loss]

        hlo, captured = aot_step.lower(step, [tf.TensorSpec(value.shape, value.dtype) for value in flat])
        flops = aot_step.forward_flops(model, case["batch"])
    finally:
        tf_keras.mixed_precision.set_global_policy("float32")
    low, high = (0, 256) if case["side"] == OURS else (-2, 2)  # noise in place of pixels, which needs no file
    rules = [
        {"name": str(i), "shape": value.shape.as_list(), "dtype": value.dtype.name, "low": low, "high": high}
        for i, value in enumerate(flat)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / xla.LABELS, **{str(i): value.numpy() for i, value in enumerate(flat) if i})
    description = {
        **{name: case[name] for name in ("side", "precision", "batch")},
        "convolution_flops": 3 * flops,
        "inputs": rules,
        "variables": [aot_step.variable_rule(captured_value(handle)) for handle in captured],
    }
    _write_program(folder, hlo, description, jax)


def _with_a_fixed_count(task: Any, count: int) -> Any:
    """Model Garden's task that knows that every image has `count` objects.

    It cuts the padded boxes to each image's own number, and shapes that depend on values don't compile for a GPU. All
    else is its own, the assignment of targets included.
    """
    map_fn = tf.map_fn

    def counted(*positional: Any, fn: Any, **named: Any) -> Any:
        if not isinstance(named.get("fn_output_signature"), dict):  # the losses have others
            return map_fn(*positional, fn=fn, **named)
        return map_fn(*positional, fn=lambda x: fn({**x, "groundtruths": {"num_detections": count}}), **named)

    class Counted(type(task)):  # type: ignore[misc]
        def build_losses(self, outputs: Any, labels: Any, aux_losses: Any = None) -> Any:
            with mock.patch.object(tf, "map_fn", counted):
                return super().build_losses(outputs, labels, aux_losses)

    made = Counted(task.task_config)
    made._net_down_scale = task._net_down_scale
    return made


def write_records(folder: Path, source: str, *, views: int) -> None:
    """JPEGs and targets: one row per record, of the first `views` views."""
    if (folder / DONE).exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    manifest = load_manifest(source)
    parser = RecordParser(manifest, crowd_is_object=False)
    jpegs: list[bytes] = []
    rows: list[list[np.ndarray]] = []
    view_of: list[int] = []
    image = {records.IMAGE: tf.io.FixedLenFeature([], tf.string)}
    for shard in sorted(manifest.shards, key=lambda shard: (shard.view, shard.shard)):
        if shard.view >= views:
            continue
        data = tf.data.TFRecordDataset(str(Path(source) / shard.name))
        jpegs += [tf.io.parse_single_example(record, image)[records.IMAGE].numpy() for record in data]
        for _, labels in data.map(parser.record).batch(BATCH).map(parser.batch):
            rows.append([value.numpy() for value in labels])
            view_of += [shard.view] * len(labels.image_id)
    columns = (np.concatenate(parts) for parts in zip(*rows, strict=True))
    sizes = np.array([len(jpeg) for jpeg in jpegs])
    (folder / "images.bin").write_bytes(b"".join(jpegs))
    fields = dict(zip(Labels._fields, columns, strict=True))
    np.savez_compressed(folder / "targets.npz", **fields, view=np.array(view_of), sizes=sizes)
    (folder / DONE).write_text("")
    print(f"progress: {folder.name}: {len(jpegs)} records, {sizes.sum() / 2**20:.1f} MiB of JPEG", flush=True)


def write_training(
    folder: Path,
    name: str,
    *,
    config: str,
    changes: Sequence[str],
    precision: str,
    train: str,
    val: str,
    seeds: Sequence[int],
    jax: str,
) -> None:
    """The step, the inference of all validation images at once, and the initial values for each seed.

    Args:
      folder: the carried folder.
      name: of the training.
      config: shipped name or YAML file.
      changes: KEY=VALUE.
      precision: of the step.
      train: folder of the training records.
      val: folder of the validation records.
      seeds: of the initial weights.
      jax: folder of the JAX environment.
    """
    place = folder / "trainings" / name
    if (place / DONE).exists():
        return
    print(f"progress: {name}", flush=True)
    manifest = load_manifest(train)
    scale = ",runtime.loss_scale=dynamic" if precision == "float16" else ""
    override = f"runtime.mixed_precision_dtype={precision}{scale}"
    experiment = make_experiment(resolve(config, changes).text, override, manifest, train, val, 0)
    batch = experiment.task.train_data.global_batch_size
    tf_keras.utils.set_random_seed(aot_step.SEED)
    distribution.set_precision(experiment.runtime)
    try:
        built = aot_step.build_step(experiment, manifest, batch)
        hlo, captured = aot_step.lower(built.step, built.inputs)
        size = experiment.task.model.input_size[:2]
        inference, read = aot_step.lower(
            _prediction(built.model), [tf.TensorSpec([load_manifest(val).images, *size, 3], tf.uint8)]
        )
        starts = {seed: _start(experiment, manifest, 1 + seed) for seed in seeds}
    finally:
        tf_keras.mixed_precision.set_global_policy("float32")
    averages = _averages(built.optimizer)
    variables = {id(variable.handle): i for i, variable in enumerate(built.model.variables)}
    first = [captured_value(handle) for handle in captured]
    values = {
        seed: _stored(
            folder,
            [
                start[variables[id(handle)]] if id(handle) in variables else value
                for handle, value in zip(captured, first, strict=True)
            ],
        )
        for seed, start in starts.items()
    }
    places = {id(handle): i for i, handle in enumerate(captured)}
    parameters: list[int | str] = []
    for handle in read:
        shipped = averages.get(id(handle), handle)  # the average is what ships
        parameters.append(
            places[id(shipped)] if id(shipped) in places else _stored(folder, [captured_value(handle)])[0]
        )
    rules = aot_step.input_rules(built.inputs, manifest, manifest.num_classes)
    for part, program, inputs in (("step", hlo, rules), ("predict", inference, [])):
        (place / part).mkdir(parents=True, exist_ok=True)
        _write_program(place / part, program, {"precision": precision, "inputs": inputs, "variables": []}, jax)
    training = {
        "precision": precision,
        "batch": batch,
        "steps": experiment.trainer.train_steps,
        "train": Path(train).name,
        "val": Path(val).name,
        "values": values,
        "predict": parameters,
        "num_classes": manifest.num_classes,
        "map_width": size[1] // manifest.parameters["stride"],
    }
    (place / "training.json").write_text(json.dumps(training))
    (place / DONE).write_text("")


def _prediction(model: tf_keras.Model) -> Any:
    @tf.function(jit_compile=True)
    def predict(image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        found = model(model.normalize(image), training=False)
        return found["boxes"], found["confidence"], found["classes"]

    return predict


def _start(experiment: Any, manifest: Any, seed: int) -> list[np.ndarray]:
    """A fresh model's variables, loaded where the configuration says so."""
    tf_keras.utils.set_random_seed(seed)
    task = Task(experiment.task, manifest)
    model = task.build_model()
    task.initialize(model)
    return [variable.numpy() for variable in model.variables]


def _averages(optimizer: tf_keras.optimizers.Optimizer) -> dict[int, tf.Tensor]:
    """The handle of a weight's moving average by the identity of the weight's handle."""
    if not isinstance(optimizer, AveragedWeights):
        return {}
    pairs = zip(optimizer._model_weights, optimizer._average_weights, strict=True)
    return {id(weight.handle): average.handle for weight, average in pairs}


def _stored(folder: Path, values: Sequence[np.ndarray]) -> list[str]:
    """Writes arrays once each, under their digest, which is returned."""
    names = []
    for value in values:
        name = hashlib.sha256(value.tobytes() + f"{value.shape} {value.dtype}".encode()).hexdigest()[:20]
        place = folder / "values" / f"{name}.npz"
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            np.savez_compressed(place, value)
        names.append(name)
    return names


def _write_program(folder: Path, hlo: bytes, description: dict[str, Any], jax: str) -> None:
    (folder / xla.HLO).write_bytes(hlo)
    (folder / xla.DESCRIPTION).write_text(json.dumps(description))
    run_xla(environment.ensure(jax), ["convert", str(folder)], f"converting {folder.name}")
    (folder / xla.HLO).unlink()
    (folder / DONE).write_text("")
