"""The experiment of a configuration."""

from pathlib import Path

import pytest
import yaml

from beam_preprocess.base.config_text import resolve
from beam_preprocess.base.errors import InputError
from tests.trainer.made_records import TINY_CONFIG
from trainer.config.experiment import as_dict, build_experiment
from trainer.config.sections import CONFIGS, parse_config


def _changed(path: str, value: object) -> str:
    values = yaml.safe_load(TINY_CONFIG)
    section = values
    *parents, last = path.split(".")
    for key in parents:
        section = section.setdefault(key, {})
    section[last] = value
    return yaml.safe_dump(values)


@pytest.mark.parametrize("config", sorted(CONFIGS.glob("*.yaml")), ids=lambda p: p.stem)
def test_shipped_configs_build(config: Path) -> None:
    parsed = parse_config(resolve(str(config)).text)
    experiment = build_experiment(parsed)
    assert experiment.task.model.input_size == [*parsed.preprocess.image_size, 3]


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("task.weight_decay", 5e-4, "weight_decay"),  # has no effect in Model Garden: here it is unknown
        ("task.model.max_num_instances", 128, "max_num_instances"),  # the records decide
        ("trainer.train_step", 1, "train_step"),
        ("task.train_data.global_batch_size", 0, "global_batch_size: 0"),
        ("trainer.train_steps", 0, "trainer.train_steps: 0"),
        ("task.model.head.input_levels", ["2_0", "2"], "input_levels"),
        ("task.model.input_size", [64, 64, 3], "contradicts preprocess.image_size"),
        ("task.model.backbone.hourglass.model_id", 21, "model_id: 21"),
        ("task.model.backbone.hourglass.model_id", 52, "multiple of 128"),
        ("preprocess.stride", 8, "stride"),
        ("task.init_checkpoint_modules", "heads", "init_checkpoint_modules"),
    ],
)
def test_what_is_wrong_is_named(path: str, value: object, message: str) -> None:
    with pytest.raises(InputError) as caught:
        build_experiment(parse_config(_changed(path, value)))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_building_does_not_change_the_parsed_configuration() -> None:
    parsed = parse_config(TINY_CONFIG)
    build_experiment(parsed)
    assert parsed == parse_config(TINY_CONFIG)


def test_an_error_names_the_file() -> None:
    with pytest.raises(InputError, match=r"^run.yaml: trainer.train_steps: -1 is out of range"):
        build_experiment(parse_config(_changed("trainer.train_steps", -1), "run.yaml"))


def test_a_section_may_be_null() -> None:
    averaged = build_experiment(parse_config(_changed("trainer.optimizer_config.ema", {"average_decay": 0.5})))
    assert averaged.trainer.optimizer_config.ema.average_decay == 0.5
    plain = build_experiment(parse_config(_changed("trainer.optimizer_config.ema", None)))
    assert plain.trainer.optimizer_config.ema is None
    assert as_dict(plain)["trainer"]["optimizer_config"]["ema"] is None
