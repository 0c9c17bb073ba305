"""What a user asks to run."""

from typing import Any

import pytest

from beam_preprocess.base.errors import InputError
from pipeline.graph.layouts import coco_layout
from pipeline.graph.request import DATA, RunRequest

FOUR = {name: f"gs://b/{name}" for name in DATA}


@pytest.mark.parametrize(
    ("given", "data"),
    [
        ({}, {}),
        (FOUR, FOUR),
        ({"coco_dir": "gs://b/coco/"}, coco_layout("gs://b/coco")),
    ],
)
def test_data_is_all_or_nothing(given: dict[str, Any], data: dict[str, str]) -> None:
    assert RunRequest(**given).data() == data


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"val_images": "d"},
            "--train-images, --train-annotations, --val-annotations: not given; give all four data flags",
        ),
        ({"coco_dir": "c", "val_images": "d"}, "--coco-dir c: given together with --val-images"),
    ],
)
def test_a_part_of_the_data_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        RunRequest(**given).data()


@pytest.mark.parametrize("folder", ["/coco", "/coco/", "/"])
def test_the_layout_is_cocos(folder: str) -> None:
    layout = coco_layout(folder)
    assert set(layout) == set(DATA)
    root = folder.rstrip("/")
    assert layout["val_annotations"] == f"{root or '/'}/annotations/instances_val2017.json"
