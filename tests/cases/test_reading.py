"""Data sets as annotation tools export them, through `centernet check`: the outcome that each must have."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from beam_preprocess.check import main
from tests.cases.exports import CATEGORIES, HEIGHT, WIDTH, Export, Split, saved, valid_export

Change = Callable[[Export], object]


def as_floats(export: Export) -> None:
    for split in export.both:
        for image in split.images:
            image |= {key: float(image[key]) for key in ("id", "height", "width")}
        for row in split.annotations:
            row |= {key: float(row[key]) for key in ("id", "image_id", "category_id")}
        for category in split.content["categories"]:
            category["id"] = float(category["id"])


def half_as_floats(export: Export) -> None:
    for row in export.val.annotations[::2]:
        row["image_id"] = float(row["image_id"])


def without_annotation_ids(export: Export) -> None:
    for row in export.train.annotations + export.val.annotations:
        del row["id"]


def sparse_categories(export: Export) -> None:
    for split in export.both:
        split.content["categories"] = [{"id": 1_000_000, "name": "b"}, {"id": 0, "name": "a"}]
        for row in split.annotations:
            row["category_id"] = 0 if row["category_id"] == CATEGORIES[0] else 1_000_000


def each_image(key: str, value: Callable[[dict], object]) -> Change:
    def change(export: Export) -> None:
        for image in export.train.images + export.val.images:
            image[key] = value(image)

    return change


def each_box(value: Callable[[list], object]) -> Change:
    def change(export: Export) -> None:
        for row in export.train.annotations + export.val.annotations:
            row["bbox"] = value(row["bbox"])

    return change


def without(section: str, key: str) -> Change:
    def change(export: Export) -> None:
        for split in export.both:
            for entry in split.content[section]:
                del entry[key]

    return change


def val_row(position: int = 1, **values: object) -> Change:
    return lambda export: export.val.annotations[position].update(values)


def val_image(position: int = 1, **values: object) -> Change:
    return lambda export: export.val.images[position].update(values)


def raw(change: Callable[[bytes], bytes]) -> Change:
    def set_raw(export: Export) -> None:
        export.train.raw = change(json.dumps(export.train.content).encode())

    return set_raw


def files(form: str, suffix: str, convert: Callable[[np.ndarray], object] = lambda p: p, **options: object) -> Change:
    def change(export: Export) -> None:
        for split in export.both:
            split.encode_as(lambda p: saved(convert(p), form, **options), suffix)  # type: ignore[arg-type]

    return change


def cut(count: int) -> Change:
    def change(export: Export) -> None:
        files("PNG", "png")(export)
        name = export.val.images[1]["file_name"]
        export.val.files[name] = export.val.files[name][:-count]

    return change


def turned(export: Export) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    files("JPEG", "jpg", exif=exif)(export)
    for image in export.train.images + export.val.images:
        image |= {"height": WIDTH, "width": HEIGHT}


def translucent(pixels: np.ndarray) -> np.ndarray:
    return np.dstack([pixels, np.full(pixels.shape[:2], 90, np.uint8)])


def twelve_bits(pixels: np.ndarray) -> np.ndarray:
    return pixels[..., 0].astype(np.uint16) * 16


GOOD: dict[str, tuple[Change, str]] = {
    "valid": (lambda _: None, "nothing to reject"),
    "ids and sizes as floats": (as_floats, "nothing to reject"),
    "half of the ids as floats": (half_as_floats, "nothing to reject"),
    "no annotation ids": (without_annotation_ids, "nothing to reject"),
    "category ids far apart": (sparse_categories, "nothing to reject"),
    "no area, no iscrowd": (without("annotations", "area"), "nothing to reject"),
    "WebP": (files("WEBP", "webp"), "nothing to reject"),
    "lossless WebP": (files("WEBP", "webp", lossless=True), "nothing to reject"),
    "CMYK": (files("JPEG", "jpg", lambda p: Image.fromarray(p).convert("CMYK")), "converted_cmyk"),
    "12 bits of 16": (files("PNG", "png", twelve_bits), "converted_near_black_16_bit"),
}


@pytest.mark.parametrize("name", GOOD)
def test_valid_exports_count_every_object(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change, text = GOOD[name]
    code, out, err = check(change, tmp_path, capsys)
    assert (code, err) == (0, "")
    assert "train: 6 images, 12 objects" in out
    assert "val: 3 images, 6 objects" in out
    assert text in out


BAD: dict[str, tuple[Change, int, str]] = {
    "no bbox": (without("annotations", "bbox"), 2, "annotations[0] lacks 'bbox' (its keys are id, image_id"),
    "bbox null everywhere": (each_box(lambda _: None), 2, "annotations[0] has bbox null"),
    "bbox as text": (each_box(lambda b: [str(v) for v in b]), 2, "has bbox ['4', '7', '20', '16']; write numbers"),
    "no file_name": (without("images", "file_name"), 2, "images[0]: 'file_name' is missing (the keys are id, h"),
    "sizes as text": (each_image("height", lambda i: str(i["height"])), 2, "images[0]: 'height' is '48', not a whole"),
    "sizes of 0": (each_image("width", lambda _: 0), 2, "none of its 6 images can be used (zero_size 6"),
    "URLs": (each_image("file_name", lambda i: f"https://x.example/{i['id']}"), 2, "path_outside_folder"),
    "absolute names": (each_image("file_name", lambda i: f"/data/{i['id']}.jpg"), 2, "path_outside_folder"),
    "names that lead out": (each_image("file_name", lambda i: f"../{i['id']}.jpg"), 2, "path_outside_folder"),
    "text ids": (each_image("id", lambda i: f"image{i['id']}"), 2, "images[0]: 'id' is 'image1'"),
    "ids of 1.5": (each_image("id", lambda i: i["id"] + 0.5), 2, "images[0]: 'id' is 1.5"),
    "ids beyond 64 bits": (each_image("id", lambda i: (1 << 70) + i["id"]), 2, "images[0]: a whole number is beyond"),
    "a category id of null": (val_row(category_id=None), 2, "annotations[1]: 'category_id' is null"),
    "Latin-1": (raw(lambda text: text.replace(b"1.jpg", b"\xe9.jpg")), 2, "images[0]: bytes are not UTF-8"),
    "Latin-1 in a key": (raw(lambda text: b'{"\xe9": [], ' + text[1:]), 2, "not valid JSON (the key"),
    "deep brackets": (raw(lambda text: text.replace(b"[]", b"[" * 1500 + b"]" * 1500, 1)), 2, "'segmentation' nests"),
    "a long number": (raw(lambda text: text.replace(b"320", b"3" * 5000, 1)), 2, "annotations[0]: a whole number is"),
    "cut": (raw(lambda text: text[:-40]), 2, "the file is truncated"),
    "null box in val": (val_row(bbox=None), 1, "1 of 6 annotations cannot be scored (annotations[1] (image_id 101)"),
    "text box in val": (val_row(bbox="4, 7, 20, 16"), 1, "has bbox '4, 7, 20, 16'"),
    "NaN in val": (val_row(bbox=[1, float("nan"), 3, 4]), 1, "has a bbox with a number that is missing or not finite"),
    "unknown image in val": (val_row(image_id=7), 1, "annotations[1] is of image_id 7, which is not in the file"),
    "unknown category in val": (val_row(category_id=7), 1, "annotations[1] is of category_id 7"),
    "an image id again in val": (val_image(id=101), 1, "1 of 3 validation images cannot be used (duplicate_image_id"),
    "a size of 0 in val": (val_image(height=0), 1, "zero_size 1"),
    "a name that leads out of val": (val_image(file_name="../../up.jpg"), 1, "path_outside_folder 1"),
    "sizes as displayed": (turned, 1, "size_matches_only_after_exif 6"),
    "WebP with alpha": (files("WEBP", "webp", translucent), 1, "WebP, with an alpha channel"),
    "a PNG cut in its last chunk": (cut(2), 1, "truncated_image 1"),
}


@pytest.mark.filterwarnings("error::RuntimeWarning")  # numpy's, for a division by a size of 0
@pytest.mark.parametrize("name", BAD)
def test_unusable_exports_have_one_clear_error(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change, exit_code, text = BAD[name]
    code, out, err = check(change, tmp_path, capsys)
    assert text in (err if exit_code == 2 else out)
    assert code == exit_code
    if exit_code == 2:
        assert len(err.splitlines()) == 1


@pytest.mark.parametrize("value", [None, [], ["1", 2, 3, 4], [1, 2, float("nan"), 4]])
def test_in_training_such_boxes_are_counted_with_a_reason(
    value: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def change(export: Export) -> None:
        export.train.annotations[0]["bbox"] = value

    code, out, _ = check(change, tmp_path, capsys, "--max-reject-fraction", "0.2")
    assert code == 0
    assert "train: 6 images, 11 objects" in out
    assert "not_finite" in out or "wrong_length" in out


def check(change: Change, folder: Path, capsys: pytest.CaptureFixture[str], *flags: str) -> tuple[int, str, str]:
    """(exit code, output, errors without progress lines) of `centernet check`."""
    export = valid_export()
    change(export)
    arguments = list(flags)
    for name, split in (("train", export.train), ("val", export.val)):
        arguments += _flags(name, split, folder / name)
    code = main(arguments)
    found = capsys.readouterr()
    lines = [line for line in found.err.splitlines() if not line.startswith("progress:")]
    return code, found.out, "\n".join(lines)


def _flags(name: str, split: Split, folder: Path) -> list[str]:
    images, annotations = split.write(folder)
    return [f"--{name}-images", images, f"--{name}-annotations", annotations]
