"""The data check."""

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from beam_preprocess.base.errors import InputError
from beam_preprocess.dataset.check import check_data
from beam_preprocess.format.config import PreprocessConfig


class Pair:
    """A training and a validation set over the same images, and the check."""

    def __init__(self, train: Any, folder: Path) -> None:
        self.train = train
        self.val = copy.deepcopy(train)
        self.val.annotations = folder / "val.json"
        self.val.images = folder / "val_images"
        shutil.copytree(train.images, self.val.images)

    def check(self, **config: Any) -> dict[str, Any]:
        self.train.save()
        self.val.save()
        return check_data(
            train_images=str(self.train.images),
            train_annotations=str(self.train.annotations),
            val_images=str(self.val.images),
            val_annotations=str(self.val.annotations),
            config=PreprocessConfig(**config),
        )


@pytest.fixture
def pair(data_set: Any, tmp_path: Path) -> Pair:
    return Pair(data_set, tmp_path)


def test_the_report(pair: Pair) -> None:
    report = pair.check()
    assert report["num_classes"] == 3
    assert [c["name"] for c in report["categories"]] == ["three", "eighteen", "ninety"]
    train = report["train"]
    assert (train["images"], train["objects"], train["crowds"], train["boxes"]) == (12, 17, 1, 18)
    assert train["rejects"] == {}
    assert sum(train["class_histogram"].values()) == sum(train["size_histogram"].values()) == 17
    assert train["depth"] == "headers"
    assert len(train["data_digest"]) == 64


def test_a_validation_image_that_cannot_be_decoded_is_refused_before_the_training(pair: Pair) -> None:
    """No stage before the export reads it. A training image is decoded, and counted, by preprocessing."""
    for data in (pair.train, pair.val):
        path = data.images / "photo_000.jpg"
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])  # the header is good
        if data is pair.train:
            assert pair.check()["train"]["rejects"] == {}
            assert pair.check()["val"]["depth"] == "pixels"
            path.write_bytes(whole)
        else:
            with pytest.raises(InputError, match="truncated_image"):
                pair.check()


def test_the_digest_notices_a_changed_image(pair: Pair) -> None:
    before = pair.check()["val"]["data_digest"]
    assert pair.check()["val"]["data_digest"] == before
    path = pair.val.images / "photo_000.jpg"
    path.write_bytes(path.read_bytes() + b"\0")
    assert pair.check()["val"]["data_digest"] != before


def test_rejects_within_the_limit_are_reported_with_examples(pair: Pair) -> None:
    pair.train.content["annotations"][0]["bbox"] = [1, 2, float("nan"), 4]
    (pair.train.images / "photo_005.jpg").write_bytes(b"no image")
    train = pair.check(max_reject_fraction=0.1)["train"]
    assert train["rejects"] == {"not_an_image": 1, "not_finite": 1}
    assert "photo_005.jpg" in train["examples"]["not_an_image"][0]
    assert "annotation 1" in train["examples"]["not_finite"][0]


def drop_image(pair: Pair) -> None:
    (pair.train.images / "photo_003.jpg").unlink()


def drop_val_image(pair: Pair) -> None:
    (pair.val.images / "photo_003.jpg").unlink()


def damage_val_image(pair: Pair) -> None:
    (pair.val.images / "photo_003.jpg").write_bytes(b"")


def empty_folder(pair: Pair) -> None:
    shutil.rmtree(pair.train.images)
    pair.train.images.mkdir()


def no_folder(pair: Pair) -> None:
    shutil.rmtree(pair.val.images)


def unknown_category(pair: Pair) -> None:
    pair.val.content["categories"].append({"id": 91, "name": "new"})


def fewer_categories(pair: Pair) -> None:
    pair.val.content["categories"].pop()


def renamed_category(pair: Pair) -> None:
    pair.val.content["categories"][0]["name"] = "other"


def no_boxes(pair: Pair) -> None:
    pair.train.content["annotations"] = []


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (drop_image, "1 of 12 training images were rejected .*missing_image 1.*photo_003"),
        (drop_val_image, "1 of 12 validation images cannot be used .*missing_image 1"),
        (damage_val_image, "validation images cannot be used .*zero_size 1"),
        (empty_folder, "none of the 12 images of .*annotations.json .* is in .*images"),
        (no_folder, "no such image folder"),
        (unknown_category, r"val.json: the category ids \[91\] are not in"),
        (fewer_categories, r"val.json: lacks the category ids \[18\]"),
        (renamed_category, "category 90 is 'other', but 'ninety'"),
        (no_boxes, "no usable box for training"),
    ],
)
def test_bad_data_is_an_input_error_of_one_line(pair: Pair, damage: Callable[[Pair], None], message: str) -> None:
    damage(pair)
    with pytest.raises(InputError, match=message) as error:
        pair.check()
    assert "\n" not in str(error.value)


def test_fewer_validation_categories_are_fine_when_ids_are_indices(pair: Pair) -> None:
    pair.val.content["categories"].pop()
    assert pair.check(class_index="id-minus-1", max_reject_fraction=1.0)["num_classes"] == 90
