"""The moving average of the weights (`optimizer_config.ema`): Model Garden's, with three repairs.

1. It goes around the loss scaling of float16; Model Garden puts it inside, where the first step fails.
2. Average and weights are exchanged exactly: by sums and differences, as there, every validation rounds the weights.
3. The averages exist as soon as the other slots do, so that a step needs no trainer around it.
"""

from typing import Any

import tensorflow as tf
import tf_keras
from official.modeling import optimization


class AveragedWeights(optimization.ExponentialMovingAverage):
    """An optimizer around an optimizer; what it averages is in the slots `average`."""

    def _create_all_weights(self, var_list: list[tf.Variable]) -> None:
        self._optimizer._create_all_weights(var_list)
        if self._trainable_weights_only and not self.has_shadow_copy:
            self._model_weights = list(var_list)
            self._average_weights = [self.add_slot(variable, "average") for variable in var_list]

    @property
    def learning_rate(self) -> Any:
        """The schedule, or a number."""
        return self._optimizer.learning_rate

    def swap_weights(self) -> None:
        """Exchanges the model's weights and their averages; to be called in the strategy's scope."""
        for average, weight in zip(self._average_weights, self._model_weights, strict=True):
            kept = tf.identity(weight.read_value())
            weight.assign(average.read_value())
            average.assign(kept)


def averaged(
    optimizer: tf_keras.optimizers.Optimizer, ema: optimization.EMAConfig | None
) -> tf_keras.optimizers.Optimizer:
    """The optimizer, inside a moving average where one is configured."""
    return AveragedWeights(optimizer, **ema.as_dict()) if ema else optimizer


def loss_scaling(optimizer: tf_keras.optimizers.Optimizer) -> tf_keras.mixed_precision.LossScaleOptimizer | None:
    """The part of an optimizer that scales the loss; None when none does."""
    inner = optimizer._optimizer if isinstance(optimizer, AveragedWeights) else optimizer
    return inner if isinstance(inner, tf_keras.mixed_precision.LossScaleOptimizer) else None
