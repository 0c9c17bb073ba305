"""Records and configuration must agree."""

import contextlib
import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from beam_preprocess.base.errors import InputError
from beam_preprocess.format.manifest import Manifest
from tests.trainer.made_records import TINY_CONFIG, write_records
from trainer.config.experiment import build_experiment
from trainer.config.records import check_splits, fit_to_records
from trainer.config.sections import parse_config
from trainer.train import main


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
    experiment = build_experiment(parse_config(TINY_CONFIG.replace("[32, 64]", str(size))))
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
