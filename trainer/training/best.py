"""The weights of the best validation on the hold-out (`trainer.choose_checkpoint: best`).

best/step-<step>.*   the weights that were validated at that step (averaged weights if EMA is on)
best/best.json       the kept ones with their AP, in the order of their steps; each is better than the one before it

A resumed training repeats the steps after its checkpoint, and their validations. So what counts at its start are the
validations up to that step, and the best one up to each checkpoint is kept as long as the checkpoint is.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import tensorflow as tf
import tf_keras
from official.modeling import optimization

from beam_preprocess.base import json as checked_json
from beam_preprocess.base.errors import InputError
from trainer.training import checkpoints
from trainer.training.distribution import CrossWorkerSum

FOLDER = "best"
LIST = "best.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Validation:
    """One validation whose weights are kept."""

    step: int
    ap: float


@dataclass(frozen=True, kw_only=True, slots=True)
class _Kept:
    validations: tuple[Validation, ...]


class BestWeights:
    """Keeps the weights of the best validation so far.

    Every worker of a training does the same: reading synchronised variables takes all of them. Each writes into its own
    folder; the chief's is the model folder.

    Args:
      output: the model folder.
      folder: where this worker writes.
      first_step: of this run; later validations of an interrupted run don't count.
      model: whose weights are kept.
      optimizer: its averages are kept instead, if it has some.
      cross_worker_sum: of the strategy; lets all workers start from what the chief finds.
    """

    def __init__(
        self,
        output: str,
        folder: str,
        first_step: int,
        *,
        model: tf_keras.Model,
        optimizer: tf_keras.optimizers.Optimizer,
        cross_worker_sum: CrossWorkerSum,
    ) -> None:
        self._output, self._folder = output, folder
        self._model, self._optimizer = model, optimizer
        earlier = _read(folder) if folder == output else ()
        self._kept = [found for found in earlier if found.step <= first_step]
        if len(self._kept) < len(earlier):
            self._write_list()
        newest = self._kept[-1] if self._kept else Validation(step=0, ap=0.0)
        step, ap = cross_worker_sum([newest.step, newest.ap] if folder == output else [0.0, 0.0]).tolist()
        if step and not self._kept:  # not the chief
            self._kept = [Validation(step=int(step), ap=ap)]

    def after_validation(self, step: int, ap: float | None, saved_steps: Sequence[int]) -> bool:
        """Keeps the weights if they are the best so far; says whether they are.

        Args:
          step: of the validation.
          ap: on the hold-out; None if it has no objects.
          saved_steps: steps of the checkpoints that a resumed run may start from.

        Raises:
          InputError: there is no AP.
          checkpoints.SaveError: the weights can't be written.
        """
        if ap is None:
            raise InputError(
                "trainer.choose_checkpoint: best, but the held-out images have no objects; raise "
                "trainer.holdout_fraction, or set last"
            )
        ap = float(np.float32(ap))  # as it travels between workers
        if self._kept and ap <= self._kept[-1].ap:
            return False
        self._write(step)
        self._kept = [*self._kept, Validation(step=step, ap=ap)]
        self._forget(saved_steps)
        return True

    def restore(self) -> Validation:
        """Loads the best weights into the model; call it in the strategy's scope, after the last validation."""
        best = self._kept[-1]
        here, shared = (_prefix(folder, best.step) for folder in (self._folder, self._output))
        prefix = here if tf.io.gfile.exists(f"{here}.index") else shared
        tf.train.Checkpoint(**self._model.checkpoint_items).read(prefix).assert_consumed()
        return best

    def clear(self) -> None:
        """Removes what was kept; called once the final weights are written."""
        path = os.path.join(self._folder, FOLDER)
        if tf.io.gfile.exists(path):
            tf.io.gfile.rmtree(path)

    def _write(self, step: int) -> None:
        averaged = isinstance(self._optimizer, optimization.ExponentialMovingAverage)
        if averaged:
            self._optimizer.swap_weights()
        try:
            with checkpoints.as_save_error(self._folder):
                tf.io.gfile.makedirs(os.path.join(self._folder, FOLDER))
                tf.train.Checkpoint(**self._model.checkpoint_items).write(_prefix(self._folder, step))
        finally:
            if averaged:
                self._optimizer.swap_weights()

    def _forget(self, saved_steps: Sequence[int]) -> None:
        """Writes the list, then removes what neither a resumed run nor the end of this one can ask for."""
        needed = {self._kept[-1].step}
        for saved in saved_steps:
            needed |= {max((found.step for found in self._kept if found.step <= saved), default=0)}
        self._kept = [found for found in self._kept if found.step in needed]
        self._write_list()
        folder = os.path.join(self._folder, FOLDER)
        wanted = {os.path.basename(_prefix("", found.step)) for found in self._kept}
        for name in tf.io.gfile.listdir(folder):
            if name.startswith("step-") and name.split(".")[0] not in wanted:
                tf.io.gfile.remove(os.path.join(folder, name))

    def _write_list(self) -> None:
        text = json.dumps({"validations": [asdict(found) for found in self._kept]}, indent=1) + "\n"
        checkpoints.write_text(os.path.join(self._folder, FOLDER, LIST), text)


def _read(folder: str) -> tuple[Validation, ...]:
    path = os.path.join(folder, FOLDER, LIST)
    if not tf.io.gfile.exists(path):
        return ()
    with tf.io.gfile.GFile(path) as file:
        return checked_json.read(_Kept, file.read(), path, "remove the model folder, and train again").validations


def _prefix(folder: str, step: int) -> str:
    return os.path.join(folder, FOLDER, f"step-{step}")
