"""Rules for an experiment's values: Model Garden's configuration classes accept any value for any key.

Types come from the classes' annotations. Ranges and contradictions are listed here, keys without effect in `live_keys`.
"""

import functools
import math
import types
import typing
from collections.abc import Sequence
from typing import Any

from official.core import config_definitions as cfg
from official.modeling import hyperparams

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.json import nearest, shown
from trainer.config.live_keys import CHOICES, INITIAL_MODULES, LIVE_KEYS, OPTIONS, UNRELEASED_OPTIMIZERS
from trainer.config.networks import check_network, check_size

HIGHEST = math.inf
RANGES: dict[str, tuple[float, float]] = {
    "task.train_data.global_batch_size": (1, HIGHEST),
    "task.validation_data.global_batch_size": (0, HIGHEST),
    "task.train_data.shuffle_buffer_size": (1, HIGHEST),
    "task.augmentation.brightness": (0, 1),
    "task.augmentation.contrast": (0, 1),
    "task.augmentation.saturation": (0, 1),
    "task.augmentation.hue": (0, 0.5),
    "task.losses.detection.object_center_weight": (0, HIGHEST),
    "task.losses.detection.offset_weight": (0, HIGHEST),
    "task.losses.detection.scale_weight": (0, HIGHEST),
    "task.gradient_clip_norm": (0, HIGHEST),
    "task.model.num_classes": (0, HIGHEST),
    "task.model.norm_activation.norm_momentum": (0, 1),
    "task.model.norm_activation.norm_epsilon": (0, HIGHEST),
    "task.model.backbone.hourglass.input_channel_dims": (1, HIGHEST),
    "task.model.backbone.hourglass.num_hourglasses": (1, 16),
    "task.model.backbone.resnet.depth_multiplier": (1 / 16, 16),
    "task.model.backbone.resnet.se_ratio": (0, 1),
    "task.model.backbone.mobilenet.filter_size_scale": (1 / 16, 16),
    "task.model.backbone.efficientnet.se_ratio": (0, 1),
    "task.model.decoder.fpn.num_filters": (1, HIGHEST),
    "task.model.detection_generator.max_detections": (1, HIGHEST),
    "task.model.detection_generator.peak_error": (0, 1),
    "task.model.detection_generator.peak_extract_kernel_size": (1, HIGHEST),
    "trainer.train_steps": (0, HIGHEST),
    "trainer.steps_per_loop": (1, HIGHEST),
    "trainer.checkpoint_interval": (1, HIGHEST),
    "trainer.validation_interval": (1, HIGHEST),
    "trainer.validation_steps": (-1, HIGHEST),
    "trainer.max_to_keep": (1, HIGHEST),
    "trainer.continuous_eval_timeout": (0, HIGHEST),
    "trainer.holdout_fraction": (0, 0.5),
    "trainer.optimizer_config.ema.average_decay": (0, 1),
    "trainer.optimizer_config.ema.start_step": (0, HIGHEST),
    "runtime.num_gpus": (0, HIGHEST),
}
"""Lowest and highest value, both allowed."""


def check_all(experiment: cfg.ExperimentConfig) -> None:
    """Checks types, ranges, keys without effect, and values that contradict each other.

    Raises:
      InputError: names the first one, and what to set instead.
    """
    for rule in (check_types, check_ranges, check_live, check_together):
        rule(experiment)
    check_network(experiment.task.model)
    if experiment.task.model.frozen_level and not experiment.task.init_checkpoint:
        raise InputError(
            f"task.model.frozen_level: {experiment.task.model.frozen_level} would keep random weights; set it to 0, or "
            "task.init_checkpoint"
        )
    if experiment.task.model.input_size:
        check_size(experiment.task.model)


def refuse_unknown(config: hyperparams.Config, values: dict[str, Any], where: str, name: str = "") -> None:
    """Refuses keys that a configuration does not have; Model Garden's own message does not name the place.

    Raises:
      InputError: names the first one, and the nearest known key.
    """
    for key, value in values.items():
        path = f"{name}.{key}" if name else str(key)
        if key not in _keys(config):
            raise InputError(f"{where}: {path}: unknown key{nearest(key, sorted(_keys(config)))}")
        below = getattr(config, key) or optional_section(hints_of(config)[key])
        if isinstance(value, dict) and isinstance(below, hyperparams.Config):
            refuse_unknown(below, value, where, path)


def check_types(config: hyperparams.Config, name: str = "") -> None:
    """Refuses values that do not have their key's type, in the whole tree.

    Raises:
      InputError: names the first one.
    """
    chosen = config.type if isinstance(config, hyperparams.OneOfConfig) else None
    options = OPTIONS.get(name, sorted(_keys(config) - {"type"}))
    if chosen is not None and not (isinstance(chosen, str) and chosen in options):
        raise InputError(f"{name}.type: {_shown(chosen)}; use one of {', '.join(options)}{_meant(chosen, options)}")
    for key, hint in hints_of(config).items():
        if isinstance(config, hyperparams.OneOfConfig) and key not in ("type", chosen):
            continue
        value, path = getattr(config, key), f"{name}.{key}" if name else key
        # Model Garden turns any mapping into a Config, also one for a key that needs a number.
        if isinstance(value, hyperparams.Config) and _is_section(hint):
            check_types(value, path)
        # Some defaults of Model Garden do not have their own annotated type.
        elif not _is(value, hint) and value != getattr(_default(type(config)), key):  # type: ignore[arg-type]
            raise InputError(f"{path}: {_shown(value)} is {_kind(value)}; {_wanted(hint)} is needed")


def check_ranges(experiment: cfg.ExperimentConfig) -> None:
    """Refuses numbers that are out of range.

    Raises:
      InputError: names the first one.
    """
    for path, (low, high) in RANGES.items():
        value = _at(experiment, path)
        # `not <=` also refuses NaN. What isn't a number here is in a section that isn't chosen: `check_types` passed.
        if isinstance(value, int | float) and not low <= value <= high:
            wanted = f"{low:g} to {high:g}" if high < HIGHEST else f"{low:g} or more"
            raise InputError(f"{path}: {value} is out of range; use {wanted}")


def check_live(experiment: cfg.ExperimentConfig) -> None:
    """Refuses keys that nothing here reads.

    Raises:
      InputError: names the first one that does not have its default value.
    """
    for path, live in LIVE_KEYS.items():
        section = _at(experiment, path)
        if not isinstance(section, hyperparams.Config):  # of a `type` that isn't chosen, whose values nobody checks
            raise InputError(f"{path}: {_shown(section)} is {_kind(section)}; a mapping of keys is needed")
        default = _default(type(section))  # type: ignore[arg-type]
        for key in sorted(_keys(section) - live):
            value = getattr(section, key)
            usual = path.endswith("train_data") if key == "is_training" else getattr(default, key)
            if value != usual:
                instead = "give --seed" if key == "seed" else "remove it"
                raise InputError(f"{path}.{key}: {value!r} has no effect here; {instead}")


def check_together(experiment: cfg.ExperimentConfig) -> None:
    """Refuses values that contradict each other, and unknown names.

    Raises:
      InputError: names the first one, and what to set instead.
    """
    task, runtime, optimizer = experiment.task, experiment.runtime, experiment.trainer.optimizer_config
    choice, held_out = experiment.trainer.choose_checkpoint, experiment.trainer.holdout_fraction
    kernel = task.model.detection_generator.peak_extract_kernel_size
    scale, size = runtime.loss_scale, list(task.model.input_size)
    rules: list[tuple[bool, str]] = [
        (size == [] or (len(size) == 3 and size[2] == 3), f"task.model.input_size: {size}; remove it"),
        (kernel % 2 == 1, f"task.model.detection_generator.peak_extract_kernel_size: {kernel}; use an odd number"),
        (
            task.init_checkpoint_modules in INITIAL_MODULES,
            f"task.init_checkpoint_modules: {task.init_checkpoint_modules!r}; use {', '.join(INITIAL_MODULES)}",
        ),
        (
            scale in (None, "dynamic") or (type(scale) in (int, float) and scale > 0),
            f"runtime.loss_scale: {_shown(scale)}; use dynamic or a positive number",
        ),
        (
            experiment.trainer.train_steps > 0 or bool(task.init_checkpoint and task.init_checkpoint_modules == "all"),
            "trainer.train_steps: 0 keeps the initial weights, so all of them must be given; set task.init_checkpoint, "
            "and task.init_checkpoint_modules: all",
        ),
        (
            experiment.trainer.train_steps > 0 or choice == "last",
            "trainer.choose_checkpoint: best, but with train_steps 0 there is nothing to choose; set last",
        ),
        (choice in CHOICES, f"trainer.choose_checkpoint: {choice!r}; use {' or '.join(CHOICES)}"),
        (
            choice != "best" or held_out > 0,
            "trainer.choose_checkpoint: best needs a hold-out; set trainer.holdout_fraction, such as 0.1",
        ),
        (experiment.trainer.validation_steps != 0, "trainer.validation_steps: 0; use -1 for all images"),
        (optimizer.optimizer.type is not None, "trainer.optimizer_config.optimizer.type: none; use adam"),
        (
            optimizer.optimizer.type not in UNRELEASED_OPTIMIZERS,
            f"trainer.optimizer_config.optimizer.type: {optimizer.optimizer.type!r} is not released by Model Garden; "
            "use adam",
        ),
        (optimizer.learning_rate.type is not None, "trainer.optimizer_config.learning_rate.type: none; use cosine"),
    ]
    for valid, message in rules:
        if not valid:
            raise InputError(message)


def warnings(experiment: cfg.ExperimentConfig) -> list[str]:
    """One line for each combination of values that is allowed but rarely intended."""
    steps, rate = experiment.trainer.train_steps, experiment.trainer.optimizer_config.learning_rate
    decay = getattr(rate.get(), "decay_steps", None) if rate.type in ("cosine", "polynomial") else None
    if decay is None or decay == steps or not steps:
        return []
    key = f"trainer.optimizer_config.learning_rate.{rate.type}.decay_steps"
    effect = (
        f"from step {decay} on the learning rate stays at its end"
        if decay < steps
        else "training ends before the learning rate does"
    )
    return [f"trainer.train_steps is {steps}, {key} {decay}: {effect}; set both"]


def optional_section(hint: Any) -> hyperparams.Config | None:
    """The default of a section that may be null, such as `ema`; None for any other key."""
    for part in typing.get_args(hint):
        if isinstance(part, type) and issubclass(part, hyperparams.Config):
            return part()
    return None


def _is_section(hint: Any) -> bool:
    parts = (hint, *typing.get_args(hint))
    return any(isinstance(part, type) and issubclass(part, hyperparams.Config) for part in parts)


def _at(experiment: cfg.ExperimentConfig, path: str) -> Any:
    """The value at a path; None if a section on the way is absent."""
    value: Any = experiment
    for key in path.split("."):
        value = getattr(value, key, None)
    return value


def hints_of(config: hyperparams.Config) -> dict[str, Any]:
    """The types of a section's keys."""
    return _hints_of_class(type(config))  # type: ignore[arg-type]


@functools.cache
def _hints_of_class(kind: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    return {name: hint for name, hint in hints.items() if name not in hyperparams.Config.__annotations__}


@functools.cache
def _default(kind: Any) -> Any:
    """A section with its default values, to compare with; building one takes milliseconds."""
    return kind()


def _keys(config: hyperparams.Config) -> set[str]:
    return set(hints_of(config))


def _is(value: Any, hint: Any) -> bool:
    """Whether a value has an annotated type; an int is also a float, a bool is neither."""
    origin = typing.get_origin(hint)
    if hint is Any:
        return True
    if origin in (typing.Union, types.UnionType):
        return any(_is(value, part) for part in typing.get_args(hint))
    if origin in (list, tuple) or hint in (list, tuple):
        parts = typing.get_args(hint)
        return isinstance(value, list | tuple) and all(_is(v, parts[0]) for v in value if parts)
    if hint is float:
        return type(value) in (int, float) and not math.isnan(value)
    return type(value) is hint


_WORDS: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    type(None): "null",
}


def _kind(value: Any) -> str:
    return _WORDS.get(type(value), "a mapping" if isinstance(value, dict | hyperparams.Config) else "a list")


def _meant(value: Any, known: Sequence[str]) -> str:
    """The known name that a text comes close to, as the end of a message; "" where there is none."""
    found = nearest(value, known) if isinstance(value, str) else ""
    return found if "did you mean" in found else ""


def _shown(value: Any) -> str:
    """The value as the user wrote it, at most 80 characters."""
    return shown(value.as_dict() if isinstance(value, hyperparams.Config) else value)


def _wanted(hint: Any) -> str:
    parts = typing.get_args(hint)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return " or ".join(map(_wanted, parts))
    if typing.get_origin(hint) in (list, tuple):
        return f"a list whose entries are each {_wanted(parts[0])}"
    return _WORDS.get(hint, "a mapping of keys to values")
