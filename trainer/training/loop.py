"""What our loop adds to Model Garden's: XLA on any device, a stop on the way, progress, history, a stop at NaN."""

import json
import math
import os
import time
from collections.abc import Callable
from typing import Any

import orbit
import tensorflow as tf
from official.core import base_trainer
from official.core import config_definitions as cfg
from official.modeling import optimization

from beam_preprocess.format.manifest import Manifest
from trainer.training import checkpoints, distribution, progress_line
from trainer.training.preemption import Interrupted, Preemption

HISTORY = "history.jsonl"
IMAGES = "images"
"""Of an evaluation: how many were scored."""


class NonFiniteLoss(RuntimeError):
    """The loss or a weight became NaN or infinite; the last checkpoint is older and good."""


class Trainer(base_trainer.Trainer):
    """Model Garden's trainer; `runtime.enable_xla` compiles the step on a single device of any kind.

    Model Garden honours the flag on GPUs only. With several replicas in one process XLA can't reach the
    other devices' variables, so there the flag stays with Model Garden.
    """

    data_wait: tf.Variable | None = None
    """float64 scalar on the host: seconds that the steps so far waited for their input; None doesn't measure."""
    timed_from = 0, 0.0, 0.0
    """Where the speed of the newest loop counts from: (step, time.monotonic(), seconds waited for input until then).

    Without the evaluations and checkpoints between two loops, and without the first step, in which the graph is built.
    """
    preemption: Preemption | None = None
    """Asked on the way, in training and evaluation; None: nothing interrupts them."""
    on_the_way: Callable[[dict[str, tf.Tensor]], None] | None = None
    """Called every few seconds within a loop, with what `train` would return."""

    _train_loop_fn: Any
    _train_iter: Any

    def train(self, num_steps: tf.Tensor) -> dict[str, tf.Tensor]:
        """See base class; a request to stop is noticed on the way.

        Raises:
          Interrupted: with the output of the steps that were made.
        """
        stop = self.preemption or Preemption()
        self._time_from_here()
        started = self.timed_from
        self.train_loop_begin()
        if self._train_loop_fn is None:
            self._train_loop_fn = self.create_train_loop_fn()
        if self._train_iter is None:
            self._train_iter = iter(self.train_dataset)
        step = int(self.global_step.numpy())
        until = step + int(num_steps)
        for steps in stop.pieces(int(num_steps)):
            self._train_loop_fn(self._train_iter, tf.constant(steps, tf.int32))
            step = int(self.global_step.numpy())  # waits for the device, which may be behind
            if step < until and not stop.worth_saving:
                self._time_from_here()
            elif step < until and self.on_the_way:
                self.on_the_way(self._so_far())
            stop.worth_saving = True
        if self.timed_from[0] == step:  # stopped after the first one: it is all that there is
            self.timed_from = started
        output = self.train_loop_end()
        if stop.asked:
            raise Interrupted(output)
        return output

    def _time_from_here(self) -> None:
        self.timed_from = int(self.global_step.numpy()), time.monotonic(), self.waited()

    def waited(self) -> float:
        """Seconds that the steps so far waited for their input."""
        return 0.0 if self.data_wait is None else float(self.data_wait.numpy())

    def _so_far(self) -> dict[str, tf.Tensor]:
        """Means of the loop's steps until now, and the learning rate."""
        rate = self.optimizer.learning_rate
        return {
            **{metric.name: metric.result() for metric in self.train_metrics},
            "learning_rate": rate(self.optimizer.iterations) if callable(rate) else rate,
        }

    def evaluate(self, num_steps: tf.Tensor) -> dict[str, tf.Tensor]:
        """See base class.

        Raises:
          Interrupted: asked to stop on the way.
        """
        try:
            return super().evaluate(num_steps)
        except Interrupted:
            if isinstance(self.optimizer, optimization.ExponentialMovingAverage):
                self.optimizer.swap_weights()  # back: the averages were in the model's place
            raise

    def eval_reduce(self, state: Any = None, step_outputs: Any = None) -> Any:
        """See base class."""
        if self.preemption:
            self.preemption.check()
        return super().eval_reduce(state, step_outputs)

    def eval_end(self, aggregated_logs: Any = None) -> dict[str, Any]:
        """See base class. AP is that of all workers' images, whose number is given too."""
        batches = distribution.gather(self.strategy, aggregated_logs)
        return {**super().eval_end(batches), IMAGES: sum(len(batch["scores"]) for batch in batches)}

    def next_train_inputs(self, iterator: Any) -> Any:
        """See base class."""
        if self.data_wait is None:
            return super().next_train_inputs(iterator)
        started = tf.timestamp()
        with tf.control_dependencies([started]):
            inputs = super().next_train_inputs(iterator)
        with tf.control_dependencies(tf.nest.flatten(self.strategy.experimental_local_results(inputs))):
            self.data_wait.assign_add(tf.timestamp() - started)
        return inputs

    def train_step(self, iterator: Any) -> None:
        """See base class."""
        if not self.config.runtime.enable_xla or self.strategy.num_replicas_in_sync > 1:
            super().train_step(iterator)
            return
        compiled = tf.function(
            lambda inputs: self.task.train_step(inputs, self.model, self.optimizer, self.train_metrics),
            jit_compile=True,
        )

        def step_fn(inputs: Any) -> None:
            self._train_loss.update_state(compiled(inputs)[self.task.loss])
            self.global_step.assign_add(1)

        self.strategy.run(step_fn, args=(self.next_train_inputs(iterator),))


class History:
    """`history.jsonl`: one row a check, and one a validation.

    A resumed run drops the rows after its checkpoint: they are measured again.
    """

    def __init__(self, folder: str, first_step: int, earlier: list[dict[str, Any]], name: str = HISTORY) -> None:
        """
        Args:
          folder: where to write; also TensorBoard's `tensorboard/`.
          first_step: of this run; later rows of earlier ones are dropped.
          earlier: what the file holds already.
          name: of the file.
        """
        self._path = os.path.join(folder, name)
        self._rows = [row for row in earlier if row["step"] <= first_step]
        self._summaries = tf.summary.create_file_writer(os.path.join(folder, "tensorboard"))
        self._write()

    def add(self, row: dict[str, Any]) -> None:
        """Appends a row; rows of one step are merged."""
        if self._rows and self._rows[-1]["step"] == row["step"]:
            self._rows[-1].update(row)
        else:
            self._rows.append(row)
        with self._summaries.as_default(step=row["step"]):
            for name, value in row.items():
                if name != "step" and value is not None:
                    tf.summary.scalar(name, value)
        self._write()

    def last(self) -> dict[str, Any]:
        """The newest row; empty when no step was run."""
        return self._rows[-1] if self._rows else {}

    def _write(self) -> None:
        checkpoints.write(self._path, "".join(json.dumps(row) + "\n" for row in self._rows))


def read_history(folder: str, name: str = HISTORY) -> list[dict[str, Any]]:
    """The rows of a folder's history; none when there is no file yet."""
    path = os.path.join(folder, name)
    if not tf.io.gfile.exists(path):
        return []
    with tf.io.gfile.GFile(path) as file:
        return [json.loads(line) for line in file.read().splitlines()]


class Progress:
    """After every `steps_per_loop` steps: a progress line, a history row, and a stop at numbers that aren't finite."""

    def __init__(
        self, experiment: cfg.ExperimentConfig, manifest: Manifest, trainer: Trainer, history: History
    ) -> None:
        self._total = experiment.trainer.train_steps
        self._batch = experiment.task.train_data.global_batch_size
        self._images, self._trainer, self._history = manifest.images, trainer, history
        self._step = int(trainer.global_step.numpy())
        self._line = progress_line.ProgressLine(self._total)

    def __call__(self, output: orbit.runner.Output) -> None:
        step = int(self._trainer.global_step.numpy())
        values = {name: float(orbit.utils.get_value(value)) for name, value in output.items()}
        losses = {name: value for name, value in values.items() if name not in ("training_loss", "learning_rate")}
        broken = sorted(f"{name} became {value}" for name, value in losses.items() if not math.isfinite(value))
        # A step's loss is that of the weights before it: without this the checkpoint of now could hold broken ones.
        if not broken and not bool(_all_finite(self._trainer.model.trainable_variables)):
            broken = ["a weight became NaN or infinite"]
        if broken:
            raise NonFiniteLoss(
                f"{', '.join(broken)} between steps {self._step + 1} and {step}; the last checkpoint is from before. "
                "Lower trainer.optimizer_config.learning_rate or raise its warm-up"
            )
        rate, share = self._speed(step)
        self._history.add(
            {
                "step": step,
                "epoch": round(step * self._batch / self._images, 3),
                **{name: round(value, 6) for name, value in losses.items()},
                "learning_rate": values["learning_rate"],
                "images_per_second": round(rate, 2),
                "data_wait": round(share, 4),
            }
        )
        self._show(step, values, rate, share)
        self._step = step

    def on_the_way(self, output: orbit.runner.Output) -> None:
        """The line alone: a loop can take minutes, and the end of it comes as well."""
        step = int(self._trainer.global_step.numpy())
        values = {name: float(orbit.utils.get_value(value)) for name, value in output.items()}
        rate, share = self._speed(step)
        self._show(step, values, rate, share)

    def _speed(self, step: int) -> tuple[float, float]:
        """(images a second, share of the time that was waited for input)."""
        first, started, waited = self._trainer.timed_from
        elapsed = time.monotonic() - started
        return (step - first) * self._batch / elapsed, min((self._trainer.waited() - waited) / elapsed, 1.0)

    def _show(self, step: int, values: dict[str, float], rate: float, share: float) -> None:
        left = (self._total - step) * self._batch / rate
        self._line.show(
            step,
            f"loss {values['total_loss']:.3f} "
            f"(centre {values['ct_loss']:.3f}, size {values['scale_loss']:.3f}, offset {values['ct_offset_loss']:.3f})"
            f"  lr {values['learning_rate']:.2e}  {rate:.1f} img/s  data wait {share:.0%}"
            f"  ETA {progress_line.duration(left)}",
        )

    def close(self) -> None:
        """To be called when training ends, however it does."""
        self._line.close()


@tf.function
def _all_finite(variables: list[tf.Variable]) -> tf.Tensor:
    return tf.reduce_all([tf.reduce_all(tf.math.is_finite(variable)) for variable in variables])


class Validation:
    """After every validation: a history row and a line."""

    def __init__(self, trainer: Trainer, history: History) -> None:
        self._trainer, self._history = trainer, history

    def __call__(self, output: orbit.runner.Output) -> None:
        step = int(self._trainer.global_step.numpy())
        loss = float(orbit.utils.get_value(output["total_loss"]))
        # Without objects there is no AP: null, as everywhere.
        ap, ap50 = (None if output[name] < 0 else round(float(output[name]), 6) for name in ("ap", "ap50"))
        self._history.add({"step": step, "validation_loss": round(loss, 6), "ap": ap, "ap50": ap50})
        shown = "n/a" if ap is None else f"{ap:.4f} (AP50 {ap50:.4f})"
        progress_line.note(
            f"progress: train step {step}: validation loss {loss:.3f}, AP {shown} on {output[IMAGES]} images"
        )
