"""Model Garden configuration classes of our task: every key in them does something.

Keys of Model Garden's own CenterNet task that have no effect there (`weight_decay`) or that the records
decide (`max_num_instances`, `gaussian_iou`, `class_offset`) don't exist here, so setting one is an error
and not a silent no-op.
"""

import dataclasses
from typing import Any

import yaml
from official.core import config_definitions as cfg
from official.modeling import hyperparams, optimization
from official.projects.centernet.configs import backbones
from official.projects.centernet.configs.centernet import CenterNetHead, DetectionLoss
from official.vision.configs import common

from beam_preprocess.errors import InputError
from beam_preprocess.manifest import Manifest
from trainer.config import EXPERIMENT_SECTIONS, RunConfig

LIVE_KEYS = {
    "trainer": {
        "train_steps",
        "steps_per_loop",
        "checkpoint_interval",
        "max_to_keep",
        "validation_interval",
        "validation_steps",
        "continuous_eval_timeout",
        "optimizer_config",
    },
    "runtime": {
        "distribution_strategy",
        "num_gpus",
        "tpu",
        "all_reduce_alg",
        "mixed_precision_dtype",
        "loss_scale",
        "enable_xla",
    },
}
"""The keys of Model Garden's two classes that do something here; setting another one is an error."""

INITIAL_MODULES = ("backbone", "matching", "all")
"""What `task.init_checkpoint` gives: the backbone; backbone and the head's layers whose shapes match; both whole."""


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
    try:
        # ParamsDict writes into what it is given: hand it a copy.
        sections = yaml.safe_load(
            yaml.safe_dump({name: config.experiment.get(name, {}) for name in EXPERIMENT_SECTIONS})
        )
        hyperparams.override_params_dict(experiment, sections, is_strict=True)
        experiment.validate()
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"config: {' '.join(str(error).strip(chr(34)).split())}") from error
    check(experiment)
    return _with_input(experiment, config)


def _with_input(experiment: cfg.ExperimentConfig, config: RunConfig) -> cfg.ExperimentConfig:
    height, width = config.preprocess.image_size
    size = list(experiment.task.model.input_size) or [height, width, 3]
    if size != [height, width, 3]:
        raise InputError(
            f"task.model.input_size: {size} contradicts preprocess.image_size {[height, width]}; remove it"
        )
    if config.preprocess.stride != 4:
        raise InputError(f"preprocess.stride: {config.preprocess.stride}; the Hourglass has stride 4, set 4")
    stages = {10: 2, 20: 3, 32: 4, 52: 6, 100: 6}
    hourglass = experiment.task.model.backbone.hourglass
    if hourglass.model_id not in stages:
        raise InputError(f"task.model.backbone.hourglass.model_id: {hourglass.model_id}; use one of {sorted(stages)}")
    multiple = 4 << (stages[hourglass.model_id] - 1)
    if height % multiple or width % multiple:
        raise InputError(
            f"preprocess.image_size: {[height, width]} is not a multiple of {multiple}, which Hourglass "
            f"{hourglass.model_id} needs; change it"
        )
    experiment.task.model.input_size = size
    return experiment


def check(experiment: cfg.ExperimentConfig) -> None:
    """Cross-field checks; also after overrides.

    Raises:
      InputError: a value that contradicts another one, or a key without effect.
    """
    for name, live in LIVE_KEYS.items():
        section = getattr(experiment, name)
        for key, default in type(section)().as_dict().items():
            if key not in live and section.as_dict()[key] != default:
                raise InputError(f"{name}.{key}: {section.as_dict()[key]!r} has no effect here; remove it")
    task, trainer = experiment.task, experiment.trainer
    hourglasses = task.model.backbone.hourglass.num_hourglasses
    levels = [f"2_{i}" for i in range(hourglasses - 1)] + ["2"]
    rules: list[tuple[bool, str]] = [
        (
            set(task.model.head.input_levels) <= set(levels) and task.model.head.input_levels[-1] == "2",
            f"task.model.head.input_levels: {task.model.head.input_levels} with {hourglasses} hourglass(es); "
            f"use {levels}",
        ),
        (
            task.train_data.global_batch_size > 0,
            f"task.train_data.global_batch_size: {task.train_data.global_batch_size}; set 1 or more",
        ),
        (trainer.train_steps > 0, f"trainer.train_steps: {trainer.train_steps}; set 1 or more"),
        (trainer.steps_per_loop > 0, f"trainer.steps_per_loop: {trainer.steps_per_loop}; set 1 or more"),
        (
            task.init_checkpoint_modules in INITIAL_MODULES,
            f"task.init_checkpoint_modules: {task.init_checkpoint_modules!r}; use {', '.join(INITIAL_MODULES)}",
        ),
        (
            task.gradient_clip_norm >= 0,
            f"task.gradient_clip_norm: {task.gradient_clip_norm}; use 0 (off) or a positive norm",
        ),
    ]
    for valid, message in rules:
        if not valid:
            raise InputError(message)


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
    model.num_classes = manifest.num_classes


def as_dict(experiment: cfg.ExperimentConfig) -> dict[str, Any]:
    """Plain mapping of every key, for files and digests."""
    return experiment.as_dict()
