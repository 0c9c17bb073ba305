"""Every reason code, through the whole command: counted, listed with its values, and found by `check` alike."""

import io
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from beam_preprocess.__main__ import main
from beam_preprocess.base.errors import InputError
from beam_preprocess.dataset.check import check_data, examine
from beam_preprocess.format.annotations import load_annotations
from beam_preprocess.format.config import PreprocessConfig
from beam_preprocess.format.reasons import Reason, UnusableFile
from beam_preprocess.job.pipeline import preprocess

CONFIG = PreprocessConfig(image_size=(32, 32), train_views=1, max_reject_fraction=1.0)
SIDES = (40, 60)
PICTURE = cv2.resize(np.random.default_rng(0).integers(0, 256, (5, 8, 3), np.uint8), SIDES[::-1])
BACKWARDS = Image.fromarray(PICTURE[::-1])


def encoded(mode: str = "RGB", form: str = "JPEG", **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(PICTURE).convert(mode).save(stream, form, **options)
    return stream.getvalue()


def bomb() -> bytes:
    data = bytearray(encoded("RGB", "BMP"))
    data[18:26] = (30_000).to_bytes(4, "little") * 2
    return bytes(data)


EXIF = Image.Exif()
EXIF[0x0112] = 6
JPEG, PNG = encoded(), encoded(form="PNG")

IMAGES: dict[str, tuple[bytes | None, dict[str, Any], set[Reason]]] = {
    "good.jpg": (JPEG, {}, set()),
    "missing.jpg": (None, {}, {Reason.MISSING_IMAGE}),
    "good.jpg/below.jpg": (None, {}, {Reason.MISSING_IMAGE}),  # a file where a folder should be
    f"{'long' * 80}.jpg": (None, {}, {Reason.MISSING_IMAGE}),  # longer than file systems allow
    "broken.png": (PNG[:60] + bytes(40) + PNG[100:], {}, {Reason.UNREADABLE_IMAGE}),
    "cut.jpg": (JPEG[:-300], {}, {Reason.TRUNCATED_IMAGE}),
    "page.jpg": (b"<html>404</html>", {}, {Reason.NOT_AN_IMAGE}),
    "nothing.jpg": (b"", {}, {Reason.ZERO_SIZE}),
    "flat.jpg": (JPEG, {"height": 0}, {Reason.ZERO_SIZE}),
    "other.jpg": (JPEG, {"width": 61}, {Reason.SIZE_DIFFERS}),
    "bomb.bmp": (bomb(), {"height": 30_000, "width": 30_000}, {Reason.TOO_MANY_PIXELS}),
    "hidden_bomb.bmp": (bomb(), {}, {Reason.TOO_MANY_PIXELS}),
    "../up.jpg": (JPEG, {}, {Reason.PATH_OUTSIDE_FOLDER}),
    "/etc/passwd": (None, {}, {Reason.PATH_OUTSIDE_FOLDER}),
    "turned.jpg": (encoded(exif=EXIF), {"height": SIDES[1], "width": SIDES[0]}, {Reason.SIZE_MATCHES_ONLY_AFTER_EXIF}),
    "gray.jpg": (encoded("L"), {}, {Reason.CONVERTED_GRAY}),
    "cmyk.jpg": (encoded("CMYK"), {}, {Reason.CONVERTED_CMYK}),
    "rgba.png": (encoded("RGBA", "PNG"), {}, {Reason.CONVERTED_ALPHA}),
    "deep.png": (cv2.imencode(".png", PICTURE.astype(np.uint16) * 257)[1].tobytes(), {}, {Reason.CONVERTED_16_BIT}),
    "palette.png": (encoded("P", "PNG"), {}, {Reason.CONVERTED_PALETTE}),
    "moving.gif": (
        encoded("P", "GIF", save_all=True, append_images=[BACKWARDS.convert("P")]),
        {},
        {Reason.CONVERTED_ANIMATION, Reason.CONVERTED_PALETTE},
    ),
    "moving.png": (
        encoded("RGB", "PNG", save_all=True, append_images=[BACKWARDS]),
        {},
        {Reason.CONVERTED_ANIMATION},
    ),
    "stray.jpg": (JPEG[:-2] + b"\1" * 8 + JPEG[-2:], {}, {Reason.CONVERTED_DAMAGED_JPEG}),
    "dark.png": (
        cv2.imencode(".png", PICTURE.astype(np.uint16) * 16)[1].tobytes(),
        {},
        {Reason.CONVERTED_16_BIT, Reason.CONVERTED_NEAR_BLACK_16_BIT},
    ),
    "web.webp": (encoded(form="WEBP"), {}, set()),
    "turned.webp": (
        encoded(form="WEBP", save_all=True, append_images=[BACKWARDS]),
        {},
        {Reason.UNSUPPORTED_FORMAT},
    ),
}

BOXES: list[tuple[dict[str, Any], Reason | None]] = [
    ({"bbox": [2, 2, 20, 20]}, None),
    ({"bbox": [2, 2, 20, 20]}, Reason.DUPLICATE_ANNOTATION),
    ({"bbox": [3, 2, 20, 20], "id": 1}, None),
    ({"bbox": [float("nan"), 2, 20, 20]}, Reason.NOT_FINITE),
    ({"bbox": [2, float("inf"), 20, 20]}, Reason.NOT_FINITE),
    ({"bbox": [22, 12, -4, 4]}, Reason.NON_POSITIVE_SIDE),
    ({"bbox": [22, 12, 0, 4]}, Reason.NON_POSITIVE_SIDE),
    ({"bbox": [70, 12, 4, 4]}, Reason.OUTSIDE_IMAGE),
    ({"bbox": [50, 12, 40, 4]}, Reason.CLIPPED_TO_IMAGE),
    ({"bbox": [22, 12, 0.4, 4]}, Reason.BOX_TOO_SMALL),
    ({"bbox": [1, 12, 4, 4], "category_id": 8}, Reason.UNKNOWN_CATEGORY),
    ({"bbox": [1, 12, 4, 4], "image_id": 77}, Reason.UNKNOWN_IMAGE),
    ({"bbox": [1, 12, 4]}, Reason.WRONG_LENGTH),
    ({"bbox": None}, Reason.WRONG_LENGTH),
]


@pytest.fixture
def bad_data(tmp_path: Path) -> dict[str, str]:
    folder = tmp_path / "images"
    folder.mkdir()
    entries = []
    for i, (name, (data, change, _)) in enumerate(IMAGES.items(), start=1):
        entries.append({"id": i, "file_name": name, "height": SIDES[0], "width": SIDES[1], **change})
        if data is not None:
            (folder / name).write_bytes(data)
    entries += [{**entries[0], "id": 1, "file_name": "again.jpg"}, {**entries[0], "id": 50}]
    boxes = [{"id": i, "image_id": 1, "category_id": 5, **box} for i, (box, _) in enumerate(BOXES, start=1)]
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps({"images": entries, "annotations": boxes, "categories": [{"id": 5, "name": "five"}]}))
    return {"images": str(folder), "annotations": str(path)}


EXPECTED = Counter(
    [reason.value for _, _, reasons in IMAGES.values() for reason in reasons]
    + [reason.value for _, reason in BOXES if reason]
    + ["duplicate_image_id", "duplicate_file_name"]
)


def test_the_tables_above_have_every_reason() -> None:
    assert set(EXPECTED) == {reason.value for reason in Reason if not reason.of_file}


def test_every_reason_is_counted_and_listed(bad_data: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    manifest = preprocess(**bad_data, split="train", output=str(out), config=CONFIG)
    assert manifest.rejects == EXPECTED
    lines = [json.loads(line) for path in out.glob("rejects-*") for line in path.read_text().splitlines()]
    assert Counter(line["reason"] for line in lines) == EXPECTED
    names = list(IMAGES)
    by_image = {(line["image_id"], line["reason"]): line for line in lines if line["annotation_id"] is None}
    for name, (_, _, reasons) in IMAGES.items():
        for reason in reasons:
            line = by_image[names.index(name) + 1, reason.value]
            assert (line["file_name"], line["action"]) == (name, reason.action.value)
            assert line["detail"]
    found = {line["annotation_id"]: line for line in lines if line["annotation_id"] is not None}
    for i, (box, reason) in enumerate(BOXES, start=1):
        if reason:
            assert (found[i]["reason"], found[i]["action"]) == (reason.value, reason.action.value)
            assert found[i]["image_id"] == box.get("image_id", 1)
            assert "bbox" in found[i]["detail"]
    converted = sum(
        bool(reasons) and all(r.action.value == "converted" for r in reasons) for _, _, reasons in IMAGES.values()
    )
    assert manifest.images == 2 + converted


def test_the_check_finds_the_same(bad_data: dict[str, str]) -> None:
    sources = {"train": (bad_data["images"], bad_data["annotations"])}
    for workers in (1, 2):
        part = examine(sources, CONFIG, num_workers=workers)["train"]
        assert part["rejects"] == EXPECTED
        assert part["over_limit"] is None
    quick = examine(sources, CONFIG, depth="headers")["train"]["rejects"]
    assert "missing_image" in quick and "truncated_image" not in quick


def test_the_check_prints_a_table_and_exits_with_1_over_the_limit(bad_data: dict[str, str], capsys: Any) -> None:
    arguments = ["check", "--images", bad_data["images"], "--annotations", bad_data["annotations"], "--split"]
    assert main([*arguments, "train", "--max-reject-fraction", "1"]) == 0
    text = capsys.readouterr().out
    for reason, count in EXPECTED.items():
        assert any(line.split()[:2] == [reason, str(count)] for line in text.splitlines()), reason
    assert "e.g. image 6 (cut.jpg): " in text
    assert main([*arguments, "train"]) == 1
    assert "over the limit: 17 of 28 training images were rejected" in capsys.readouterr().out
    assert main([*arguments, "val"]) == 1
    assert "validation images cannot be used" in capsys.readouterr().out
    assert main([*arguments, "val", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["val"]["rejects"] == EXPECTED


def test_both_splits_share_their_categories(bad_data: dict[str, str], tmp_path: Path) -> None:
    other = json.loads(Path(bad_data["annotations"]).read_text())
    other["categories"][0]["name"] = "fifth"
    (tmp_path / "val.json").write_text(json.dumps(other))
    with pytest.raises(InputError, match="give both files the same categories"):
        check_data(
            train_images=bad_data["images"],
            train_annotations=bad_data["annotations"],
            val_images=bad_data["images"],
            val_annotations=str(tmp_path / "val.json"),
            config=CONFIG,
        )


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", Reason.EMPTY_FILE),
        ("image,x,y", Reason.NOT_JSON),
        ('{"images": [{"id": 1, "file_na', Reason.TRUNCATED_FILE),
        ('{"images": [], "categories": []}', Reason.MISSING_SECTION),
        ('{"images": 3, "annotations": [], "categories": []}', Reason.MALFORMED_FILE),
    ],
)
def test_an_unusable_file_has_a_reason_and_a_line(tmp_path: Path, content: str, reason: Reason) -> None:
    path = tmp_path / "annotations.json"
    path.write_text(content)
    with pytest.raises(UnusableFile) as error:
        preprocess(
            images=str(tmp_path), annotations=str(path), split="val", output=str(tmp_path / "out"), config=CONFIG
        )
    assert error.value.reason is reason
    (line,) = [json.loads(line) for line in (tmp_path / "out" / "rejects-annotations.jsonl").read_text().splitlines()]
    assert (line["reason"], line["action"], line["file_name"]) == (reason.value, "refused", str(path))
    assert line["image_id"] is None
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["rejects-annotations.jsonl"]


_MEASURE = """
import re, sys
from pathlib import Path
from beam_preprocess.format.annotations import load_annotations
coco = load_annotations(sys.argv[1])
peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())
print(len(coco.image_ids), len(coco.annotation_ids), int(peak[1]) // 1024)
"""
"""Not getrusage's: there a new process begins with the peak of the one that started it, a worker of the tests."""


@pytest.mark.slow
def test_a_file_of_400_mb_is_read_in_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "large.json"
    polygon = json.dumps([[round(v, 2) for v in np.random.default_rng(0).uniform(0, 640, 60).tolist()]])
    with path.open("w") as file:
        images = [{"id": i, "file_name": f"{i}.jpg", "height": 480, "width": 640} for i in range(100_000)]
        file.write(f'{{"images": {json.dumps(images)}, "annotations": [')
        for i in range(800_000):
            file.write(
                f'{", " if i else ""}{{"segmentation": {polygon}, "area": 3.5, "iscrowd": 0, "image_id": {i // 8}, '
                f'"bbox": [1.5, 2.5, 30, 40], "category_id": 1, "id": {i}}}'
            )
        file.write('], "categories": [{"id": 1, "name": "one"}]}')
    assert path.stat().st_size > 400e6
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, str(path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    images_read, boxes_read, peak = map(int, done.stdout.split())
    assert (images_read, boxes_read) == (100_000, 800_000)
    assert peak < 400  # MiB
    with path.open("rb+") as file:
        file.truncate(path.stat().st_size // 2)
    with pytest.raises(UnusableFile) as error:
        load_annotations(str(path))
    assert error.value.reason is Reason.TRUNCATED_FILE
