"""The order of a training's events: loops of steps, validations, checkpoints, and the stop when it is asked to.

Every event happens at a step that is a function of the configuration, so an interrupted run does the same at the same
steps as an uninterrupted one. (Orbit's controller counts intervals from where a run starts, forgets an evaluation in
which it was killed, and prints ten lines per loop.)
"""

import tensorflow as tf
from official.core import config_definitions as cfg

from trainer.training import checkpoints, distribution
from trainer.training.best import BestWeights
from trainer.training.loop import Trainer
from trainer.training.monitors import LoopMonitor, ValidationMonitor
from trainer.training.preemption import Interrupted, Preempted


def run(
    experiment: cfg.ExperimentConfig,
    strategy: tf.distribute.Strategy,
    trainer: Trainer,
    manager: checkpoints.Manager,
    *,
    loops: LoopMonitor,
    validations: ValidationMonitor,
    best: BestWeights | None = None,
) -> None:
    """Trains to the last step, and measures the images that are monitored; keeps the best weights if `best` is given.

    Raises:
      Preempted: asked to stop, and saved.
      monitors.NonFiniteLoss: the loss or a weight became NaN or infinite.
      checkpoints.SaveError: a checkpoint can't be written.
      distribution.WorkerLost: another worker ended.
    """
    with strategy.scope(), distribution.report_lost_workers(strategy):
        manager.restore_or_initialize()
        try:
            run_events(experiment, trainer, manager, loops, validations, best)
        except Interrupted as stopped:
            if stopped.output:
                loops.after_loop(stopped.output)
            manager.save(int(trainer.global_step.numpy()), check_interval=False)
            raise Preempted(
                f"asked to stop by SIGTERM: saved {manager.latest_checkpoint}; rerun the same command to resume"
            ) from None
        finally:
            loops.close()


def run_events(
    experiment: cfg.ExperimentConfig,
    trainer: Trainer,
    manager: checkpoints.Manager,
    loops: LoopMonitor,
    validations: ValidationMonitor,
    best: BestWeights | None = None,
) -> None:
    """Makes the events from the trainer's step to the last step."""
    settings, validates = experiment.trainer, bool(experiment.task.validation_data.input_path)
    intervals = [settings.steps_per_loop, *([settings.validation_interval] if validates else [])]
    before = step = int(trainer.global_step.numpy())
    while True:
        last = step >= settings.train_steps
        # Save before the last validation: a kill can come during it.
        if last or step // settings.checkpoint_interval > before // settings.checkpoint_interval:
            manager.save(step, check_interval=False)
        # A run that resumes at such a step validates again: no record proves that the validation was completed.
        if validates and step and (last or step % settings.validation_interval == 0):
            ap = validations.after_validation(trainer.evaluate(tf.constant(settings.validation_steps)))
            if best:
                best.after_validation(step, ap, [checkpoints.step_of(prefix) for prefix in manager.checkpoints])
        if last:
            return
        until = min(settings.train_steps, *(step - step % interval + interval for interval in intervals))
        loops.after_loop(trainer.train(tf.constant(until - step)))
        before, step = step, int(trainer.global_step.numpy())
