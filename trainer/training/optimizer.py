"""The optimizer: Model Garden's and Keras's, with the moving average of the weights (`optimizer_config.ema`) repaired.

The repairs:

1. The average goes around the loss scaling of float16; Model Garden puts it inside, where the first step fails.
2. Average and weights are exchanged exactly; Model Garden adds and subtracts, so every validation rounds the weights.
3. The averages exist as soon as the other slots do, so that a step needs no trainer around it.

This is the only module that touches private parts of Model Garden's and Keras's optimizers. If a release moves them,
change it here; tests/trainer/training/test_optimizer.py names each one.
"""

import copy
from collections.abc import Sequence
from typing import Any

import tensorflow as tf
import tf_keras
from official.modeling import optimization
from tensorflow.compiler.tf2xla.python import xla


class AveragedWeights(optimization.ExponentialMovingAverage):
    """An optimizer around an optimizer; the averages are in the slots `average`."""

    def _create_all_weights(self, var_list: list[tf.Variable]) -> None:
        create_slots(self._optimizer, var_list)
        if self._trainable_weights_only and not self.has_shadow_copy:
            self._model_weights = list(var_list)
            self._average_weights = [self.add_slot(variable, "average") for variable in var_list]

    @property
    def learning_rate(self) -> Any:
        """The schedule, or a number."""
        return self._optimizer.learning_rate

    def swap_weights(self) -> None:
        """Exchanges the model's weights and their averages; call it in the strategy's scope."""
        for average, weight in zip(self._average_weights, self._model_weights, strict=True):
            kept = tf.identity(weight.read_value())
            weight.assign(average.read_value())
            average.assign(kept)


def averaged(
    optimizer: tf_keras.optimizers.Optimizer, ema: optimization.EMAConfig | None
) -> tf_keras.optimizers.Optimizer:
    """The optimizer, inside a moving average if one is configured."""
    return AveragedWeights(optimizer, **ema.as_dict()) if ema else optimizer


def loss_scaling(optimizer: tf_keras.optimizers.Optimizer) -> tf_keras.mixed_precision.LossScaleOptimizer | None:
    """The part of an optimizer that scales the loss, or None."""
    inner = optimizer._optimizer if isinstance(optimizer, AveragedWeights) else optimizer
    return inner if isinstance(inner, tf_keras.mixed_precision.LossScaleOptimizer) else None


def create_slots(optimizer: tf_keras.optimizers.Optimizer, variables: Sequence[tf.Variable]) -> None:
    """Creates the slots before the first step, so that a checkpoint restores into them at once."""
    optimizer._create_all_weights(variables)


def with_clipping(config: optimization.OptimizationConfig, norm: float) -> optimization.OptimizationConfig:
    """The optimizer's configuration with `global_clipnorm` set, which acts after the all-reduce.

    Model Garden clips the gradient of every replica before it, so that the threshold grows with the replicas.
    """
    if not norm:
        return config
    clipped = copy.deepcopy(config)
    clipped.optimizer.get().global_clipnorm = norm
    return clipped


def apart(gradients: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """The same gradients, in memory before the optimizer reads them; only where XLA compiles.

    On a GPU, XLA's gradients of convolutions lie in another order than the weights. Left to itself, it turns them
    within the update of each weight, which then can't happen in place: on an H100, Hourglass-104's update took 8.4 ms
    instead of 3.2. A flat gradient has only one order.
    """
    flat = xla.optimization_barrier(*(tf.reshape(gradient, [-1]) for gradient in gradients))
    return [tf.reshape(value, gradient.shape) for value, gradient in zip(flat, gradients, strict=True)]
