"""The texts that the stages take: canonical, complete, and with the meaning of the configuration."""

from typing import Any

import pytest
import yaml as plain_yaml

from beam_preprocess.base.config_keys import known_keys
from beam_preprocess.base.config_text import SHIPPED, resolve
from beam_preprocess.base.errors import InputError
from tests.trainer.made_records import TINY_CONFIG
from trainer.config.canonical import stage_configs
from trainer.config.experiment import as_dict, build_experiment
from trainer.config.sections import parse_config

TEXTS = {
    "tiny": TINY_CONFIG,
    "empty": "",
    **{path.stem: resolve(path.stem).text for path in sorted(SHIPPED.glob("*.yaml"))},
    "averaged": "trainer: {optimizer_config: {ema: {}}}",
    "averaged, at the default": "trainer: {optimizer_config: {ema: {average_decay: 0.99}}}",
    "no warm-up": "trainer: {optimizer_config: {warmup: {type: null}}}",
    "another schedule": "trainer: {optimizer_config: {learning_rate: {type: constant, constant: {learning_rate: 1}}}}",
    "another optimizer": "trainer: {optimizer_config: {optimizer: {type: sgd, sgd: {momentum: 0.9, nesterov: true}}}}",
    "fixed loss scale": "runtime: {loss_scale: 128, mixed_precision_dtype: float16, num_gpus: 0}",
    "dynamic loss scale": "runtime: {loss_scale: dynamic}",
    "a hold-out": "trainer: {holdout_fraction: 0.1, choose_checkpoint: best}",
    "whole numbers": "task: {augmentation: {hue: 0, brightness: 1}, gradient_clip_norm: 10}",
}


def text(name: str) -> str:
    values = plain_yaml.safe_load(TEXTS[name]) or {}
    values.setdefault("task", {}).setdefault("train_data", {}).setdefault("global_batch_size", 4)  # has no default
    return plain_yaml.safe_dump(values)


@pytest.mark.parametrize("name", TEXTS)
def test_the_stages_read_what_was_configured(name: str) -> None:
    config, stages = parse_config(text(name)), stage_configs(text(name))
    assert parse_config(stages.preprocess).preprocess == config.preprocess
    assert parse_config(stages.export).export == config.export
    assert parse_config(stages.gate).gate == config.gate
    expected = as_dict(build_experiment(config))
    assert as_dict(build_experiment(parse_config(stages.train))) == expected
    assert stage_configs(stages.train).train == stages.train


def with_every_default(values: dict[str, Any]) -> dict[str, Any]:
    """The configuration with every key of the table written out that its values leave at the default."""
    filled = plain_yaml.safe_load(plain_yaml.safe_dump(values))
    for row in known_keys().keys:
        if ".ema." in row.key or row.type == "mapping or null":
            continue
        *above, last = row.key.split(".")
        section = filled
        for name in above:
            section = section.setdefault(name, {})
        section.setdefault(last, row.default)
    return filled


@pytest.mark.parametrize("name", TEXTS)
def test_defaults_that_are_written_out_change_nothing(name: str) -> None:
    values = plain_yaml.safe_load(text(name))
    written_out = plain_yaml.safe_dump(with_every_default(values))
    assert stage_configs(written_out) == stage_configs(text(name))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("task: {gradient_clip_norm: 7}", "task: {gradient_clip_norm: 7.0}"),
        ("trainer: {optimizer_config: {ema: {}}}", "trainer: {optimizer_config: {ema: {average_decay: 0.99}}}"),
        ("task: {}\ntrainer:\n", "{}"),
        # A schedule that isn't chosen has no effect.
        ("trainer: {optimizer_config: {learning_rate: {polynomial: {power: 2}}}}", "{}"),
        ("runtime: {enable_xla: false}", "{}"),
        ("runtime: {num_gpus: 8}", "{}"),
        ("preprocess: {image_size: [512, 512]}", "{}"),
        ("export: {scales: [1]}", "export: {scales: [1.0]}"),
    ],
)
def test_spellings_of_one_configuration(one: str, other: str) -> None:
    same = one != "runtime: {num_gpus: 8}"
    assert (stage_configs(one) == stage_configs(other)) is same


@pytest.mark.parametrize(
    ("runtime", "found"),
    [
        ("", {"num_gpus": 1}),
        ('{"runtime": {"num_gpus": 2}}', {"num_gpus": 2}),
        ("runtime: {mixed_precision_dtype: float16}", {"mixed_precision_dtype": "float16", "num_gpus": 1}),
        ("runtime.num_gpus=3,runtime.enable_xla=true", {"enable_xla": True, "num_gpus": 3}),
        ("runtime: {num_gpus: 0}", None),  # the default
    ],
)
def test_the_targets_runtime_wins(runtime: str, found: dict[str, Any] | None) -> None:
    train = plain_yaml.safe_load(stage_configs("runtime: {num_gpus: 1}", runtime).train)
    assert train.get("runtime") == found


@pytest.mark.parametrize(
    ("config", "runtime", "words"),
    [
        ("task: {modle: {}}", "", "task.modle: unknown key"),
        ("gate: {min_ap: x}", "", "gate.min_ap"),
        ("{}", "gate: {min_ap: 0.1}", "runtime: gate: use sections task, trainer, runtime"),
        ("{}", "runtime: {num_gpu: 1}", "runtime.num_gpu: unknown key"),
    ],
)
def test_nothing_unknown_is_left_out(config: str, runtime: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        stage_configs(config, runtime)


@pytest.mark.parametrize("value", [["a"], {"a": 1}, None, 3])
def test_a_type_that_is_no_text_is_left_to_training_which_refuses_it(value: Any) -> None:
    train = plain_yaml.safe_load(stage_configs(f"task: {{model: {{backbone: {{type: {value or 'null'}}}}}}}").train)
    assert train["task"] == {"model": {"backbone": {"type": value}}}


def test_a_text_that_a_step_can_carry() -> None:
    """kfp and Vertex AI look for placeholders in double braces."""
    for name in TEXTS:
        stages = stage_configs(text(name))
        assert "{{" not in stages.train + stages.preprocess + stages.export + stages.gate
