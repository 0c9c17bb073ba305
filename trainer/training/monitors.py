"""What happens to the numbers of a loop of steps or a validation: a history row, a progress line, a stop at NaN."""

import math

import orbit
import tensorflow as tf
import tf_keras
from official.core import config_definitions as cfg

from beam_preprocess.base.errors import Failure
from trainer.training import progress_line
from trainer.training.history import MEASURED_ON, History
from trainer.training.interim_ap import AP, AP50
from trainer.training.loop import IMAGES
from trainer.training.throughput import Throughput


class NonFiniteLoss(Failure):
    """The loss or a weight became NaN or infinite; the last checkpoint is older and good."""


class LoopMonitor:
    """Checks, records and shows the numbers of every loop of `trainer.steps_per_loop` steps.

    Args:
      experiment: of the training.
      images: number of images in an epoch.
      model: whose weights must stay finite.
      step: the global step.
      throughput: measures the loops.
      history: takes the rows.
    """

    def __init__(
        self,
        experiment: cfg.ExperimentConfig,
        images: int,
        *,
        model: tf_keras.Model,
        step: tf.Variable,
        throughput: Throughput,
        history: History,
    ) -> None:
        self._total = experiment.trainer.train_steps
        self._batch = experiment.task.train_data.global_batch_size
        self._images, self._model, self._step = images, model, step
        self._throughput, self._history = throughput, history
        self._checked = int(step.numpy())
        self._line = progress_line.ProgressLine(self._total)

    def after_loop(self, output: orbit.runner.Output) -> None:
        """Called after each loop, with its output.

        Raises:
          NonFiniteLoss: a loss or a weight is NaN or infinite.
        """
        step = int(self._step.numpy())
        values = _floats(output)
        losses = {name: value for name, value in values.items() if name not in ("training_loss", "learning_rate")}
        broken = sorted(f"{name} became {value}" for name, value in losses.items() if not math.isfinite(value))
        # A step's loss belongs to the weights before it; without this check the next checkpoint could hold broken ones.
        if not broken and not bool(_all_finite(self._model.trainable_variables)):
            broken = ["a weight became NaN or infinite"]
        if broken:
            raise NonFiniteLoss(
                f"{', '.join(broken)} between steps {self._checked + 1} and {step}; the last checkpoint is older. "
                "Lower trainer.optimizer_config.learning_rate or lengthen its warm-up"
            )
        rate, waiting = self._throughput.measure(step)
        self._history.add(
            {
                "step": step,
                "epoch": round(step * self._batch / self._images, 3),
                **{name: round(value, 6) for name, value in losses.items()},
                "learning_rate": values["learning_rate"],
                "images_per_second": round(rate, 2),
                "data_wait": round(waiting, 4),
            }
        )
        self._show(step, values, rate, waiting)
        self._checked = step

    def within_loop(self, output: orbit.runner.Output) -> None:
        """Called every few seconds within a loop, which can take minutes; shows the progress line only."""
        step = int(self._step.numpy())
        self._show(step, _floats(output), *self._throughput.measure(step))

    def _show(self, step: int, values: dict[str, float], rate: float, waiting: float) -> None:
        left = (self._total - step) * self._batch / rate
        self._line.show(
            step,
            f"loss {values['total_loss']:.3f} "
            f"(centre {values['ct_loss']:.3f}, size {values['scale_loss']:.3f}, offset {values['ct_offset_loss']:.3f})"
            f"  lr {values['learning_rate']:.2e}  {rate:.1f} img/s  data wait {waiting:.0%}"
            f"  ETA {progress_line.duration(left)}",
        )

    def close(self) -> None:
        """Called when training ends, however it ends."""
        self._line.close()


class ValidationMonitor:
    """Records and shows the numbers of every validation.

    Args:
      step: the global step.
      history: takes the rows.
      kind: of the images that are measured, such as "validation images".
    """

    def __init__(self, step: tf.Variable, history: History, kind: str = "validation images") -> None:
        self._step, self._history, self._kind = step, history, kind

    def after_validation(self, output: orbit.runner.Output) -> float | None:
        """Called after each validation, with its output; returns the AP, None without objects."""
        step = int(self._step.numpy())
        loss = float(orbit.utils.get_value(output["total_loss"]))
        # Without objects there is no AP: null, as everywhere.
        ap, ap50 = (None if output[name] < 0 else round(float(output[name]), 6) for name in (AP, AP50))
        measured_on = f"{output[IMAGES]} {self._kind}"
        row = {"step": step, "validation_loss": round(loss, 6), "ap": ap, "ap50": ap50, MEASURED_ON: measured_on}
        self._history.add(row)
        shown = "n/a" if ap is None else f"{ap:.4f} (AP50 {ap50:.4f})"
        progress_line.note(f"note: train step {step}: validation loss {loss:.3f}, AP {shown} on {measured_on}")
        return ap


def _floats(output: orbit.runner.Output) -> dict[str, float]:
    return {name: float(orbit.utils.get_value(value)) for name, value in output.items()}


@tf.function(autograph=False)
def _all_finite(variables: list[tf.Variable]) -> tf.Tensor:
    return tf.reduce_all([tf.reduce_all(tf.math.is_finite(variable)) for variable in variables])
