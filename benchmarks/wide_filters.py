"""A training step with the gradients of 5 x 5 depthwise filters in parts, against the same step with Keras's layers.

    python -m benchmarks.wide_filters                       custom-cpu
    python -m benchmarks.wide_filters --config demo --rounds 20

Both steps are built from the configuration with random weights, in one process, and take turns on the same random
images. CPU time and time are medians; the first calls, which trace and allocate, don't count.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence

from beam_preprocess.base.command import Parser, run
from beam_preprocess.base.errors import Failure

CLASSES = 6
WARM_UP, CALLS = 3, 5
"""Steps before the first round, and steps of a side per round."""


def parser() -> Parser:
    """The command's flags."""
    made = Parser(prog="python -m benchmarks.wide_filters", description=__doc__)
    made.add_argument("--config", default="custom-cpu", help="shipped configuration, or YAML file; default: custom-cpu")
    made.add_argument("--rounds", type=int, default=12, help=f"of {CALLS} steps per side; default: 12")
    return made


def step_of(config: str, *, in_parts: bool) -> tuple[Callable[[], float], int]:
    """(one training step, which returns the loss; how many of the network's layers have a wide filter)."""
    import tensorflow as tf
    import tf_keras

    from beam_preprocess.base.config_text import resolve
    from trainer.aot.step import Capacity, build_step, manifest_of
    from trainer.config.experiment import build_experiment
    from trainer.config.sections import parse_config
    from trainer.data.heatmap import Labels
    from trainer.model.depthwise import WideDepthwiseConv2D

    found = resolve(config)
    parsed = parse_config(found.text, found.where)
    experiment = build_experiment(parsed)
    experiment.task.model.num_classes, experiment.task.init_checkpoint = CLASSES, ""
    batch = experiment.task.train_data.global_batch_size
    tf_keras.utils.set_random_seed(1)
    built = build_step(experiment, manifest_of(parsed, Capacity(num_classes=CLASSES)), batch, compiled=False)
    wide = [layer for layer in built.model.submodules if isinstance(layer, WideDepthwiseConv2D)]
    if not in_parts:
        for layer in wide:
            layer.__class__ = tf_keras.layers.DepthwiseConv2D
    random = tf.random.stateless_uniform([batch, *experiment.task.model.input_size], (0, 1), 0, 256, tf.int32)
    inputs = [tf.cast(random, tf.uint8)]
    for name, spec in zip(Labels._fields, built.inputs[1:], strict=True):
        shape = [batch if side is None else side for side in spec.shape]
        whole_image = tf.constant([0, 0, *experiment.task.model.input_size[:2]], spec.dtype)
        # Real objects in the first cell, of size and offset 1, with a heatmap of 1 there.
        value = whole_image if name == "valid" else tf.cast(spec.dtype.is_floating, spec.dtype)
        inputs.append(tf.broadcast_to(value, shape))
    return lambda: float(built.step(*inputs)), len(wide)


def _call(flags: argparse.Namespace) -> None:
    # As in local runs (pipeline/preflight/processes.py), and before TensorFlow is imported.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    sides, losses = {}, {}
    for name, in_parts in (("whole", False), ("in parts", True)):
        sides[name], wide = step_of(flags.config, in_parts=in_parts)
        losses[name] = [sides[name]() for _ in range(WARM_UP)]
    for one, other in zip(*losses.values(), strict=True):
        if abs(one - other) > 1e-3 * abs(one):
            raise Failure(f"the sides' losses differ: {losses}")
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for _ in range(flags.rounds):
        for name, step in sides.items():
            for _ in range(CALLS):
                started, cpu = time.monotonic(), time.process_time()
                step()
                times[name].append((time.monotonic() - started, time.process_time() - cpu))
    print(f"{flags.config}: {wide} wide filters, losses of the first steps equal ({losses['whole'][-1]:.3f})")
    medians = {name: [statistics.median(column) for column in zip(*rows, strict=True)] for name, rows in times.items()}
    for name, (seconds, cpu) in medians.items():
        print(f"{name:9} {1e3 * seconds:7.1f} ms   {1e3 * cpu:7.1f} CPU ms")
    ratios = [whole / parts for whole, parts in zip(*medians.values(), strict=True)]
    print(f"ratio     {ratios[0]:7.2f}      {ratios[1]:7.2f}")


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0, or 1 if the sides don't compute the same."""
    return run(parser(), argv, _call)


if __name__ == "__main__":
    sys.exit(main())
