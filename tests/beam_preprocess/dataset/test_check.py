"""The data check."""

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from beam_preprocess.base.errors import InputError
from beam_preprocess.dataset.check import check_data
from beam_preprocess.format.annotations import load_annotations
from beam_preprocess.format.config import PreprocessConfig
from beam_preprocess.format.sources import whole_digest


class Pair:
    """A training and a validation set over images with other bytes, and the check."""

    def __init__(self, train: Any, folder: Path) -> None:
        self.train = train
        self.val = copy.deepcopy(train)
        self.val.annotations = folder / "val.json"
        self.val.images = folder / "val_images"
        self.val.content["info"] = {"split": "val"}
        shutil.copytree(train.images, self.val.images)
        for path in self.val.images.iterdir():
            path.write_bytes(path.read_bytes() + b"\0")

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
    changed = pair.check()["val"]["data_digest"]
    assert changed != before
    # What evaluation computes by hand is what the check computes.
    assert whole_digest(str(pair.val.images), load_annotations(str(pair.val.annotations))) == changed


def test_the_objects_of_dropped_images_are_not_counted(pair: Pair) -> None:
    whole = pair.check()["train"]["objects"]
    image = next(i for i in pair.train.content["images"] if i["file_name"] == "photo_005.jpg")["id"]
    own = [a for a in pair.train.content["annotations"] if a["image_id"] == image and not a.get("iscrowd")]
    assert own
    (pair.train.images / "photo_005.jpg").write_bytes(b"no image")
    assert pair.check(max_reject_fraction=0.1)["train"]["objects"] == whole - len(own)


def test_val_objects_are_those_that_are_scored(pair: Pair) -> None:
    """Boxes that training would drop are ground truth all the same: pycocotools counts them."""
    before = pair.check()["val"]["objects"]
    first = next(a for a in pair.val.content["annotations"] if not a.get("iscrowd"))
    changes = ({"bbox": [0, 0, 0.2, 0.2]}, {"bbox": [5000, 0, 5, 5]}, {"bbox": [9, 9, -3, 3]}, {"id": first["id"]}, {})
    pair.val.content["annotations"] += [first | change for change in changes]
    val = pair.check()["val"]
    assert val["objects"] == before + len(changes)
    assert sum(val["class_histogram"].values()) == sum(val["size_histogram"].values()) == val["objects"]


def test_rejects_within_the_limit_are_reported_with_examples(pair: Pair) -> None:
    pair.train.content["annotations"][0]["bbox"] = [1, 2, float("nan"), 4]
    (pair.train.images / "photo_005.jpg").write_bytes(b"no image")
    train = pair.check(max_reject_fraction=0.1)["train"]
    assert train["rejects"] == {"not_an_image": 1, "not_finite": 1}
    assert "photo_005.jpg" in train["examples"]["not_an_image"][0]
    assert "annotation 1" in train["examples"]["not_finite"][0]


def rotate_sizes(pair: Pair) -> None:
    for image in pair.train.content["images"]:
        image["height"], image["width"] = image["width"], image["height"]


def drop_image(pair: Pair) -> None:
    (pair.train.images / "photo_003.jpg").unlink()


def unscorable_val_box(pair: Pair) -> None:
    pair.val.content["annotations"][2]["bbox"] = None
    pair.val.content["annotations"][4]["image_id"] = 999


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
        (rotate_sizes, "training images were rejected .size_differs"),
        (drop_val_image, "1 of 12 validation images cannot be used .*missing_image 1"),
        (damage_val_image, "validation images cannot be used .*zero_size 1"),
        (
            unscorable_val_box,
            "2 of 18 annotations cannot be scored .*2. .*has bbox null; annotations.4. is of ",
        ),
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
    gone = pair.val.content["categories"].pop()["id"]
    pair.val.content["annotations"] = [a for a in pair.val.content["annotations"] if a["category_id"] != gone]
    assert pair.check(class_index="id-minus-1", max_reject_fraction=1.0)["num_classes"] == 90
