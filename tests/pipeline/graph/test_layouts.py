"""What `--coco-dir` finds."""

import os
from pathlib import Path

import pytest

from beam_preprocess.base.errors import InputError
from pipeline.graph.layouts import find_layout
from pipeline.graph.request import RunRequest


def lay_out(folder: Path, *paths: str) -> str:
    for path in paths:
        target = folder / path
        (target if path.endswith("/") else target.parent).mkdir(parents=True, exist_ok=True)
        if not path.endswith("/"):
            target.write_text("{}")
    return str(folder)


COCO = ("train2017/", "val2017/", "annotations/instances_train2017.json", "annotations/instances_val2017.json")
ROBOFLOW = ("train/_annotations.coco.json", "valid/_annotations.coco.json", "test/_annotations.coco.json")


@pytest.mark.parametrize(
    ("paths", "train_images", "val_annotations"),
    [
        (COCO, "train2017", "annotations/instances_val2017.json"),
        (ROBOFLOW, "train", "valid/_annotations.coco.json"),
        (
            ("train/", "val/", "annotations/instances_train.json", "annotations/instances_val.json"),
            "train",
            "annotations/instances_val.json",
        ),
        (("train2017/", "val2017/", COCO[2]), "train2017", COCO[3]),  # the missing file is named later
    ],
)
def test_layouts_with_two_splits(
    paths: tuple[str, ...], train_images: str, val_annotations: str, tmp_path: Path
) -> None:
    request = RunRequest(coco_dir=lay_out(tmp_path, *paths)).located(os.path.exists)
    assert request.train_images == f"{tmp_path}/{train_images}"
    assert request.val_annotations == f"{tmp_path}/{val_annotations}"
    assert len(request.data()) == 4


SINGLE = [
    ("images/", "annotations/instances_default.json"),
    ("images/", "result.json"),
    ("data/", "labels.json"),
    ROBOFLOW[:1],
]


@pytest.mark.parametrize("paths", SINGLE)
def test_a_single_file_needs_a_fraction(paths: tuple[str, ...], tmp_path: Path) -> None:
    folder = lay_out(tmp_path, *paths)
    with pytest.raises(InputError, match=f"one annotation file .{paths[-1]}.*--val-fraction 0.2"):
        find_layout(folder, os.path.exists, splits=False)
    request = RunRequest(coco_dir=folder, val_fraction=0.2).located(os.path.exists)
    assert request.data() == {
        "train_images": f"{folder}/{paths[0].split('/')[0]}",
        "train_annotations": f"{folder}/{paths[-1]}",
    }


def test_a_fraction_of_a_data_set_with_two_splits_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has validation annotations"):
        RunRequest(coco_dir=lay_out(tmp_path, *ROBOFLOW), val_fraction=0.2).located(os.path.exists)
