"""The modes eval and continuous_eval: losses and AP of a training's checkpoints, without touching the training."""

import time
from collections.abc import Iterator
from typing import Any

import orbit
import tensorflow as tf
import tf_keras
from official.core import config_definitions as cfg

from beam_preprocess.base.errors import InputError
from trainer.data import input_pipeline
from trainer.training import checkpoints, distribution
from trainer.training.history import History, read_history
from trainer.training.loop import Trainer
from trainer.training.monitors import ValidationMonitor
from trainer.training.optimizer import create_slots
from trainer.training.task import Task
from trainer.training.throughput import Throughput

HISTORY = "validation.jsonl"
"""Next to the training's own history.jsonl, which only the training writes."""
POLL_SECONDS = 1.0


def evaluate_checkpoints(
    experiment: cfg.ExperimentConfig, *, model_dir: str, val_records: str, continuous: bool = False
) -> dict[str, Any]:
    """Evaluates the newest checkpoint, or each one as it appears until the training's last step.

    Args:
      experiment: fitted to the validation records.
      model_dir: of a training, running or finished.
      val_records: folder of validation records.
      continuous: wait up to `trainer.continuous_eval_timeout` seconds for each further checkpoint.

    Returns:
      The newest row: step, validation_loss, ap, ap50.

    Raises:
      InputError: there is no checkpoint.
    """
    newest = checkpoints.newest_whole(model_dir, repair=False)
    if newest is None and not continuous:
        raise InputError(f"{model_dir}: no checkpoint there; train first, or give the right --model_dir")
    manifest = input_pipeline.load_manifest(val_records)
    input_pipeline.check_shards(val_records, manifest)
    strategy = distribution.make_strategy(experiment.runtime)
    batch = experiment.task.validation_data.global_batch_size
    distribution.check_batch(batch, strategy, "task.validation_data.global_batch_size")
    distribution.set_precision(experiment.runtime)
    throughput = Throughput(batch)
    with strategy.scope():
        task = Task(experiment.task, manifest, step=orbit.utils.create_global_step())
        model: tf_keras.Model = task.build_model()
        # If there are moving averages, they are what is evaluated.
        optimizer = task.create_optimizer(experiment.trainer.optimizer_config, experiment.runtime)
        create_slots(optimizer, model.trainable_variables)
        trainer = Trainer(experiment, task, model=model, optimizer=optimizer, throughput=throughput, train=False)
    history = History(model_dir, 1 << 62, read_history(model_dir, HISTORY), HISTORY)
    settings = experiment.trainer
    validations = ValidationMonitor(trainer.global_step, history)
    with strategy.scope():
        for prefix in _new_checkpoints(model_dir, settings) if newest is None or continuous else [newest]:
            _restore(trainer, prefix)
            validations.after_validation(trainer.evaluate(tf.constant(settings.validation_steps)))
    if not history.last():
        raise InputError(
            f"{model_dir}: no checkpoint appeared within {settings.continuous_eval_timeout} s; train first, or raise "
            "trainer.continuous_eval_timeout"
        )
    return history.last()


def _restore(trainer: Trainer, prefix: str) -> None:
    """Loads a checkpoint and refuses one that lacks variables: they would be scored as initialised."""
    try:
        trainer.checkpoint.restore(prefix).assert_existing_objects_matched()
    except (AssertionError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"{prefix}: isn't of this configuration: {reason}; give the training's own") from error


def _new_checkpoints(model_dir: str, settings: cfg.TrainerConfig) -> Iterator[str]:
    """The newest checkpoint each time one appears, until the last step or a timeout."""
    step, since, seen = -1, time.monotonic(), None
    while step < settings.train_steps and time.monotonic() - since < settings.continuous_eval_timeout:
        listed = _listed(model_dir)
        if listed == seen:
            time.sleep(POLL_SECONDS)
            continue
        # Only now, because it reads a whole checkpoint, which can be gigabytes.
        seen, newest = listed, checkpoints.newest_whole(model_dir, repair=False)
        if newest is not None and checkpoints.step_of(newest) != step:
            step = checkpoints.step_of(newest)
            yield newest
            since = time.monotonic()  # the evaluation's own time doesn't count


def _listed(model_dir: str) -> str:
    """The newest checkpoint by name; empty if there is none, or no readable list."""
    try:
        state = tf.train.get_checkpoint_state(model_dir)
    except ValueError:  # the list is being written
        return ""
    return str(state.model_checkpoint_path) if state else ""
