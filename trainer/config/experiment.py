"""Model Garden configuration classes of our task: every key in them does something.

Keys of Model Garden's own CenterNet task that have no effect there (`weight_decay`) or that the records
decide (`max_num_instances`, `gaussian_iou`, `class_offset`) don't exist here, so setting one is an error
and not a silent no-op.
"""

import contextlib
import dataclasses
import json
from typing import Any

import tensorflow as tf
import yaml
from official.core import config_definitions as cfg
from official.modeling import hyperparams, optimization
from official.modeling.hyperparams import params_dict
from official.projects.centernet.configs import backbones
from official.projects.centernet.configs.centernet import CenterNetHead, DetectionLoss
from official.vision.configs import common

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.yaml import Loader
from beam_preprocess.format.manifest import Manifest
from trainer.config.checks import (
    INITIAL_MODULES,
    check_live,
    check_ranges,
    check_together,
    check_types,
    refuse_unknown,
)
from trainer.config.sections import EXPERIMENT_SECTIONS, RunConfig

__all__ = ["INITIAL_MODULES"]

STRIDE = 4
"""Of the Hourglass: input pixels a heatmap cell."""


@dataclasses.dataclass
class Decoding(hyperparams.Config):
    """From heatmap to boxes (Model Garden's CenterNetDetectionGenerator, without its broken NMS)."""

    max_detections: int = 100
    peak_error: float = 1e-6
    peak_extract_kernel_size: int = 3


@dataclasses.dataclass
class Model(hyperparams.Config):
    """The network. `input_size` and `num_classes` come from the records; what is set must agree."""

    num_classes: int = 0
    input_size: list[int] = dataclasses.field(default_factory=list)
    backbone: backbones.Backbone = dataclasses.field(
        default_factory=lambda: backbones.Backbone(type="hourglass", hourglass=backbones.Hourglass(model_id=52))
    )
    head: CenterNetHead = dataclasses.field(default_factory=CenterNetHead)
    detection_generator: Decoding = dataclasses.field(default_factory=Decoding)
    # Keras's meaning: new = momentum * old + (1 - momentum) * batch, on every layer.
    norm_activation: common.NormActivation = dataclasses.field(
        default_factory=lambda: common.NormActivation(norm_momentum=0.9, norm_epsilon=1e-5, use_sync_bn=True)
    )
    # True: momentum 0.1 in Keras's meaning, as in the published runs: inference then uses about the last batch's
    # statistics. It overrides norm_momentum.
    reference_bn: bool = False


@dataclasses.dataclass
class Augmentation(hyperparams.Config):
    """Drawn on the device for every image and step; the geometry was drawn when the records were made."""

    flip: bool = True
    # Largest relative change; 0 switches one off. The reference: 0.2 for the three.
    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.2
    # Largest rotation of the hue, in turns of the colour circle.
    hue: float = 0.02


@dataclasses.dataclass
class Losses(hyperparams.Config):
    """Weights of the three losses, and what crowd regions count as."""

    detection: DetectionLoss = dataclasses.field(default_factory=DetectionLoss)
    # False: a crowd region's cells are not charged for its class. True: a crowd is one more object, as in
    # the reference.
    crowd_is_object: bool = False


@dataclasses.dataclass
class RecordsConfig(hyperparams.Config):
    """A folder of records with its manifest.json."""

    input_path: str = ""
    global_batch_size: int = 0
    is_training: bool = True
    # Records that are shuffled together; a larger data set is read shard by shard in random order.
    shuffle_buffer_size: int = 4096
    seed: int = 0


@dataclasses.dataclass
class CenterNetTask(cfg.TaskConfig):
    """The `task:` section."""

    model: Model = dataclasses.field(default_factory=Model)
    train_data: RecordsConfig = dataclasses.field(default_factory=lambda: RecordsConfig(is_training=True))
    validation_data: RecordsConfig = dataclasses.field(default_factory=lambda: RecordsConfig(is_training=False))
    augmentation: Augmentation = dataclasses.field(default_factory=Augmentation)
    losses: Losses = dataclasses.field(default_factory=Losses)
    # Clips the all-reduced gradient, once, whatever the number of replicas.
    gradient_clip_norm: float = 10.0
    init_checkpoint: str = ""
    init_checkpoint_modules: str = "backbone"


def default_experiment() -> cfg.ExperimentConfig:
    """`centernet_hourglass_coco`: the reference recipe's shape, to be overridden by a config's sections."""
    return cfg.ExperimentConfig(
        task=CenterNetTask(),
        trainer=cfg.TrainerConfig(
            train_steps=140_000,
            steps_per_loop=100,
            checkpoint_interval=1000,
            optimizer_config=optimization.OptimizationConfig(
                {
                    "optimizer": {"type": "adam", "adam": {"epsilon": 1e-7}},
                    "learning_rate": {
                        "type": "cosine",
                        "cosine": {"initial_learning_rate": 1e-3, "decay_steps": 140_000},
                    },
                    "warmup": {"type": "linear", "linear": {"warmup_steps": 2000}},
                }
            ),
        ),
    )


def build_experiment(config: RunConfig) -> cfg.ExperimentConfig:
    """The experiment of a run's configuration.

    Raises:
      InputError: an unknown key, a wrong type, or values that contradict each other.
    """
    experiment = default_experiment()
    # ParamsDict writes into what it is given: hand it a copy.
    sections = yaml.safe_load(yaml.safe_dump({name: config.experiment.get(name, {}) for name in EXPERIMENT_SECTIONS}))
    override(experiment, sections, "config")
    height, width = config.preprocess.image_size
    size = list(experiment.task.model.input_size) or [height, width, 3]
    if size != [height, width, 3]:
        raise InputError(
            f"task.model.input_size: {size} contradicts preprocess.image_size {[height, width]}; remove it"
        )
    if config.preprocess.stride != STRIDE:
        raise InputError(f"preprocess.stride: {config.preprocess.stride}; the Hourglass has stride 4, set 4")
    experiment.task.model.input_size = size
    check_size(experiment)
    return experiment


def override(experiment: cfg.ExperimentConfig, values: dict[str, Any] | str, where: str) -> None:
    """Writes values over an experiment's, and checks all of it.

    Args:
      experiment: changed in place.
      values: sections; or text as of Model Garden's --params_override: key=value,…, YAML, or the path of a YAML file.
      where: their origin, for messages.

    Raises:
      InputError: an unknown key, a wrong type, a value out of range, or values that contradict each other.
    """
    values = _parsed(values, where) if isinstance(values, str) else values
    refuse_unknown(experiment, values, where)
    try:
        experiment.override(values, is_strict=True)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{where}: {' '.join(str(error).strip(chr(34)).split())}") from error
    check(experiment)


def with_runtime(params_override: str, **runtime: str) -> str:
    """A --params_override of whatever form, and keys of the `runtime:` section that win over it."""
    values = _parsed(params_override, "--params_override") if params_override else {}
    return json.dumps(values | {"runtime": (values.get("runtime") or {}) | runtime})


def _parsed(text: str, where: str) -> dict[str, Any]:
    """The sections of a --params_override."""
    try:
        with contextlib.suppress(ValueError):  # no key=value,…
            text = params_dict.nested_csv_str_to_json_str(text)
        values = yaml.load(text, Loader=Loader)
        if not isinstance(values, dict):
            with tf.io.gfile.GFile(text) as file:
                values = yaml.load(file.read(), Loader=Loader)
    except yaml.YAMLError as error:
        raise InputError(f"{where}: not YAML: {' '.join(str(error).split())}") from error
    except (tf.errors.OpError, UnicodeDecodeError) as error:
        raise InputError(f"{where}: neither key=value,… nor YAML nor a file; use trainer.train_steps=100") from error
    if not isinstance(values, dict):
        raise InputError(f"{where}: expected sections {', '.join(EXPERIMENT_SECTIONS)}, got {type(values).__name__}")
    return values


def check(experiment: cfg.ExperimentConfig) -> None:
    """Types, ranges, keys without effect, and values that contradict each other; also after overrides.

    Raises:
      InputError: names the first one, and what to set instead.
    """
    for rule in (check_types, check_ranges, check_live, check_together):
        rule(experiment)
    if experiment.task.model.input_size:
        check_size(experiment)


def check_size(experiment: cfg.ExperimentConfig) -> None:
    """Refuses an input that the Hourglass can't halve often enough.

    Raises:
      InputError: an unknown Hourglass, or a size that is no multiple of what it needs.
    """
    stages = {10: 2, 20: 3, 32: 4, 52: 6, 100: 6}
    model_id = experiment.task.model.backbone.hourglass.model_id
    if model_id not in stages:
        raise InputError(f"task.model.backbone.hourglass.model_id: {model_id}; use one of {sorted(stages)}")
    multiple = 4 << (stages[model_id] - 1)
    height, width = experiment.task.model.input_size[:2]
    if height % multiple or width % multiple:
        raise InputError(
            f"preprocess.image_size: {[height, width]} is not a multiple of {multiple}, which Hourglass "
            f"{model_id} needs; change it"
        )


def fit_to_records(experiment: cfg.ExperimentConfig, manifest: Manifest, where: str) -> None:
    """Fills in what the records decide and refuses what contradicts them.

    Raises:
      InputError: another number of classes, input size or stride than the records have.
    """
    model, made_with = experiment.task.model, manifest.parameters
    if model.num_classes not in (0, manifest.num_classes):
        raise InputError(
            f"task.model.num_classes: {model.num_classes}, but {where} has {manifest.num_classes}; "
            "remove it, or make the records again with the right preprocess.class_index"
        )
    if list(model.input_size[:2]) != list(made_with["image_size"]):
        raise InputError(
            f"preprocess.image_size: {list(model.input_size[:2])}, but {where} has {made_with['image_size']}; "
            "make the records again"
        )
    if made_with["stride"] != STRIDE:
        raise InputError(f"{where}: made with preprocess.stride {made_with['stride']}; make the records again with 4")
    model.num_classes = manifest.num_classes


def check_splits(training: Manifest, records: str, validation: Manifest | None, val_records: str) -> None:
    """Refuses folders that don't belong where they were given, or not together.

    Raises:
      InputError: validation records to train on, or two folders whose class indices mean different categories.
    """
    if training.split == "val":
        raise InputError(f"{records}: validation records (--split val), which only judge; give training records")
    if validation is None or validation.categories == training.categories:
        return
    there, here = ({c.index: f"{c.name!r} (id {c.id})" for c in m.categories} for m in (training, validation))
    index = min(i for i in there.keys() | here.keys() if there.get(i) != here.get(i))
    raise InputError(
        f"{val_records}: class {index} is {here.get(index, 'none')}, but {there.get(index, 'none')} in {records}; "
        "make both from annotations with the same categories"
    )


def configured_folders(config: RunConfig, params_override: str) -> dict[str, str]:
    """`task.train_data.input_path` and `task.validation_data.input_path`, where Model Garden's users name records.

    Returns:
      {"records": …, "val_records": …}; "" where the configuration names none.

    Raises:
      InputError: as `build_experiment`.
    """
    experiment = build_experiment(config)
    if params_override:
        override(experiment, params_override, "--params_override")
    task = experiment.task
    return {"records": task.train_data.input_path, "val_records": task.validation_data.input_path}


def as_dict(experiment: cfg.ExperimentConfig) -> dict[str, Any]:
    """Plain mapping of every key, for files and digests."""
    return experiment.as_dict()
