"""What a file must fulfil before it is scored."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from beam_preprocess.base.errors import InputError
from beam_preprocess.format.annotations import load_annotations, scorable
from beam_preprocess.format.scored_file import load_scored, unscorable

IMAGE = {"id": 1, "file_name": "a.jpg", "height": 20, "width": 30}
BOX = {"id": 1, "image_id": 1, "category_id": 3, "bbox": [1, 1, 4, 4]}
VALID: dict[str, Any] = {
    "images": [IMAGE, IMAGE | {"id": 2, "file_name": "b.jpg"}],
    "annotations": [BOX, BOX | {"id": 2}, BOX | {"id": 3, "image_id": 2}],
    "categories": [{"id": 3, "name": "three"}],
}


def write(folder: Path, content: dict[str, Any]) -> str:
    path = folder / "val.json"
    path.write_text(json.dumps(content))
    return str(path)


def changed(section: str, position: int, change: dict[str, Any]) -> dict[str, Any]:
    content = copy.deepcopy(VALID)
    content[section][position] |= change
    return content


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"bbox": [90, 90, -4, 0]},
        {"id": 1},
        {"iscrowd": 1},
        {"bbox": [1.0, 1, 4, 4], "image_id": 1.0},
        {"area": None},
    ],
)
def test_what_pycocotools_counts_is_counted(tmp_path: Path, change: dict[str, Any]) -> None:
    coco = load_scored(write(tmp_path, changed("annotations", 1, change)))
    assert scorable(coco).all()
    assert (~coco.crowd).sum() == (2 if "iscrowd" in change else 3)


@pytest.mark.parametrize(
    ("section", "change", "message"),
    [
        (
            "annotations",
            {"bbox": None},
            r"1 of 3 annotations cannot be scored \(annot.*bbox null\); repair",
        ),
        ("annotations", {"bbox": [1, 2]}, r"annotations\[1\] \(image_id 1\) has bbox \[1, 2\]"),
        ("annotations", {"bbox": ["1", 1, 4, 4]}, r"has bbox \['1', 1, 4, 4\]"),
        ("annotations", {"bbox": [1, 1, float("nan"), 4]}, "missing or not finite"),
        ("annotations", {"image_id": 7}, r"annotations\[1\] is of image_id 7, which is not in the file"),
        ("annotations", {"category_id": 7}, r"annotations\[1\] is of category_id 7"),
        ("images", {"id": 1}, r"1 of 2 images cannot be scored \(images\[1\] \(id 1, 'b.jpg'\): duplicate_image_id"),
        ("images", {"file_name": "a.jpg"}, "duplicate_file_name"),
        ("images", {"file_name": "../../etc/passwd"}, "'../../etc/passwd'.: path_outside_folder"),
        ("images", {"file_name": "/etc/passwd"}, "path_outside_folder"),
        ("images", {"file_name": "https://tool.example/b.jpg"}, "path_outside_folder"),
        ("images", {"height": 0}, "zero_size, height 0, width 30"),
    ],
)
def test_the_rest_is_an_error_that_names_it(tmp_path: Path, section: str, change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        load_scored(write(tmp_path, changed(section, 1, change)))
    assert len(str(error.value).splitlines()) == 1


def test_categories_that_share_an_id(tmp_path: Path) -> None:
    content = VALID | {"categories": [{"id": 3, "name": "a"}, {"id": 3, "name": "b"}]}
    with pytest.raises(InputError, match=r"categories: the ids \[3\] are not unique"):
        load_scored(write(tmp_path, content))


def test_the_first_three_are_named_and_all_counted(tmp_path: Path) -> None:
    boxes = [BOX] + [BOX | {"bbox": None}] * 5
    message = unscorable(load_annotations(write(tmp_path, VALID | {"annotations": boxes})))
    assert "5 of 6 annotations" in message
    assert message.count("annotations[") == 3
    assert "; and 2 more)" in message
