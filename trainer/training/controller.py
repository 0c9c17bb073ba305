"""The order of a training's events: loops of steps, evaluations, checkpoints, and the way out when it is asked to stop.

Everything happens at steps that are functions of the configuration, so a run that was interrupted does the same at the
same steps as an undisturbed one. (Orbit's controller counts intervals from where a run starts, forgets an evaluation in
which it was killed, and prints ten lines a loop.)
"""

import tensorflow as tf
from official.core import config_definitions as cfg

from beam_preprocess.format.manifest import Manifest
from trainer.training import checkpoints, distribution, loop
from trainer.training.preemption import Interrupted, Preempted, Preemption


def run(
    experiment: cfg.ExperimentConfig,
    strategy: tf.distribute.Strategy,
    trainer: loop.Trainer,
    manager: checkpoints.Manager,
    history: loop.History,
    manifest: Manifest,
    stop: Preemption,
) -> None:
    """Trains to the last step, and evaluates where there are validation records.

    Raises:
      Preempted: asked to stop, and saved.
      loop.NonFiniteLoss: the loss or a weight became NaN or infinite.
      checkpoints.SaveError: a checkpoint can't be written.
      distribution.WorkerLost: another worker ended.
    """
    progress, validation = loop.Progress(experiment, manifest, trainer, history), loop.Validation(trainer, history)
    trainer.preemption, trainer.on_the_way = stop, progress.on_the_way
    with strategy.scope(), distribution.together(strategy):
        manager.restore_or_initialize()
        try:
            _to_the_end(experiment, trainer, manager, progress, validation)
        except Interrupted as stopped:
            if stopped.output:
                progress(stopped.output)
            manager.save(int(trainer.global_step.numpy()), check_interval=False)
            raise Preempted(
                f"asked to stop by SIGTERM: saved {manager.latest_checkpoint}; the same command goes on from there"
            ) from None
        finally:
            progress.close()


def _to_the_end(
    experiment: cfg.ExperimentConfig,
    trainer: loop.Trainer,
    manager: checkpoints.Manager,
    progress: loop.Progress,
    validation: loop.Validation,
) -> None:
    settings, evaluates = experiment.trainer, bool(experiment.task.validation_data.input_path)
    every = [settings.steps_per_loop, *([settings.validation_interval] if evaluates else [])]
    before = step = int(trainer.global_step.numpy())
    while True:
        last = step >= settings.train_steps
        # Before the evaluation of the last step: that can be killed too.
        if last or step // settings.checkpoint_interval > before // settings.checkpoint_interval:
            manager.save(step, check_interval=False)
        # A run that starts at such a step makes it again, if it was made: whether it was stands nowhere for sure.
        if evaluates and step and (last or step % settings.validation_interval == 0):
            validation(trainer.evaluate(tf.constant(settings.validation_steps)))
        if last:
            return
        until = min(settings.train_steps, *(step - step % interval + interval for interval in every))
        progress(trainer.train(tf.constant(until - step)))
        before, step = step, int(trainer.global_step.numpy())
