"""The two sides of `benchmarks.train_step`: each runs in a separate process that works on request.

Model Garden's side is its own task with the smallest workaround that lets it run: the padding of its boxes becomes 0
instead of -1 (with which its gather fails on a CPU), and under XLA it uses our nearest upsampling (its own has no
gradient kernel there).
"""

import ctypes
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

# Freed memory is returned at once, so that a call's peak is its own.
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "262144", "MALLOC_TRIM_THRESHOLD_": "262144"}
INSTANCES = 128
"""Rows of Model Garden's padded boxes and of our objects, as in the reference recipe."""
CELLS = 8192
"""Stored heatmap cells per image, by padding; more if an image has more."""

CONFIG = """
preprocess: {{image_size: [{size}, {size}]}}
task:
  model:
    num_classes: {classes}
    backbone:
      type: hourglass
      hourglass: {{model_id: {model_id}, input_channel_dims: {channels}, num_hourglasses: {stacks}}}
    head: {{input_levels: {levels}}}
    norm_activation: {{norm_momentum: 0.9}}
  train_data: {{global_batch_size: {batch}}}
"""
MODELS = {
    "tiny": {"model_id": 10, "channels": 16, "stacks": 1},
    "small": {"model_id": 20, "channels": 24, "stacks": 1},
    "hourglass-104": {"model_id": 52, "channels": 128, "stacks": 2},
}
"""tiny is for trying the command, small is used by custom-small.yaml, hourglass-104 by the reference."""


def synthetic_batch(case: dict[str, Any]) -> dict[str, np.ndarray]:
    """uint8 images, and boxes and classes of B x N objects in input pixels; the same on both sides."""
    from benchmarks.targets import boxes_of_an_image

    rng, size = np.random.default_rng(0), case["size"]
    boxes = [boxes_of_an_image(np.random.default_rng(row), case["boxes"], size) for row in range(case["batch"])]
    return {
        "image": rng.integers(0, 256, (case["batch"], size, size, 3), np.uint8),
        "boxes": np.stack(boxes),
        "classes": rng.integers(0, case["classes"], (case["batch"], case["boxes"])),
    }


def synthetic_heads(case: dict[str, Any]) -> dict[str, list[np.ndarray]]:
    """Random outputs of the network, float32 [B, H, W, C] per stack."""
    rng, side = np.random.default_rng(2), case["size"] // 4
    depths = {"ct_heatmaps": case["classes"], "ct_offset": 2, "ct_size": 2}
    return {
        name: [
            rng.normal(-2.0 if name == "ct_heatmaps" else 0.0, 1.0, (case["batch"], side, side, depth)).astype("f4")
            for _ in range(MODELS[case["model"]]["stacks"])
        ]
        for name, depth in depths.items()
    }


def _experiment(case: dict[str, Any]) -> Any:
    from trainer.config.experiment import build_experiment
    from trainer.config.sections import parse_config

    model = MODELS[case["model"]]
    levels = [f"2_{i}" for i in range(model["stacks"] - 1)] + ["2"]
    text = CONFIG.format(**case | model | {"levels": json.dumps(levels)})
    experiment = build_experiment(parse_config(text))
    experiment.runtime.mixed_precision_dtype = case["precision"]
    experiment.runtime.loss_scale = "dynamic" if case["precision"] == "float16" else None
    return experiment


def ours(case: dict[str, Any]) -> tuple[Any, Any, Any, tuple[Any, Any]]:
    """(task, optimizer settings, runtime, (uint8 images, Labels))."""
    import tensorflow as tf

    from beam_preprocess.format.targets import assign_targets, code_table
    from trainer.data.heatmap import Labels
    from trainer.training.optimizer import with_clipping
    from trainer.training.task import Task

    experiment, batch = _experiment(case), synthetic_batch(case)
    size, cutoff = (case["size"],) * 2, 1e-3
    values = code_table((case["size"] // 4,) * 2, cutoff).values
    rows = [
        assign_targets(b, c, np.zeros(len(b), bool), image_size=size, stride=4, cutoff=cutoff)
        for b, c in zip(batch["boxes"], batch["classes"], strict=True)
    ]
    cells = max(CELLS, *(len(row.cell_index) for row in rows))

    def padded(arrays: list[np.ndarray], length: int, dtype: str) -> tf.Tensor:
        out = np.zeros((len(arrays), length, *arrays[0].shape[1:]), dtype)
        for i, array in enumerate(arrays):
            out[i, : len(array)] = array
        return tf.constant(out)

    labels = Labels(
        image_id=tf.range(case["batch"], dtype=tf.int64),
        image_weight=tf.ones([case["batch"]]),
        valid=tf.constant([[0, 0, *size]] * case["batch"]),
        cell_index=padded([r.cell_index for r in rows], cells, "i4"),
        cell_class=padded([r.cell_class for r in rows], cells, "i4"),
        cell_value=padded([values[r.cell_code] for r in rows], cells, "f4"),
        object_cell=padded([r.object_cell for r in rows], INSTANCES, "i4"),
        object_class=padded([r.object_class for r in rows], INSTANCES, "i4"),
        object_offset=padded([r.object_offset for r in rows], INSTANCES, "f4"),
        object_size=padded([r.object_size for r in rows], INSTANCES, "f4"),
        object_mask=padded([np.ones(len(r.object_cell)) for r in rows], INSTANCES, "f4"),
        ignore_mask=tf.zeros([case["batch"], 0]),
    )
    optimizer = with_clipping(experiment.trainer.optimizer_config, experiment.task.gradient_clip_norm)
    return Task(experiment.task, None), optimizer, experiment.runtime, (tf.constant(batch["image"]), labels)


def model_garden(case: dict[str, Any]) -> tuple[Any, Any, Any, tuple[Any, Any]]:
    """The same for the shipped task: (task, optimizer settings, runtime, (normalised images, labels))."""
    import tensorflow as tf
    from official.projects.centernet.configs import centernet
    from official.projects.centernet.modeling.layers import cn_nn_blocks
    from official.projects.centernet.tasks.centernet import CenterNetTask

    from trainer.config.networks import HOURGLASS_PIXELS
    from trainer.model import network

    class Runnable(CenterNetTask):
        def build_losses(self, outputs: Any, labels: Any, aux_losses: Any = None) -> Any:
            return super().build_losses(outputs, labels | {"boxes": tf.maximum(labels["boxes"], 0.0)}, aux_losses)

        def build_model(self) -> Any:
            model = super().build_model()
            if case["xla"]:
                for block in model.submodules:
                    if isinstance(block, cn_nn_blocks.HourglassBlock) and hasattr(block, "upsample_layer"):
                        block.upsample_layer = network.NearestUpsampling()
            return model

    experiment, batch = _experiment(case), synthetic_batch(case)
    theirs, model = centernet.CenterNetTask(), experiment.task.model
    theirs.model.input_size, theirs.model.num_classes = [case["size"], case["size"], 3], case["classes"]
    theirs.model.backbone, theirs.model.head = model.backbone, model.head
    theirs.losses.class_offset = 0
    missing = ((0, 0), (0, INSTANCES - case["boxes"]))
    labels = {
        "boxes": tf.constant(np.pad(batch["boxes"], (*missing, (0, 0)), constant_values=-1.0)),
        "classes": tf.constant(np.pad(batch["classes"], missing, constant_values=-1), tf.int32),
        "groundtruths": {"num_detections": tf.fill([case["batch"]], case["boxes"])},
        "unpad_image_shapes": tf.constant([[case["size"], case["size"], 3]] * case["batch"]),
    }
    image = tf.cast(network.normalize(batch["image"], HOURGLASS_PIXELS), case["precision"])
    task = Runnable(theirs)
    task._net_down_scale = 4
    return task, experiment.trainer.optimizer_config, experiment.runtime, (image, labels)


def losses_alone(case: dict[str, Any], task: Any, inputs: tuple[Any, Any]) -> Callable[[], Any]:
    """Targets and losses for given heads, and the gradient with respect to the heads."""
    import tensorflow as tf

    heads = {name: [tf.constant(head) for head in maps] for name, maps in synthetic_heads(case).items()}

    @tf.function(jit_compile=case["xla"])
    def call(heads: Any, labels: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(heads)
            loss = task.build_losses(heads, labels)["total_loss"]
        return loss, tape.gradient(loss, heads)

    return lambda: float(call(heads, inputs[1])[0])


def whole_step(case: dict[str, Any], task: Any, optimizer_config: Any, runtime: Any, inputs: Any) -> Callable[[], Any]:
    """The task's own train_step: forward, targets, losses, gradient, clipping, Adam; ours also augments."""
    import tensorflow as tf
    import tf_keras

    from trainer.aot.step import forward_flops
    from trainer.training import distribution

    tf_keras.utils.set_random_seed(1)
    distribution.set_precision(runtime)
    model = task.build_model()
    optimizer = task.create_optimizer(optimizer_config, runtime)
    optimizer._create_all_weights(model.trainable_variables)
    known = {"compiled": case["xla"]} if case["side"] == "ours" else {}
    step = tf.function(lambda x: task.train_step(x, model, optimizer, **known)[task.loss], jit_compile=case["xla"])
    case["flops"] = 3 * forward_flops(model, case["batch"])
    return lambda: float(step(inputs))


def memory_mib(field: str) -> float:
    """VmRSS (now) or VmHWM (the peak) of this process, MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"/proc/self/status has no {field}")


def rise_of(call: Callable[[], Any]) -> tuple[float, float]:
    """The first loss, and the MiB that the first two calls need beyond the memory held before them.

    On a GPU, where memory statistics can be reset between calls, it is that of the second call.
    """
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        loss = call()
        before = tf.config.experimental.get_memory_info("GPU:0")["current"]
        tf.config.experimental.reset_memory_stats("GPU:0")
        call()
        return loss, (tf.config.experimental.get_memory_info("GPU:0")["peak"] - before) / 2**20
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before = memory_mib("VmRSS")
    loss, _ = call(), call()
    return loss, memory_mib("VmHWM") - before


def build(case: dict[str, Any]) -> Callable[[], Any]:
    """The call to measure."""
    task, optimizer_config, runtime, inputs = (ours if case["side"] == "ours" else model_garden)(case)
    if case["part"] == "losses":
        return losses_alone(case, task, inputs)
    return whole_step(case, task, optimizer_config, runtime, inputs)


def work(case: dict[str, Any]) -> None:
    """Prints what one call needs; then, for each number from stdin, (CPU) seconds per call over that many calls."""
    import tensorflow as tf

    if case["part"] == "losses":
        # What tracing and compiling load for the first time doesn't count as this call's memory.
        build(case | {"size": 64, "classes": 3})()
    start = time.perf_counter()
    call = build(case)
    loss, rise = rise_of(call)
    gpus = tf.config.list_physical_devices("GPU")
    device = tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU") if gpus else "CPU"
    peak = memory_mib("VmHWM")
    if gpus:
        peak = tf.config.experimental.get_memory_info("GPU:0")["peak"] / 2**20
    ready = {
        "prepared": time.perf_counter() - start,
        "loss": loss,
        "rise": rise,
        "peak": peak,
        "device": device,
        "flops": case.get("flops", 0),
    }
    print(json.dumps(ready), flush=True)
    for line in sys.stdin:
        calls, start, start_cpu = int(line), time.perf_counter(), time.process_time()
        for _ in range(calls):
            call()
        taken = time.perf_counter() - start, time.process_time() - start_cpu
        print(json.dumps([seconds / calls for seconds in taken]), flush=True)


if __name__ == "__main__":
    work(json.loads(sys.argv[1]))
