"""The experiment: configuration classes of our task on Model Garden's, in which every key does something.

Keys of Model Garden's own CenterNet task that have no effect there (`weight_decay`) or that the records decide
(`max_num_instances`, `gaussian_iou`, `class_offset`) do not exist here: setting one is an error, not a silent no-op.
"""

import copy
import dataclasses
import functools
from typing import Any

from official.core import config_definitions as cfg
from official.modeling import hyperparams, optimization
from official.projects.centernet.configs import backbones
from official.projects.centernet.configs.centernet import CenterNetHead, DetectionLoss
from official.vision.configs import common, decoders

from beam_preprocess.base.errors import InputError
from trainer.config.checks import check_all, check_types, refuse_unknown
from trainer.config.networks import check_size, fill_levels
from trainer.config.overrides import parse_override
from trainer.config.sections import EXPERIMENT_SECTIONS, RunConfig

STRIDE = 4
"""Input pixels per heatmap cell of every network."""


@dataclasses.dataclass
class Decoding(hyperparams.Config):
    """From heatmap to boxes (Model Garden's CenterNetDetectionGenerator, without its broken NMS)."""

    max_detections: int = 100
    """Maximum number of boxes per image."""

    peak_error: float = 1e-6
    """A cell is a peak if its value is at most this far below the maximum of its neighbourhood."""

    peak_extract_kernel_size: int = 3
    """Side of that neighbourhood; odd."""


@dataclasses.dataclass
class Model(hyperparams.Config):
    """The network. `input_size` and `num_classes` come from the records; what is set must agree."""

    num_classes: int = 0
    """Number of classes; 0 takes it from the records."""

    input_size: list[int] = dataclasses.field(default_factory=list)
    """Height, width and 3 of the network's input; empty takes preprocess.image_size."""

    backbone: backbones.Backbone = dataclasses.field(
        default_factory=lambda: backbones.Backbone(type="hourglass", hourglass=backbones.Hourglass(model_id=52))
    )
    decoder: decoders.Decoder = dataclasses.field(default_factory=decoders.Decoder)
    head: CenterNetHead = dataclasses.field(default_factory=CenterNetHead)
    detection_generator: Decoding = dataclasses.field(default_factory=Decoding)
    # Keras's meaning: new = momentum * old + (1 - momentum) * batch, on every layer.
    norm_activation: common.NormActivation = dataclasses.field(
        default_factory=lambda: common.NormActivation(norm_momentum=0.9, norm_epsilon=1e-5, use_sync_bn=True)
    )
    frozen_level: int = 0
    """Backbone layers up to this level (2 has a quarter of the input's sides, 3 an eighth, up to 5) keep their initial
    weights and batch norm's initial statistics, and cost no backward pass; 0 trains all layers. Needs
    task.init_checkpoint, and another backbone than the hourglass."""

    reference_bn: bool = False
    """Momentum 0.1 in Keras's meaning, as in the published runs, instead of norm_momentum. Inference then uses little
    more than the statistics of the last batch."""


@dataclasses.dataclass
class Augmentation(hyperparams.Config):
    """Drawn on the device for every image and step; the geometry was drawn when the records were made."""

    flip: bool = True
    """Mirror half of the images."""

    brightness: float = 0.2
    """Maximum relative change of the brightness; 0 switches it off. The reference has 0.2."""

    contrast: float = 0.2
    """Maximum relative change of the contrast; 0 switches it off. The reference has 0.2."""

    saturation: float = 0.2
    """Maximum relative change of the saturation; 0 switches it off. The reference has 0.2."""

    hue: float = 0.02
    """Maximum rotation of the hue, in turns of the colour circle; 0 switches it off."""


@dataclasses.dataclass
class Losses(hyperparams.Config):
    """Weights of the three losses, and what crowd regions count as."""

    detection: DetectionLoss = dataclasses.field(default_factory=DetectionLoss)
    crowd_is_object: bool = False
    """Whether a crowd region is one more object, as in the reference. Otherwise its cells are not charged for its
    class."""


@dataclasses.dataclass
class RecordsConfig(hyperparams.Config):
    """A folder of records with its manifest.json."""

    input_path: str = ""
    """Folder of records; the flags --records and --val-records win over it."""

    global_batch_size: int = 0
    """Images per step, over all replicas and workers."""

    is_training: bool = True
    shuffle_buffer_size: int = 4096
    """Records that are shuffled together; a larger data set is read shard by shard in random order."""

    seed: int = 0


@dataclasses.dataclass
class TrainerConfig(cfg.TrainerConfig):
    """The `trainer:` section: Model Garden's, and what the training is monitored on."""

    holdout_fraction: float = 0.0
    """Fraction of the training images that are never trained on: loss and AP are measured on them while training. 0
    trains on all images, and measures on 64 of them, so the numbers show progress and not accuracy."""

    choose_checkpoint: str = "last"
    """Which weights the training ends with: last, or best, those of the validation with the highest AP on the hold-out.
    Validation images are never used for this, because they gate."""


@dataclasses.dataclass
class CenterNetTask(cfg.TaskConfig):
    """The `task:` section."""

    model: Model = dataclasses.field(default_factory=Model)
    train_data: RecordsConfig = dataclasses.field(default_factory=lambda: RecordsConfig(is_training=True))
    validation_data: RecordsConfig = dataclasses.field(default_factory=lambda: RecordsConfig(is_training=False))
    augmentation: Augmentation = dataclasses.field(default_factory=Augmentation)
    losses: Losses = dataclasses.field(default_factory=Losses)
    gradient_clip_norm: float = 10.0
    """Clip the all-reduced gradient to this norm, once, whatever the number of replicas."""

    init_checkpoint: str = ""
    """What the weights start from: a name that `centernet init-weights --list` prints, the folder of a run or a
    training, a registry's version, a checkpoint, or an archive of the Object Detection API; empty starts from
    scratch."""

    init_checkpoint_modules: str = "backbone"
    """What to take from it: backbone, matching (backbone and the head layers whose shapes match), or all."""


def default_experiment() -> cfg.ExperimentConfig:
    """`centernet_hourglass_coco`: the shape of the reference recipe; a configuration's sections override it."""
    return copy.deepcopy(_recipe())  # 30 times as fast as building it again


@functools.cache
def _recipe() -> cfg.ExperimentConfig:
    return cfg.ExperimentConfig(
        task=CenterNetTask(),
        trainer=TrainerConfig(
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
      InputError: an unknown key, a wrong type, a value out of range, or values that contradict each other.
    """
    experiment = default_experiment()
    # Model Garden writes into what it is given.
    sections = copy.deepcopy({name: config.experiment.get(name, {}) for name in EXPERIMENT_SECTIONS})
    _write(experiment, sections, config.where)
    try:
        _fit_to_views(experiment, config)
    except InputError as error:
        raise InputError(f"{config.where}: {error}") from error
    return experiment


def override(experiment: cfg.ExperimentConfig, text: str, where: str) -> None:
    """Writes a --params_override over an experiment's values, and checks all of it.

    Args:
      experiment: changed in place.
      text: key=value,…, YAML, or the path of a YAML file.
      where: its origin, for messages.

    Raises:
      InputError: an unknown key, a wrong type, a value out of range, or values that contradict each other.
    """
    _write(experiment, parse_override(text, where), where)


def _write(experiment: cfg.ExperimentConfig, values: dict[str, Any], where: str) -> None:
    """Writes values over an experiment's, and checks all of it."""
    refuse_unknown(experiment, values, where)
    try:
        experiment.override(values, is_strict=True)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{where}: {' '.join(str(error).strip(chr(34)).split())}") from error
    try:
        check_types(experiment)
        fill_levels(experiment.task.model, CenterNetHead().input_levels)
        check_all(experiment)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def _fit_to_views(experiment: cfg.ExperimentConfig, config: RunConfig) -> None:
    """Takes the input size from the views, and refuses another one."""
    height, width = config.preprocess.image_size
    size = list(experiment.task.model.input_size) or [height, width, 3]
    if size != [height, width, 3]:
        raise InputError(
            f"task.model.input_size: {size} contradicts preprocess.image_size {[height, width]}; remove it"
        )
    if config.preprocess.stride != STRIDE:
        raise InputError(f"preprocess.stride: {config.preprocess.stride}; every network has stride 4, set 4")
    experiment.task.model.input_size = size
    check_size(experiment.task.model)


def as_dict(experiment: cfg.ExperimentConfig) -> dict[str, Any]:
    """A plain mapping of every key, for files and digests."""
    return experiment.as_dict()
