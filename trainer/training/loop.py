"""The loops of steps: Model Garden's trainer, with XLA on any device and a stop within a loop."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf
import tf_keras
from official.core import base_trainer
from official.core import config_definitions as cfg
from official.modeling import optimization

from trainer.model import depthwise
from trainer.training import distribution
from trainer.training.preemption import Interrupted, Preemption
from trainer.training.task import Task
from trainer.training.throughput import Throughput

IMAGES = "images"
"""Key in the output of an evaluation: number of images scored."""


class Trainer(base_trainer.Trainer):
    """Model Garden's trainer; `runtime.enable_xla` compiles the step on a single device of any kind.

    Model Garden honours the flag on GPUs only. With several replicas in one process XLA can't reach the variables of
    the other devices, so there Model Garden's own rule applies.

    Args:
      experiment: fitted to the records.
      task: with its `step`, which becomes the trainer's.
      model: the task's.
      optimizer: the task's.
      throughput: measures the loops.
      preemption: asked within every loop and evaluation whether to stop; None: nothing interrupts them.
      on_piece: called every few seconds within a loop, with what `train` would return.
      train: whether it can train.
      evaluate: whether it can evaluate.
    """

    def __init__(
        self,
        experiment: cfg.ExperimentConfig,
        task: Task,
        *,
        model: tf_keras.Model,
        optimizer: tf_keras.optimizers.Optimizer,
        throughput: Throughput,
        preemption: Preemption | None = None,
        on_piece: Callable[[dict[str, tf.Tensor]], None] | None = None,
        train: bool = True,
        evaluate: bool = True,
    ) -> None:
        super().__init__(experiment, task, model=model, optimizer=optimizer, train=train, evaluate=evaluate)
        self._throughput, self._on_piece = throughput, on_piece
        self._preemption = preemption or Preemption()
        self._run_steps: Any = None
        self._batches: Any = None
        self._step_is_built = False

    @property
    def global_step(self) -> tf.Variable:
        """The task's step, which also seeds the augmentation."""
        return self.task.step

    def train(self, num_steps: tf.Tensor) -> dict[str, tf.Tensor]:
        """See base class; notices a request to stop within the loop.

        Raises:
          Interrupted: with the output of the steps that were made.
        """
        step = int(self.global_step.numpy())
        until = step + int(num_steps)
        self._throughput.begin_loop(step)
        self.train_loop_begin()
        if self._run_steps is None:
            self._run_steps, self._batches = self.create_train_loop_fn(), iter(self.train_dataset)
        for steps in self._preemption.pieces(int(num_steps)):
            self._run_steps(self._batches, tf.constant(steps, tf.int32))
            step = int(self.global_step.numpy())  # waits for the device, which may be behind
            if step < until and not self._step_is_built:
                self._throughput.exclude_until(step)
            elif step < until and self._on_piece:
                self._on_piece(self._output_so_far())
            self._step_is_built = True
        self._throughput.end_loop(step)
        output = self.train_loop_end()
        if self._preemption.asked:
            raise Interrupted(output)
        return output

    def _output_so_far(self) -> dict[str, tf.Tensor]:
        """Means over the loop's steps so far, and the learning rate."""
        rate = self.optimizer.learning_rate
        return {
            **{metric.name: metric.result() for metric in self.train_metrics},
            "learning_rate": rate(self.optimizer.iterations) if callable(rate) else rate,
        }

    def next_train_inputs(self, iterator: Any) -> Any:
        """See base class; measures how long the step waits."""
        started = tf.timestamp()
        with tf.control_dependencies([started]):
            inputs = super().next_train_inputs(iterator)
        with tf.control_dependencies(tf.nest.flatten(self.strategy.experimental_local_results(inputs))):
            counted = self._throughput.add_wait(tf.timestamp() - started)
        if self.strategy.num_replicas_in_sync > 1:
            return inputs
        # On a machine with one core, the clock would be read after the step, which then would count as waiting.
        with tf.control_dependencies([counted]):
            return tf.nest.map_structure(_where_it_is, inputs, expand_composites=True)

    def train_step(self, iterator: Any) -> None:
        """See base class."""
        if not self.config.runtime.enable_xla or self.strategy.num_replicas_in_sync > 1:
            with depthwise.gradients_in_parts("CPU" in self.strategy.extended.worker_devices[0]):
                super().train_step(iterator)
            return
        compiled = tf.function(
            lambda inputs: self.task.train_step(inputs, self.model, self.optimizer, self.train_metrics, compiled=True),
            jit_compile=True,
        )

        def step_fn(inputs: Any) -> None:
            self.train_loss.update_state(compiled(inputs)[self.task.loss])
            self.global_step.assign_add(1)

        self.strategy.run(step_fn, args=(self.next_train_inputs(iterator),))

    def evaluate(self, num_steps: tf.Tensor) -> dict[str, tf.Tensor]:
        """See base class.

        Raises:
          Interrupted: asked to stop within the evaluation.
        """
        try:
            return super().evaluate(num_steps)
        except Interrupted:
            if isinstance(self.optimizer, optimization.ExponentialMovingAverage):
                self.optimizer.swap_weights()  # back: the model held the averages during the evaluation
            raise

    def eval_reduce(self, state: Any = None, step_outputs: Any = None) -> Any:
        """See base class."""
        self._preemption.check()
        return super().eval_reduce(state, step_outputs)

    def eval_end(self, aggregated_logs: Any = None) -> dict[str, Any]:
        """See base class. AP covers the images of all workers; their number is in the output."""
        batches = distribution.gather(self.strategy, aggregated_logs)
        return {**super().eval_end(batches), IMAGES: sum(len(batch["scores"]) for batch in batches)}


def _where_it_is(tensor: tf.Tensor) -> tf.Tensor:
    """The same values on the same device."""
    with tf.device(tensor.device):
        return tf.identity(tensor)
