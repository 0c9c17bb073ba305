"""Model Garden's --params_override, in all its forms."""

from pathlib import Path

import pytest
from official.core import config_definitions as cfg

from beam_preprocess.base.errors import InputError
from tests.trainer.made_records import TINY_CONFIG
from trainer.config.checks import _at
from trainer.config.experiment import build_experiment, override
from trainer.config.overrides import with_runtime
from trainer.config.sections import parse_config


@pytest.fixture
def experiment() -> cfg.ExperimentConfig:
    return build_experiment(parse_config(TINY_CONFIG))


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("trainer.train_steps=7,trainer.max_to_keep=2", "trainer.train_steps", 7),
        ("trainer.train_steps=7,trainer.train_steps=8", "trainer.train_steps", 8),  # the last one, as in Model Garden
        ("trainer: {train_steps: 7}", "trainer.train_steps", 7),
        ('{"trainer": {"train_steps": 7}}', "trainer.train_steps", 7),
        ("task: {gradient_clip_norm: 1e-3}", "task.gradient_clip_norm", 0.001),
        ("task.gradient_clip_norm=1e1", "task.gradient_clip_norm", 10.0),
        ("task.gradient_clip_norm=5", "task.gradient_clip_norm", 5),
        ("runtime.loss_scale=128", "runtime.loss_scale", 128),
        ("trainer.optimizer_config.warmup.type=null", "trainer.optimizer_config.warmup.type", None),
        ("task: {model: {head: {input_levels: ['2']}}}", "task.model.head.input_levels", ["2"]),
    ],
)
def test_every_form_of_an_override_is_read(
    experiment: cfg.ExperimentConfig, tmp_path: Path, text: str, path: str, value: object
) -> None:
    override(experiment, text, "--params_override")
    assert _at(experiment, path) == value


def test_an_override_may_be_a_file(experiment: cfg.ExperimentConfig, tmp_path: Path) -> None:
    file = tmp_path / "override.yaml"
    file.write_text("trainer:\n  train_steps: 7\n")
    override(experiment, str(file), "--params_override")
    assert experiment.trainer.train_steps == 7
    file.write_text("seven")
    with pytest.raises(InputError, match="expected sections"):
        override(experiment, str(file), "--params_override")


@pytest.mark.parametrize(
    "text", ["trainer.train_steps=9,runtime.num_gpus=2", "trainer: {train_steps: 9}\nruntime: {num_gpus: 2}", ""]
)
def test_keys_of_the_runtime_join_an_override_of_any_form(text: str) -> None:
    experiment = build_experiment(parse_config(TINY_CONFIG))
    override(experiment, with_runtime(text, distribution_strategy="tpu", tpu="local"), "--params_override")
    runtime = experiment.runtime
    assert (runtime.distribution_strategy, runtime.tpu, runtime.num_gpus) == ("tpu", "local", 2 if text else 0)
    assert experiment.trainer.train_steps == (9 if text else 6)
