import contextlib
import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from beam_preprocess.base.errors import InputError
from beam_preprocess.format.manifest import Manifest
from tests.trainer.made_records import TINY_CONFIG, write_records
from trainer.config.experiment import build_experiment, check_splits, fit_to_records, override, with_runtime
from trainer.config.sections import CONFIGS, parse_config
from trainer.train import main


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


@pytest.mark.parametrize(
    ("stride", "message"),
    [(4, None), (8, "made with preprocess.stride 8; make the records again with 4")],
)
def test_records_of_another_stride_are_refused(tmp_path: Path, stride: int, message: str | None) -> None:
    manifest = write_records(tmp_path)
    manifest = dataclasses.replace(manifest, parameters=manifest.parameters | {"stride": stride})
    experiment = build_experiment(parse_config(TINY_CONFIG))
    with pytest.raises(InputError, match=message) if message else contextlib.nullcontext():
        fit_to_records(experiment, manifest, "records")


def _renamed(manifest: Manifest, index: int, name: str) -> Manifest:
    categories = list(manifest.categories)
    categories[index] = dataclasses.replace(categories[index], name=name)
    return dataclasses.replace(manifest, categories=tuple(categories))


@pytest.mark.parametrize(
    ("split", "change", "message"),
    [
        ("train", lambda manifest: manifest, None),
        ("train", lambda manifest: None, None),  # no validation
        (
            "val",
            lambda manifest: manifest,
            "T: validation records (--split val), which only judge",
        ),
        (
            "train",
            lambda manifest: _renamed(manifest, 1, "dog"),
            "V: class 1 is 'dog' (id 20), but 'class1' (id 20) in T; make both from annotations with the same",
        ),
        (
            "train",
            lambda manifest: dataclasses.replace(manifest, categories=manifest.categories[:2]),
            "V: class 2 is none, but 'class2' (id 30) in T",
        ),
    ],
)
def test_the_two_folders_must_belong_together(
    tmp_path: Path, split: str, change: Callable[[Manifest], Manifest | None], message: str | None
) -> None:
    training = write_records(tmp_path, split=split)
    with pytest.raises(InputError) if message else contextlib.nullcontext() as caught:
        check_splits(training, "T", change(training), "V")
    assert message is None or message in str(caught.value)


@pytest.mark.parametrize(
    "text", ["trainer.train_steps=9,runtime.num_gpus=2", "trainer: {train_steps: 9}\nruntime: {num_gpus: 2}", ""]
)
def test_keys_of_the_runtime_join_an_override_of_any_form(text: str) -> None:
    experiment = build_experiment(parse_config(TINY_CONFIG))
    override(experiment, with_runtime(text, distribution_strategy="tpu", tpu="local"), "--params_override")
    runtime = experiment.runtime
    assert (runtime.distribution_strategy, runtime.tpu, runtime.num_gpus) == ("tpu", "local", 2 if text else 0)
    assert experiment.trainer.train_steps == (9 if text else 6)


def test_the_configuration_may_name_the_records_as_model_gardens_does(
    trained: Path, records_folder: Path, val_records_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With Model Garden's flags alone; a flag of ours wins."""
    config = tmp_path / "run.yaml"
    text = TINY_CONFIG.replace("train_data: {", f"train_data: {{input_path: {records_folder}, ")
    config.write_text(text.replace("task:\n", "task:\n  validation_data: {input_path: nowhere}\n"))
    flags = ["--experiment=centernet_hourglass_coco", "--mode=train_and_eval", f"--config_file={config}"]
    flags += [f"--model_dir={trained}"]
    assert main(flags) == 2
    assert "nowhere: no manifest.json" in capsys.readouterr().err
    assert main([*flags, f"--val_records={val_records_folder}"]) == 0
    assert f"result: reused {trained}" in capsys.readouterr().out
