"""One training, from its first step to its last.

A folder that was trained with the same records, configuration and seed is left alone; an interrupted training resumes
from its newest checkpoint.
"""

import re
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from typing import Any

import orbit
import tensorflow as tf
import tf_keras
from official.core import config_definitions as cfg
from official.core import train_utils
from official.modeling import optimization

from beam_preprocess.base.errors import InputError
from beam_preprocess.format.manifest import Manifest
from trainer.config.checks import warnings
from trainer.config.experiment import build_experiment, override
from trainer.config.records import check_splits, fit_to_records
from trainer.config.sections import parse_config
from trainer.data import holdout as holdouts
from trainer.data import input_pipeline
from trainer.data.holdout import Holdout
from trainer.training import checkpoints, controller, distribution
from trainer.training.best import BestWeights
from trainer.training.freed_memory import keep_freed_memory
from trainer.training.history import History, read_history
from trainer.training.loop import Trainer
from trainer.training.monitors import LoopMonitor, ValidationMonitor
from trainer.training.optimizer import create_slots, with_clipping
from trainer.training.preemption import Preemption
from trainer.training.task import Task
from trainer.training.throughput import Throughput
from trainer.training.training_digest import training_digest
from trainer.weights import finished
from trainer.weights.catalogue import SCRATCH
from trainer.weights.origin import ORIGIN, as_dict


def train(
    *,
    records: str,
    output: str,
    config: str,
    seed: int = 0,
    val_records: str = "",
    params_override: str = "",
) -> dict[str, Any]:
    """Trains, resumes, or finds that the training is already done.

    Args:
      records: folder of training records.
      output: model folder: checkpoints, `history.jsonl`, `params.yaml`, the final weights, and `train.json`,
        which is written last.
      config: YAML text of the whole run's configuration.
      seed: of weights, order and augmentation.
      val_records: folder of validation records. They are only monitored and never select a checkpoint, because the
        gate judges by the same images. "" measures on training images instead: on those that `trainer.holdout_fraction`
        holds out, or on some that are trained on.
      params_override: Model Garden's: `key=value,…` or YAML.

    Returns:
      The content of `train.json`.

    Raises:
      InputError: the configuration, the records or both don't fit.
      monitors.NonFiniteLoss: the loss or a weight became NaN or infinite.
      checkpoints.SaveError: the model folder can't be written.
      distribution.WorkerLost: another worker ended.
      preemption.Preempted: asked to stop by SIGTERM, and saved.
    """
    manifest = input_pipeline.load_manifest(records)
    experiment = make_experiment(config, params_override, manifest, records, val_records, seed)
    digest = training_digest(experiment, manifest, seed)
    done = finished.read_summary(output)
    if done is not None and done["train_digest"] == digest:
        print(f"result: reused {output}: already trained with the same records, configuration and seed", flush=True)
        return done
    for warning in warnings(experiment):
        print(f"warning: {warning}", flush=True)
    # All input is checked before anything is written.
    input_pipeline.check_shards(records, manifest)
    validation = input_pipeline.load_manifest(val_records) if val_records else None
    check_splits(manifest, records, validation, val_records)
    fraction = experiment.trainer.holdout_fraction
    if validation and fraction:
        raise InputError(
            f"--val-records {val_records}: trainer.holdout_fraction is {fraction}, so the training is monitored on its "
            "hold-out; leave out the records (--mode=train), or set 0"
        )
    holdout = Holdout() if validation else holdouts.choose(manifest, fraction, records)
    if validation:
        input_pipeline.check_shards(val_records, validation)
    keep_freed_memory()
    strategy = distribution.make_strategy(experiment.runtime)
    for section in ("train_data", "validation_data"):
        batch = getattr(experiment.task, section).global_batch_size
        distribution.check_batch(batch, strategy, f"task.{section}.global_batch_size")
    distribution.set_precision(experiment.runtime)
    cross_worker_sum = distribution.cross_worker_sum(strategy)
    stop = Preemption(cross_worker_sum, distribution.workers(strategy))
    with ExitStack() as stack:
        stack.enter_context(stop.watch())
        # Every worker must save, because reading synchronised variables takes all of them, but a folder has only one
        # writer.
        chief = distribution.is_chief(strategy)
        folder = output if chief else stack.enter_context(tempfile.TemporaryDirectory(prefix="centernet-worker-"))
        return _train(
            experiment,
            manifest,
            strategy,
            stop,
            cross_worker_sum,
            holdout=holdout,
            digest=digest,
            config=config,
            output=output,
            folder=folder,
        )


def _train(
    experiment: cfg.ExperimentConfig,
    manifest: Manifest,
    strategy: tf.distribute.Strategy,
    stop: Preemption,
    cross_worker_sum: distribution.CrossWorkerSum,
    *,
    holdout: Holdout,
    digest: str,
    config: str,
    output: str,
    folder: str,
) -> dict[str, Any]:
    """The training itself, after all of its input was checked.

    Args:
      experiment: fitted to the records.
      manifest: of the training records.
      strategy: its scope is not entered yet.
      stop: already watching.
      cross_worker_sum: of the strategy.
      holdout: which training images are held out and monitored.
      digest: of the training.
      config: YAML text, kept next to the weights.
      output: model folder to read.
      folder: where this process writes: the model folder, or a worker's own.
    """
    chief, settings, seed = folder == output, experiment.trainer, experiment.task.train_data.seed
    images = manifest.images - holdout.held_out
    checkpoints.refuse_other(folder, digest)

    # Resume policy: (1) the newest whole checkpoint of this folder, (2) task.init_checkpoint, (3) from scratch.
    newest = checkpoints.agreed(
        output, checkpoints.newest_whole(output, repair=True) if chief else None, cross_worker_sum
    )
    first_step = checkpoints.step_of(newest)
    if newest is None and not experiment.task.init_checkpoint:
        print(f"weights: {SCRATCH}", flush=True)
    # Not 0: tf.data compares a global seed of 0 with our tensor seeds as Python values, which fails in a graph.
    tf_keras.utils.set_random_seed(seed + 1)
    throughput = Throughput(experiment.task.train_data.global_batch_size)
    with strategy.scope():
        task = Task(experiment.task, manifest, first_step, step=orbit.utils.create_global_step(), holdout=holdout)
        model = task.build_model()
        optimizer = task.create_optimizer(settings.optimizer_config, experiment.runtime)
        create_slots(optimizer, model.trainable_variables)
        if newest is None:
            task.initialize(model)

    # Everything that can be wrong with the input was checked; from here on, the folder is written.
    checkpoints.start(folder, digest)
    origin = checkpoints.origin_of(output) if newest else checkpoints.remember(folder, task.origin)
    train_utils.serialize_config(experiment, folder)
    history = History(folder, first_step, read_history(folder))
    loops = LoopMonitor(experiment, images, model=model, step=task.step, throughput=throughput, history=history)
    with strategy.scope():
        trainer = Trainer(
            experiment,
            task,
            model=model,
            optimizer=optimizer,
            throughput=throughput,
            preemption=stop,
            on_piece=loops.within_loop,
        )
    manager = checkpoints.Manager(
        trainer.checkpoint,
        folder,
        max_to_keep=settings.max_to_keep,
        step_counter=trainer.global_step,
        checkpoint_interval=settings.checkpoint_interval,
        # Also for the workers whose own folder is empty although the chief's has a checkpoint.
        init_fn=lambda: trainer.checkpoint.restore(newest) if newest else None,
    )
    held_out = f" ({holdout.held_out} more held out)" if holdout.held_out else ""
    print(
        f"training {sum(v.shape.num_elements() for v in model.trainable_variables) / 1e6:.2f} M parameters on "
        f"{images} images x {manifest.views} views{held_out}, batch {experiment.task.train_data.global_batch_size}, "
        f"{strategy.num_replicas_in_sync} replica(s), {experiment.runtime.mixed_precision_dtype or 'float32'}, "
        f"steps {first_step} to {settings.train_steps}" + (f", resumed from {output}" if first_step else ""),
        flush=True,
    )
    validations = ValidationMonitor(task.step, history, holdout.kind)
    best = None
    if settings.choose_checkpoint == "best":
        best = BestWeights(
            output, folder, first_step, model=model, optimizer=optimizer, cross_worker_sum=cross_worker_sum
        )
    with _damage_as_input_error(experiment):
        controller.run(experiment, strategy, trainer, manager, loops=loops, validations=validations, best=best)
    averaged = isinstance(optimizer, optimization.ExponentialMovingAverage)
    chosen = None
    with strategy.scope():
        if best:
            chosen = best.restore()  # kept as they were validated: averaged
        elif averaged and settings.train_steps:  # without a step, there are no averages
            optimizer.swap_weights()
    last = history.last()
    summary: dict[str, Any] = {
        "train_digest": digest,
        "records_digest": manifest.records_digest,
        "data_digest": manifest.data_digest,
        "seed": seed,
        "steps": int(trainer.global_step.numpy()),
        "images": images,
        "held_out": holdout.held_out,
        "views": manifest.views,
        "input_size": list(experiment.task.model.input_size[:2]),
        "num_classes": manifest.num_classes,
        "categories": [{"index": c.index, "id": c.id, "name": c.name} for c in manifest.categories],
        "ema": averaged,
        ORIGIN: as_dict(origin) if origin else None,
        "last": last,
        "chosen": asdict(chosen) if chosen else None,
    }
    checkpoints.finish(folder, model, experiment.task, config, summary)
    if best:
        best.clear()
    if not settings.train_steps:
        print("result: 0 steps: the initial weights, as they are")
        return summary
    which = f"; weights of step {chosen.step}, the best on the hold-out (AP {chosen.ap:.4f})" if chosen else ""
    print(
        f"result: step {summary['steps']}, loss {last['total_loss']:.3f}, {last['images_per_second']:.1f} img/s{which}"
    )
    return summary


@contextmanager
def _damage_as_input_error(experiment: cfg.ExperimentConfig) -> Iterator[None]:
    """Reports damage inside a shard in one line.

    Raises:
      InputError: that line.
    """
    try:
        yield
    except tf.errors.DataLossError as error:
        # TensorFlow's long report contains the place in a shard.
        place = re.search(r"\w+ record at \d+", str(error))
        task = experiment.task
        where = " or ".join(dict.fromkeys((task.train_data.input_path, task.validation_data.input_path)))
        raise InputError(
            f"{where}: damaged inside a shard ({place[0] if place else error.message[:200]}); copy or make it again, "
            "then rerun the same command to resume from the newest checkpoint"
        ) from error


def make_experiment(
    config: str, params_override: str, manifest: Manifest, records: str, val_records: str, seed: int
) -> cfg.ExperimentConfig:
    """The experiment of a training, fitted to its records.

    Args:
      config: YAML text of the whole run's configuration.
      params_override: Model Garden's: `key=value,…` or YAML.
      manifest: of `records`.
      records: folder of training records.
      val_records: folder of validation records; "" measures on images of `records`.
      seed: of weights, order and augmentation.

    Raises:
      InputError: the configuration is wrong, or doesn't fit the records.
    """
    if not 0 <= seed < 1 << 31:
        raise InputError(f"--seed {seed}: out of range; use 0 to 2147483647")
    experiment = build_experiment(parse_config(config))
    if params_override:
        override(experiment, params_override, "--params_override")
    fit_to_records(experiment, manifest, records)
    experiment.task.train_data.input_path = records
    experiment.task.train_data.seed = seed
    if val_records:
        fit_to_records(experiment, input_pipeline.load_manifest(val_records), val_records)
    validation = experiment.task.validation_data
    validation.input_path = val_records or records  # the training's own images, see `holdout`
    validation.global_batch_size = validation.global_batch_size or experiment.task.train_data.global_batch_size
    experiment.trainer.optimizer_config = with_clipping(
        experiment.trainer.optimizer_config, experiment.task.gradient_clip_norm
    )
    return experiment
