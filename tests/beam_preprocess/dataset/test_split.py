"""One COCO file becomes two: by image content, the same way every time."""

import json
from pathlib import Path
from typing import Any

import pytest

from beam_preprocess.base.errors import InputError
from beam_preprocess.dataset.split import split_by_content
from tests.cases.made_cases import Made, encoded, make, picture


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """Training has 40 images."""
    made = make(tmp_path)
    for number in range(200, 232):
        add(made, number, f"n{number}.jpg")
    return made.write()


def add(made: Made, seed: int, name: str) -> None:
    made.train.files[name] = encoded(picture(seed))
    image = {**made.train.images[0], "id": 1000 + len(made.train.images), "file_name": name}
    made.train.content["images"].append(image)
    made.train.content["annotations"].append(
        {**made.train.annotations[0], "id": 50_000 + image["id"], "image_id": image["id"]}
    )


def split(made: Made, fraction: float = 0.25) -> tuple[dict[str, Any], dict[str, Any]]:
    data = made.data()
    done = split_by_content(data["train_images"], data["train_annotations"], fraction, str(made.folder / "out"))
    train, val = (json.loads(Path(path).read_text()) for path in (done.train, done.val))
    assert (done.train_images, done.val_images) == (len(train["images"]), len(val["images"]))
    return train, val


def file_names(content: dict[str, Any]) -> set[str]:
    return {image["file_name"] for image in content["images"]}


def test_every_image_is_on_one_side_with_its_annotations(made: Made) -> None:
    train, val = split(made)
    assert file_names(train) | file_names(val) == set(made.train.files)
    assert not file_names(train) & file_names(val)
    assert 3 <= len(val["images"]) <= 18  # 10 of 40 are expected
    for part in (train, val):
        assert {a["image_id"] for a in part["annotations"]} == {image["id"] for image in part["images"]}
        assert part["categories"] == made.train.content["categories"]
    assert len(train["annotations"]) + len(val["annotations"]) == len(made.train.annotations)


def test_an_image_keeps_its_side_when_others_are_added_and_a_copy_joins_it(made: Made) -> None:
    before = file_names(split(made)[1])
    for number in range(300, 320):
        add(made, number, f"later{number}.jpg")
    add(made, 201, "copy of n201.jpg")
    made.write()
    after = file_names(split(made)[1])
    assert before == {name for name in after if not name.startswith(("later", "copy"))}
    assert ("copy of n201.jpg" in after) == ("n201.jpg" in after)
    assert any(name.startswith("later") for name in after)


def test_the_files_are_named_by_their_content(made: Made) -> None:
    split(made)
    split(made)
    assert len(list((made.folder / "out").iterdir())) == 2
    split(made, 0.5)
    assert len(list((made.folder / "out").iterdir())) == 4


@pytest.mark.parametrize("fraction", [1e-9, 1 - 1e-9])
def test_both_sides_have_an_image(made: Made, fraction: float) -> None:
    train, val = split(made, fraction)
    assert min(len(train["images"]), len(val["images"])) == 1


@pytest.mark.parametrize("fraction", [0, 1, -0.1, float("nan")])
def test_a_fraction_that_leaves_nothing_is_refused(made: Made, fraction: float) -> None:
    with pytest.raises(InputError, match="--val-fraction"):
        split(made, fraction)
