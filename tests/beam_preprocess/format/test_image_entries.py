"""Image entries of an annotation file, without their files."""

import json
from pathlib import Path
from typing import Any

import pytest

from beam_preprocess.format.annotations import load_annotations
from beam_preprocess.format.image_entries import MAX_PIXELS, image_problems, inside_folder
from beam_preprocess.format.reasons import Reason


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"id": 1}, Reason.DUPLICATE_IMAGE_ID),
        ({"file_name": "./sub/../a.jpg"}, Reason.DUPLICATE_FILE_NAME),
        ({"file_name": "../b.jpg"}, Reason.PATH_OUTSIDE_FOLDER),
        ({"file_name": "https://tool.example/b.jpg"}, Reason.PATH_OUTSIDE_FOLDER),
        ({"height": 0}, Reason.ZERO_SIZE),
        ({"width": -2}, Reason.ZERO_SIZE),
        ({"height": MAX_PIXELS}, Reason.TOO_MANY_PIXELS),
        ({}, None),
    ],
)
def test_each_problem_has_a_position_and_a_reason(
    tmp_path: Path, change: dict[str, Any], reason: Reason | None
) -> None:
    images = [{"id": 1, "file_name": "a.jpg", "height": 20, "width": 30}]
    images.append({"id": 2, "file_name": "b.jpg", "height": 20, "width": 30} | change)
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"images": images, "annotations": [], "categories": [{"id": 1, "name": "one"}]}))
    found = [(i, why) for i, why, _ in image_problems(load_annotations(str(path)))]
    assert found == ([(1, reason)] if reason else [])


@pytest.mark.parametrize(
    ("name", "inside"),
    [
        ("a.jpg", True),
        ("train/a.jpg", True),
        ("train/../a.jpg", True),
        ("..a.jpg", True),
        ("", False),
        (".", False),
        ("..", False),
        ("train/../../a.jpg", False),
        ("..\\a.jpg", False),
        ("C:\\a.jpg", False),
        ("/a.jpg", False),
        ("gs://bucket/a.jpg", False),
        ("a\0.jpg", False),
    ],
)
def test_file_names_stay_below_the_folder(name: str, inside: bool) -> None:
    assert inside_folder(name) == inside
