"""Records of one split, for the data that was checked."""

from pathlib import Path
from typing import Any

import pytest
from kfp import dsl

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.files import read_json
from components.preprocess import preprocess
from components.support.run_options import RunOptions, write_options
from pipeline.graph.request import coco_layout
from pipeline.local.demo_data import DemoData, generate


@pytest.fixture
def arguments(tmp_path: Path) -> dict[str, Any]:
    small = DemoData(train_images=2, val_images=1, height=(64, 64), width=(64, 64), side=(20.0, 40.0))
    data = coco_layout(str(generate(tmp_path / "coco", small)))
    return {
        "images": data["train_images"],
        "annotations": data["train_annotations"],
        "config": "preprocess: {image_size: [64, 64], train_views: 1}",
        "seed": 0,
        "records": dsl.Dataset(uri=str(tmp_path / "backend" / "preprocess" / "records")),
    }


def test_records_of_other_data_than_the_checked_are_refused(arguments: dict[str, Any], tmp_path: Path) -> None:
    write_options(RunOptions(work_dir=str(tmp_path / "run")), arguments["records"].uri)
    with pytest.raises(InputError, match="the training data changed since data_check"):
        preprocess(**arguments, data_digest="another")
    manifest = read_json(str(tmp_path / "run" / "preprocess-train" / "manifest.json"), "")
    arguments["records"] = dsl.Dataset(uri=str(tmp_path / "backend" / "preprocess" / "records"))
    folder = preprocess(**arguments, data_digest=manifest["data_digest"])
    metadata = arguments["records"].metadata
    assert folder == str(tmp_path / "run" / "preprocess-train")
    assert arguments["records"].uri == f"{folder}/manifest.json"
    assert (metadata["images"], metadata["records_digest"]) == (2, manifest["records_digest"])


def test_wrong_options_of_beam_are_refused(arguments: dict[str, Any], tmp_path: Path) -> None:
    write_options(RunOptions(work_dir=str(tmp_path / "run"), beam_args="'"), arguments["records"].uri)
    with pytest.raises(InputError, match="quote it"):
        preprocess(**arguments, data_digest="d")


def test_a_run_without_options_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="the stage 'check the data' writes it"):
        preprocess(**arguments, data_digest="d")
