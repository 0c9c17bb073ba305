"""Data that people really export: what `centernet check` says about it, in words that a user can act on."""

import copy
import json
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from beam_preprocess import check
from tests.cases.made_cases import HEIGHT, WIDTH, Made, encoded, make, picture


def boxes(change: Callable[[list[float]], list[float]]) -> Callable[[Made], None]:
    """An edit that replaces every box of both splits."""

    def edit(made: Made) -> None:
        for side in made.sides:
            for annotation in side.annotations:
                annotation["bbox"] = change(annotation["bbox"])

    return edit


def names(change: Callable[[str], str], on_disk: Callable[[str], str] = str) -> Callable[[Made], None]:
    """An edit that changes every file name in the annotations, and on disk."""

    def edit(made: Made) -> None:
        for side in made.sides:
            side.files = {on_disk(name): data for name, data in side.files.items()}
            for image in side.images:
                image["file_name"] = change(image["file_name"])

    return edit


def nothing(made: Made) -> None:
    pass


def same_file(made: Made) -> None:
    made.val = copy.deepcopy(made.train)


def same_images_other_file(made: Made) -> None:
    made.val = copy.deepcopy(made.train)
    made.val.content["info"] = {"note": "exported again"}


def same_images_other_names(made: Made) -> None:
    made.val = copy.deepcopy(made.train)
    names(lambda name: f"x-{name}", lambda name: f"x-{name}")(Made(made.folder, made.val, made.val))


def one_folder_all_in_train(made: Made) -> None:
    made.one_folder = True
    same_images_other_file(made)
    made.val.content["images"] = made.val.images[:3]
    keep = {image["id"] for image in made.val.images}
    made.val.content["annotations"] = [a for a in made.val.annotations if a["image_id"] in keep]


def one_image_in_both(made: Made) -> None:
    made.val.files["v101.jpg"] = made.train.files["a003.jpg"]


def one_image_encoded_again(made: Made) -> None:
    made.val.files["v102.jpg"] = encoded(picture(2), quality=60)


def val_only_crowd(made: Made) -> None:
    for annotation in made.val.annotations:
        annotation["iscrowd"] = 1


def val_no_annotations(made: Made) -> None:
    made.val.content["annotations"] = []


def train_unknown_images(made: Made) -> None:
    for annotation in made.train.annotations:
        annotation["image_id"] += 5000


def train_unknown_categories(made: Made) -> None:
    for annotation in made.train.annotations:
        annotation["category_id"] += 50


def sparse_ids(made: Made) -> None:
    for side in made.sides:
        side.content["categories"] = [{"id": 3, "name": "a"}, {"id": 4000, "name": "b"}]
        for annotation in side.annotations:
            annotation["category_id"] = 3 if annotation["category_id"] == 1 else 4000


def turned(made: Made) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    made.train.files["a002.jpg"] = encoded(picture(2), exif=exif)


def extra_category(made: Made, *, of: tuple[str, ...]) -> None:
    for side in made.sides:
        side.content["categories"].append({"id": 9, "name": "extra"})
    for split in of:
        side = getattr(made, split)
        for annotation in [a for a in side.annotations if a["category_id"] == 1][:6]:
            side.content["annotations"].append({**annotation, "id": annotation["id"] + 7, "category_id": 9})


def same_name(made: Made, first: str = "Car", second: str = "car ") -> None:
    for side in made.sides:
        side.content["categories"] = [{"id": 1, "name": first}, {"id": 2, "name": second}]


def ids_per_image(made: Made) -> None:
    for annotation in made.train.annotations:
        annotation["id"] %= 10


def few_objects(made: Made) -> None:
    kept = [a for a in made.train.annotations if a["category_id"] == 1 or a["image_id"] < 3]
    made.train.content["annotations"] = kept


def crowded(made: Made) -> None:
    side = made.train
    for number in range(150):
        x, y = number % 15 * 8, number // 15 * 9
        side.content["annotations"].append(
            {"id": 9000 + number, "image_id": 1, "category_id": 1, "bbox": [x, y, 8, 9], "iscrowd": 0}
        )


def aerial(made: Made) -> None:
    """Tiny objects, close together, in a wide image."""
    height, width = 300, 900
    for side in made.sides:
        for image in side.images:
            image |= {"height": height, "width": width}
            side.files[image["file_name"]] = encoded(picture(image["id"], height, width))
        rng = np.random.default_rng(0)
        for annotation in side.annotations:
            annotation["bbox"] = [int(rng.integers(0, 880)), int(rng.integers(0, 290)), 8, 8]


def zero_sizes(made: Made) -> None:
    for side in made.sides:
        for image in side.images:
            image |= {"height": 0, "width": 0}


def no_bbox(made: Made) -> None:
    for side in made.sides:
        for annotation in side.annotations:
            del annotation["bbox"]


ERRORS: dict[str, tuple[Callable[[Made], None], list[str], str]] = {
    "same file": (same_file, [], r"the same annotation file for train and val.*--val-fraction 0.2"),
    "same images, another file": (same_images_other_file, [], r"all 8 validation images are training images.*checksum"),
    "same images, other names": (same_images_other_names, [], r"x-a001.jpg is a001.jpg of train"),
    "val a part of train, one folder": (one_folder_all_in_train, [], r"all 3 validation images are training images"),
    "fractions": (
        boxes(lambda b: [b[0] / WIDTH, b[1] / HEIGHT, b[2] / WIDTH, b[3] / HEIGHT]),
        [],
        r"16 of 16 boxes are smaller than a pixel.*fractions of the image\?.*multiply",
    ),
    "fractions of YOLO": (boxes(lambda b: [0.5, 0.5, 1, 1]), [], "fractions of the image"),
    "corners": (
        boxes(lambda b: [b[0], b[1], b[0] + b[2], b[1] + b[3]]),
        [],
        r"boxes extend beyond their image .*are these x1, y1, x2, y2\?",
    ),
    "another resolution": (boxes(lambda b: [3 * v for v in b]), [], r"extend beyond their image.*another resolution"),
    "no bbox": (no_bbox, [], r"bbox"),
    "bbox null": (boxes(lambda b: None), [], r"bbox"),  # type: ignore[arg-type, return-value]
    "val all crowd": (val_only_crowd, [], "no usable box for validation: all 8 annotations are crowd regions"),
    "val unlabelled": (val_no_annotations, [], "no usable box for validation: its 'annotations' are empty"),
    "image ids of another file": (train_unknown_images, [], r"no usable box for training.*unknown_image 16.*image_id"),
    "category ids of another file": (train_unknown_categories, [], r"unknown_category 16.*category_id must be the id"),
    "id-minus-1": (
        sparse_ids,
        ["--class-index", "id-minus-1"],
        r"makes 4000 heatmap channels for 2.*--class-index rank",
    ),
    "zero sizes": (zero_sizes, [], r"none of its 8 images can be used \(zero_size 8; first: image 1 \(a001.jpg\)"),
    "backslashes": (
        names(lambda n: f"sub\\{n}", lambda n: f"sub/{n}"),
        [],
        r"'sub/a001.jpg' is there: write / instead",
    ),
    "case": (names(str.upper), [], r"'a001.jpg' is there: use the same case"),
    "NFD": (
        names(lambda n: unicodedata.normalize("NFD", f"é{n}"), lambda n: f"é{n}"),
        [],
        "'éa001.jpg' is there: use the Unicode form NFC",
    ),
    "NFC": (
        names(lambda n: f"é{n}", lambda n: unicodedata.normalize("NFD", f"é{n}")),
        [],
        "is there: use the Unicode form NFD",
    ),
    "percent": (names(lambda n: f"my%20{n}", lambda n: f"my {n}"), [], "'my a001.jpg' is there: write the characters"),
    "no extension": (names(lambda n: n[:-4]), [], "'a001.jpg' is there: give file_name the file's extension"),
    "folder too many": (names(lambda n: f"images/1/{n}"), [], "'a001.jpg' is there: remove 'images/1/'"),
    "the folder's own name": (
        names(lambda n: f"train/{n}"),
        [],
        "remove 'train/' from file_name, or give /.* as the folder",
    ),
    "folder too few": (names(str, lambda n: f"x/{n}"), [], "'x/a001.jpg' is there: give .*train/x as the folder"),
    "URLs": (names(lambda n: f"https://tool.example/{n}"), [], "path_outside_folder 8.*'a001.jpg' is there"),
    "Windows paths": (names(lambda n: f"C:\\data\\{n}"), [], "'a001.jpg' is there"),
    "upload prefix": (names(lambda n: f"3fa4b5c6-{n}"), [], "'a001.jpg' is there: remove the upload's prefix"),
    "other images": (names(lambda n: f"other-{n}"), [], r"is in .*train \(it has 8 files, such as 'a001.jpg'\)"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_data_that_cannot_mean_what_it_says(name: str, tmp_path: Path, capsys: Any) -> None:
    edit, flags, message = ERRORS[name]
    made = make(tmp_path)
    edit(made)
    assert check.main([*made.write().flags(), *flags]) == 2
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert line.startswith("error: ")
    assert re.search(message, line), line


WARNINGS: dict[str, tuple[Callable[[Made], None], str]] = {
    "one image in both": (one_image_in_both, r"1 of 4 validation images are training images .*v101.jpg is a003.jpg"),
    "one image encoded again": (one_image_encoded_again, r"1 of 4 validation images look like.*v102.jpg like a002.jpg"),
    "EXIF orientation": (turned, r"train: 1 images have an EXIF orientation.*a002.jpg"),
    "class in val only": (lambda m: extra_category(m, of=("val",)), r"extra \(id 9\): 1 class has objects in val only"),
    "class in train only": (lambda m: extra_category(m, of=("train",)), r"extra \(id 9\): .*objects in train only"),
    "class nowhere": (lambda m: extra_category(m, of=()), r"extra \(id 9\): .*no objects at all: a root category\?"),
    "one name twice": (same_name, r"'Car' \(id 1\) and 'car ' \(id 2\)"),
    "one name in two Unicode forms": (
        lambda m: same_name(m, "caf\u00e9", "cafe\u0301"),
        "'caf\u00e9' .id 1. and 'cafe\u0301' .id 2.",
    ),
    "repeated ids": (ids_per_image, r"14 of 16 annotations repeat an id .*number the annotations"),
    "few objects": (few_objects, r"1 class has fewer than 5 objects \(class 2 2\)"),
    "more than 100 objects": (crowded, r"image 1 has 152.*at most 6\d% of these objects.*max_detections"),
    "some clipped": (
        lambda m: [a.update(bbox=[100, 60, 60, 30]) for a in m.train.annotations[:3]] and None,
        r"3 of 16 boxes extend beyond their image",
    ),
    "aerial": (aerial, r"16 of 16 objects are smaller than one cell .*--image-size 256 \d+"),
}


@pytest.mark.parametrize("name", WARNINGS)
def test_suspicious_data_is_a_warning_and_strict_an_error(name: str, tmp_path: Path, capsys: Any) -> None:
    edit, message = WARNINGS[name]
    made = make(tmp_path)
    edit(made)
    flags = [*made.write().flags(), "--image-size", "128"]
    assert check.main(flags) == 0
    _, colon, warnings = capsys.readouterr().out.partition("\nwarnings:\n")
    assert colon
    found = [line for line in warnings.splitlines() if re.search(message, line)]
    assert len(found) == 1, warnings
    assert check.main([*flags, "--strict"]) == 2
    assert "--strict makes this warning an error" in capsys.readouterr().err


def test_a_valid_data_set_has_no_warnings(tmp_path: Path, capsys: Any) -> None:
    flags = make(tmp_path).write().flags()
    assert check.main([*flags, "--strict"]) == 0
    assert "warnings" not in capsys.readouterr().out
    assert check.main([*flags, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["warnings"] == []
    assert report["train"]["sizes"]["objects"] == 16


def test_all_objects_with_repeated_ids_are_used(tmp_path: Path, capsys: Any) -> None:
    made = make(tmp_path)
    ids_per_image(made)
    assert check.main([*made.write().flags(), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["train"]["objects"] == 16


FOREIGN = {
    "YOLO": ("data.yaml", "train: images/train\nval: images/val\nnc: 2\nnames: ['a', 'b']\n", "YOLO's data.yaml"),
    "YOLO labels": ("a.txt", "0 0.5 0.5 0.2 0.1\n1 0.25 0.5 0.5 0.5\n", "YOLO labels of one image"),
    "VOC": ("a.xml", "<annotation><object><name>a</name></object></annotation>", "Pascal VOC XML"),
    "CVAT": ("a.xml", '<?xml version="1.0"?>\n<annotations><version>1.1</version></annotations>', "CVAT XML.*COCO 1.0"),
    "Label Studio": ("a.json", '[{"id": 1, "data": {"image": "x"}, "annotations": []}]', 'Label Studio JSON.*"COCO"'),
    "LabelMe": ("a.json", '{"version": "5", "shapes": [], "imagePath": "a.jpg"}', "LabelMe JSON"),
    "detections": ("a.json", '[{"image_id": 1, "category_id": 1, "bbox": [], "score": 0.1}]', "a COCO result file"),
    "CSV": ("a.csv", "filename,width,height,class,xmin,ymin,xmax,ymax\na.jpg,1,1,a,0,0,1,1\n", "a CSV table"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_another_format_is_named_with_the_way_to_coco(name: str, tmp_path: Path, capsys: Any) -> None:
    file, text, message = FOREIGN[name]
    (tmp_path / file).write_text(text)
    assert check.main(["--images", str(tmp_path), "--annotations", str(tmp_path / file), "--split", "train"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(message, line), line
    assert "the project needs COCO JSON" in line


def test_a_folder_of_labels_is_named(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text(FOREIGN["YOLO labels"][1])
    flags = ["--images", str(tmp_path), "--annotations", str(tmp_path / "labels"), "--split", "train"]
    assert check.main(flags) == 2
    assert "a folder with files such as a.txt: YOLO labels" in capsys.readouterr().err
