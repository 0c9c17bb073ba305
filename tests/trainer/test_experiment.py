import dataclasses
from pathlib import Path

import pytest
import yaml
from made_records import TINY_CONFIG, write_records

from beam_preprocess.errors import InputError
from trainer.config import CONFIGS, parse_config
from trainer.experiment import build_experiment, fit_to_records


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
    parsed = parse_config(config.read_text())
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


@pytest.mark.parametrize(
    ("classes", "size", "message"),
    [
        (0, [32, 64], None),  # the records decide
        (3, [32, 64], None),  # agrees
        (90, [32, 64], "num_classes: 90"),
        (0, [64, 64], "image_size"),
    ],
)
def test_records_and_experiment_must_agree(tmp_path: Path, classes: int, size: list[int], message: str | None) -> None:
    manifest = write_records(tmp_path)
    experiment = build_experiment(parse_config(_changed("preprocess.image_size", size)))
    experiment.task.model.num_classes = classes
    if message is None:
        fit_to_records(experiment, manifest, "records")
        assert experiment.task.model.num_classes == manifest.num_classes
    else:
        with pytest.raises(InputError, match=message):
            fit_to_records(experiment, dataclasses.replace(manifest), "records")
