"""Values that Model Garden's configuration classes would accept: any value for any key."""

import re
from pathlib import Path

import pytest
from official.core import config_definitions as cfg

from beam_preprocess.base.config_text import resolve
from beam_preprocess.base.errors import InputError
from tests.trainer.made_records import TINY_CONFIG
from trainer.config.checks import RANGES, _at, warnings
from trainer.config.experiment import build_experiment, override
from trainer.config.live_keys import LIVE_KEYS
from trainer.config.sections import CONFIGS, parse_config


def _fpn(backbone: str = "resnet: {}", model: str = "head: {input_levels: ['2']}") -> str:
    """YAML of a ResNet, or what `backbone` chooses, with an FPN."""
    return f"task: {{model: {{backbone: {{type: resnet, {backbone}}}, decoder: {{type: fpn}}, {model}}}}}".replace(
        "type: resnet, type: mobilenet", "type: mobilenet"
    )


@pytest.fixture
def experiment() -> cfg.ExperimentConfig:
    return build_experiment(parse_config(TINY_CONFIG))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        # of another type
        ("trainer.train_steps=abc", "trainer.train_steps: 'abc' is a text; a whole number is needed"),
        ("trainer.train_steps=1.5", "trainer.train_steps: 1.5 is a number; a whole number is needed"),
        ("trainer.train_steps=", "trainer.train_steps: None is null; a whole number is needed"),
        ("trainer.train_steps=true", "trainer.train_steps: True is true or false; a whole number is needed"),
        ("task.augmentation.flip=maybe", "task.augmentation.flip: 'maybe' is a text; true or false is needed"),
        ("runtime.enable_xla=1", "runtime.enable_xla: 1 is a whole number; true or false is needed"),
        ("task: {augmentation: {hue: [0.1]}}", "task.augmentation.hue: [0.1] is a list; a number is needed"),
        ("task.model=3", "task.model: 3 is a whole number; a mapping of keys to values is needed"),
        (
            "task: {model: {head: {input_levels: 2}}}",
            "input_levels: 2 is a whole number; a list whose entries are each",
        ),
        ("task: {model: {input_size: [32, 64, x]}}", "a list whose entries are each a whole number is needed"),
        (
            "trainer.optimizer_config.learning_rate.cosine.initial_learning_rate=fast",
            "cosine.initial_learning_rate: 'fast' is a text; a number or null is needed",
        ),
        (
            "trainer.optimizer_config.learning_rate.type=cosin",
            "learning_rate.type: 'cosin'; use one of constant, cos",
        ),
        # unknown
        ("trainer.train_step=1", "trainer.train_step: unknown key; did you mean 'train_steps'?"),
        ("trainer.optimizer_config.warmup.linear.steps=1", "trainer.optimizer_config.warmup.linear.steps: unknown key"),
        (
            "task.losses.class_offset=1",
            "task.losses.class_offset: unknown key; known are crowd_is_object, detect",
        ),
        (
            "trainer: {optimizer_config: {ema: {avg_decay: 1}}}",
            "optimizer_config.ema.avg_decay: unknown key; did you",
        ),
        (
            "trainer.optimizer_config.warmup.linear.warmup_step=1",
            "linear.warmup_step: unknown key; did you mean",
        ),
        ("gate.min_ap=0", "gate: unknown key; known are runtime, task, trainer"),
        # neither text nor file
        ("trainer", "neither key=value,… nor YAML nor a file"),
        ("nowhere.yaml", "neither key=value,… nor YAML nor a file"),
        ("trainer: [", "--params_override: not YAML: line 1: "),
        # out of range
        ("trainer.train_steps=-1", "trainer.train_steps: -1 is out of range; use 0 or more"),
        (
            "trainer.train_steps=0",
            "trainer.train_steps: 0 keeps the initial weights, so all of them must be given; set",
        ),
        (
            "trainer.train_steps=0,task.init_checkpoint=x,task.init_checkpoint_modules=all,"
            "trainer.holdout_fraction=0.1,trainer.choose_checkpoint=best",
            "trainer.choose_checkpoint: best, but with train_steps 0 there is nothing to choose; set last",
        ),
        ("task.augmentation.brightness=1.5", "task.augmentation.brightness: 1.5 is out of range; use 0 to 1"),
        ("task.augmentation.hue=-0.1", "task.augmentation.hue: -0.1 is out of range; use 0 to 0.5"),
        ("task: {gradient_clip_norm: .nan}", "task.gradient_clip_norm: nan is a number; a number is needed"),
        ("trainer.optimizer_config.ema.average_decay=2", "ema.average_decay: 2 is out of range; use 0 to 1"),
        # keys without effect
        ("task.train_data.seed=5", "task.train_data.seed: 5 has no effect here; give --seed"),
        ("task.train_data.is_training=false", "task.train_data.is_training: False has no effect here; remove it"),
        ("task.validation_data.is_training=true", "task.validation_data.is_training: True has no effect here"),
        ("task.validation_data.shuffle_buffer_size=9", "shuffle_buffer_size: 9 has no effect here; remove it"),
        ("trainer.summary_interval=7", "trainer.summary_interval: 7 has no effect here; remove it"),
        ("runtime.run_eagerly=true", "runtime.run_eagerly: True has no effect here; remove it"),
        ("task.model.backbone.hourglass.initial_downsample=false", "initial_downsample: False has no effect here"),
        ("task.name=mine", "task.name: 'mine' has no effect here; remove it"),
        # contradictions, and unknown names
        (
            "task.model.backbone.type=vit",
            "backbone.type: 'vit'; use one of hourglass, resnet, mobilenet, efficientnet",
        ),
        ("task.model.backbone.type=efficentnet", "mobilenet, efficientnet; did you mean 'efficientnet'?"),
        ("task.model.backbone.type=null", "backbone.type: none; use one of hourglass, "),
        ("task.model.backbone.type=resnet", "decoder.type: none, but level 2 of resnet alone sees too little"),
        ("task.model.decoder.type=fpn", "decoder.type: 'fpn' with the hourglass, which ends at level 2 by itself"),
        ("task.model.decoder.type=nasfpn", "decoder.type: 'nasfpn'; use one of fpn"),
        (_fpn("resnet: {model_id: 51}"), "resnet.model_id: 51; use one of 10, 18, 26, 34, 50,"),
        (_fpn("resnet: {stem_type: v2}"), "backbone.resnet.stem_type: 'v2'; use v0 or v1"),
        (_fpn(model="head: {input_levels: ['3']}"), "['3'] with the fpn on resnet 50; use ['2']"),
        (_fpn(model="input_size: [32, 72, 3]"), "[32, 72] is not a multiple of 32, which the fpn on resnet 50 needs"),
        ("task.model.frozen_level=2", "frozen_level: 2 with Hourglass 10 x 1; use 0, which trains all layers"),
        (_fpn(model="frozen_level: 1"), "frozen_level: 1 with the fpn on resnet 50; use 0, or 2 to 5"),
        (_fpn(model="frozen_level: 3"), "frozen_level: 3 would keep random weights; set it to 0, or task.init"),
        (
            _fpn("type: mobilenet", "norm_activation: {activation: relu6}"),
            "activation: 'relu6' has no effect on a MobileNet",
        ),
        (
            "task.model.backbone.mobilenet.stochastic_depth_drop_rate=0.2",
            "stochastic_depth_drop_rate: 0.2 has no effect here; remove it",
        ),
        ("task.model.backbone.hourglass.model_id=21", "hourglass.model_id: 21; use one of 10, 20, 32, 52, 100"),
        (
            "task.model.backbone.hourglass.model_id=52",
            "[32, 64] is not a multiple of 128, which Hourglass 52 x 1 needs; use [128, 128]",
        ),
        ("task.model.backbone.hourglass.num_hourglasses=0", "num_hourglasses: 0 is out of range"),
        ("task: {model: {head: {input_levels: []}}}", "input_levels: [] with Hourglass 10 x 1; use ['2']"),
        ("task: {model: {input_size: [32]}}", "task.model.input_size: [32]; remove it"),
        ("task.model.norm_activation.activation=sine", "activation: 'sine'; use one of relu, "),
        ("task.model.detection_generator.peak_extract_kernel_size=4", "kernel_size: 4; use an odd number"),
        ("runtime.loss_scale=banana", "runtime.loss_scale: 'banana'; use dynamic or a positive number"),
        ("runtime.loss_scale=0", "runtime.loss_scale: 0; use dynamic or a positive number"),
        ("trainer.validation_steps=0", "trainer.validation_steps: 0; use -1 for all images"),
        ("trainer.optimizer_config.optimizer.type=null", "optimizer.type: none; use adam"),
        ("trainer.optimizer_config.optimizer.type=slide", "optimizer.type: 'slide' is not released by Model Garden"),
    ],
)
def test_a_wrong_value_is_named_with_its_place(experiment: cfg.ExperimentConfig, text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        override(experiment, text, "--params_override")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("", None),
        ("trainer.train_steps=9", "train_steps is 9, .*cosine.decay_steps 6: from step 6 on the learning rate stays"),
        (
            "trainer.train_steps=3",
            "train_steps is 3, .*cosine.decay_steps 6: training ends before the learning rate does",
        ),
        ("trainer.train_steps=9,trainer.optimizer_config.learning_rate.cosine.decay_steps=9", None),
        ("trainer.train_steps=9,trainer.optimizer_config.learning_rate.type=constant", None),
    ],
)
def test_a_schedule_of_another_length_than_the_training_is_warned_about(
    experiment: cfg.ExperimentConfig, text: str, warning: str | None
) -> None:
    if text:
        override(experiment, text, "--params_override")
    found = warnings(experiment)
    assert len(found) == bool(warning)
    assert warning is None or re.search(warning, found[0])


@pytest.mark.parametrize("config", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_key_that_has_a_rule_exists(config: Path) -> None:
    experiment = build_experiment(parse_config(resolve(str(config)).text))
    assert not warnings(experiment)
    for path in (*RANGES, *(f"{section}.{key}" for section, keys in LIVE_KEYS.items() for key in keys)):
        *parents, last = path.split(".")
        section = _at(experiment, ".".join(parents))
        assert section is None or last in type(section)._get_annotations(), path
