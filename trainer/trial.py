"""How long is a training step on this machine? Times a configuration's step for a few seconds, on empty images.

    python -m trainer.trial --config-file my.yaml --num-classes 6

`centernet init` and `centernet run` call it in a process of its own, since it needs TensorFlow.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Sequence

from beam_preprocess.base import command

MIN_STEPS = 2
"""After the first, which builds the step."""


def parser() -> command.Parser:
    """The command's flags."""
    made = command.Parser(prog="python -m trainer.trial", description=__doc__)
    made.add_argument("--config-file", required=True, help="shipped configuration, or YAML file")
    made.add_argument("--num-classes", type=int, required=True, help="of the data")
    made.add_argument("--seconds", type=float, default=10.0, help="duration of the trial (default: %(default)s)")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Prints one JSON object.

    {"seconds": median of a step, "cpu_seconds": mean CPU time of a step, "start_seconds": until the first step ended,
    "start_cpu_seconds", "steps", "busy": whether others used the processors when it started}
    """
    return command.run(parser(), argv, _call)


def _call(flags: argparse.Namespace) -> None:
    started, busy = time.monotonic(), os.getloadavg()[0] > (os.cpu_count() or 1)
    import tensorflow as tf

    from beam_preprocess.base.config_text import resolve
    from trainer.aot.step import Capacity, build_step, manifest_of
    from trainer.config.experiment import build_experiment
    from trainer.config.sections import parse_config

    found = resolve(flags.config_file)
    config = parse_config(found.text, found.where)
    experiment = build_experiment(config)
    experiment.task.model.num_classes = experiment.task.model.num_classes or flags.num_classes
    experiment.task.init_checkpoint = ""
    manifest = manifest_of(config, Capacity(num_classes=experiment.task.model.num_classes))
    batch = experiment.task.train_data.global_batch_size
    step, specs, *_ = build_step(experiment, manifest, batch, compiled=experiment.runtime.enable_xla)
    inputs = [tf.zeros([batch if side is None else side for side in spec.shape], spec.dtype) for spec in specs]
    step(*inputs).numpy()
    first, first_cpu = time.monotonic(), time.process_time()
    times: list[float] = []
    while len(times) < MIN_STEPS or time.monotonic() - first < flags.seconds:
        before = time.monotonic()
        step(*inputs).numpy()
        times.append(time.monotonic() - before)
    result = {
        "seconds": statistics.median(times),
        "cpu_seconds": (time.process_time() - first_cpu) / len(times),
        "start_seconds": first - started,
        "start_cpu_seconds": first_cpu,
        "steps": len(times),
        "busy": busy,
    }
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    sys.exit(main())
