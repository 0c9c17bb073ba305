"""The modes eval and continuous_eval: losses and AP of a training's checkpoints, without touching the training."""

import time
from collections.abc import Iterator
from typing import Any

import tensorflow as tf
import tf_keras
from official.core import config_definitions as cfg

from beam_preprocess.base.errors import InputError
from trainer.data import input_pipeline
from trainer.training import checkpoints, distribution, loop
from trainer.training.task import Task

HISTORY = "validation.jsonl"
"""Beside the training's own history.jsonl, which only the training writes."""
POLL_SECONDS = 1.0


def validate(
    experiment: cfg.ExperimentConfig, *, model_dir: str, val_records: str, continuous: bool = False
) -> dict[str, Any]:
    """Evaluates the newest checkpoint, or each one as it appears until the training's last step.

    Args:
      experiment: fitted to the validation records.
      model_dir: of a training, running or done.
      val_records: folder of validation records.
      continuous: wait for further checkpoints, `trainer.continuous_eval_timeout` seconds for each.

    Returns:
      The newest row: step, validation_loss, ap, ap50.

    Raises:
      InputError: no checkpoint there.
    """
    newest = checkpoints.newest_whole(model_dir, repair=False)
    if newest is None and not continuous:
        raise InputError(f"{model_dir}: no checkpoint there; train first, or give the right --model_dir")
    manifest = input_pipeline.load_manifest(val_records)
    input_pipeline.check_shards(val_records, manifest)
    strategy = distribution.make_strategy(experiment.runtime)
    distribution.check_batch(
        experiment.task.validation_data.global_batch_size, strategy, "task.validation_data.global_batch_size"
    )
    distribution.set_precision(experiment.runtime)
    with strategy.scope():
        task = Task(experiment.task, manifest)
        model: tf_keras.Model = task.build_model()
        # Its moving averages, where they are on, are what is evaluated.
        optimizer = task.create_optimizer(experiment.trainer.optimizer_config, experiment.runtime)
        optimizer._create_all_weights(model.trainable_variables)
        trainer = loop.Trainer(experiment, task, model=model, optimizer=optimizer, train=False, evaluate=True)
    history = loop.History(model_dir, 1 << 62, loop.read_history(model_dir, HISTORY), HISTORY)
    settings = experiment.trainer
    validation = loop.Validation(trainer, history)
    with strategy.scope():
        for prefix in _coming(model_dir, settings) if newest is None or continuous else [newest]:
            _restore(trainer, prefix)
            validation(trainer.evaluate(tf.constant(settings.validation_steps)))
    if not history.last():
        raise InputError(f"{model_dir}: no checkpoint came within {settings.continuous_eval_timeout} s")
    return history.last()


def _restore(trainer: loop.Trainer, prefix: str) -> None:
    """Loads all that evaluation has from a checkpoint: what is missing would be scored as it was initialised."""
    try:
        trainer.checkpoint.restore(prefix).assert_existing_objects_matched()
    except (AssertionError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"{prefix}: isn't of this configuration: {reason}; give the training's own") from error


def _coming(model_dir: str, settings: cfg.TrainerConfig) -> Iterator[str]:
    """Checkpoints as they appear, the newest of each time, to the last step or a time without any."""
    step, since, seen = -1, time.monotonic(), None
    while step < settings.train_steps and time.monotonic() - since < settings.continuous_eval_timeout:
        listed = _listed(model_dir)
        if listed == seen:
            time.sleep(POLL_SECONDS)
            continue
        # Only now, since it reads a checkpoint to its end, which can be gigabytes.
        seen, newest = listed, checkpoints.newest_whole(model_dir, repair=False)
        if newest is not None and checkpoints.step_of(newest) != step:
            step = checkpoints.step_of(newest)
            yield newest
            since = time.monotonic()  # an evaluation's own time isn't one without checkpoints


def _listed(model_dir: str) -> str:
    """The newest checkpoint by name; empty where there is none, or no list that can be read."""
    try:
        state = tf.train.get_checkpoint_state(model_dir)
    except ValueError:  # the list is being written
        return ""
    return str(state.model_checkpoint_path) if state else ""
