"""The demo data set: real COCO files, reproducible, and not trivial."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from beam_preprocess.base.errors import InputError
from beam_preprocess.format.annotations import load_annotations
from pipeline.local import demo_shapes
from pipeline.local.demo_data import CATEGORIES, MARKER, DemoData, draw_image, generate

SMALL = DemoData(train_images=6, val_images=4, height=(96, 128), width=(96, 128), side=(30.0, 60.0))


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_equal_parameters_give_equal_files_and_other_seeds_give_others(tmp_path: Path) -> None:
    first = digests(generate(tmp_path / "a", SMALL))
    assert first == digests(generate(tmp_path / "b", SMALL))
    other = digests(generate(tmp_path / "c", replace(SMALL, seed=1)))
    assert set(first) == set(other)
    assert all(first[name] != other[name] for name in first if name.endswith(".jpg"))


def test_standard_layout_that_our_own_parser_reads(tmp_path: Path) -> None:
    folder = generate(tmp_path / "data", SMALL)
    for split, count in (("train", 6), ("val", 4)):
        coco = load_annotations(str(folder / "annotations" / f"instances_{split}2017.json"))
        assert len(coco.file_names) == count
        assert list(coco.categories) == list(CATEGORIES)
        images = json.loads((folder / "annotations" / f"instances_{split}2017.json").read_text())["images"]
        for image in images:
            path = folder / f"{split}2017" / image["file_name"]
            assert path.read_bytes()[:3] == b"\xff\xd8\xff", "a real JPEG file"
            assert cv2.imread(str(path)).shape == (image["height"], image["width"], 3)


def test_found_again_remade_for_other_parameters_and_never_written_over_other_files(tmp_path: Path) -> None:
    folder = generate(tmp_path / "data", SMALL)
    image = next((folder / "train2017").iterdir())
    written = image.stat().st_mtime_ns
    generate(folder, SMALL)
    assert image.stat().st_mtime_ns == written
    generate(folder, replace(SMALL, val_images=5))
    assert len(list((folder / "val2017").iterdir())) == 5
    assert [path.name for path in tmp_path.iterdir()] == ["data"], "nothing half-made is left"

    (folder / MARKER).unlink()
    before = digests(folder)
    with pytest.raises(InputError, match="something other than demo data"):
        generate(folder, SMALL)
    assert digests(folder) == before


@pytest.fixture(scope="module")
def drawn() -> list[tuple[np.ndarray, list[dict]]]:
    """50 images by the demo's own parameters."""
    return [draw_image(np.random.default_rng([5, index]), DemoData()) for index in range(50)]


def test_the_task_is_not_trivial(drawn: list[tuple[np.ndarray, list[dict]]]) -> None:
    objects = [[a for a in annotations if not a["iscrowd"]] for _, annotations in drawn]
    counts = np.array([len(found) for found in objects])
    assert {a["category_id"] for found in objects for a in found} == {category for category, _ in CATEGORIES}
    assert len(CATEGORIES) >= 5
    assert (counts == 0).any(), "images without objects"
    assert counts[counts > 0].mean() > 2.5, "not one shape an image"
    assert any(a["iscrowd"] for _, annotations in drawn for a in annotations)
    sides = np.array([max(a["bbox"][2:]) for found in objects for a in found])
    assert np.percentile(sides, 90) > 2 * np.percentile(sides, 10), "different sizes"
    overlapping = sum(
        boxes_overlap(a["bbox"], b["bbox"]) for found in objects for i, a in enumerate(found) for b in found[:i]
    )
    assert overlapping > 20
    for picture, _ in drawn:
        assert cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY).std() > 8, "no plain background"


def boxes_overlap(a: list[int], b: list[int]) -> bool:
    return a[0] < b[0] + b[2] and b[0] < a[0] + a[2] and a[1] < b[1] + b[3] and b[1] < a[1] + a[3]


def test_boxes_lie_in_the_image_and_hold_their_area(drawn: list[tuple[np.ndarray, list[dict]]]) -> None:
    for picture, annotations in drawn:
        for annotation in annotations:
            x, y, width, height = annotation["bbox"]
            assert x >= 0
            assert y >= 0
            assert x + width <= picture.shape[1]
            assert y + height <= picture.shape[0]
            assert 0 < annotation["area"] <= width * height


@pytest.mark.parametrize("name", demo_shapes.OUTLINES)
@pytest.mark.parametrize("angle", [0.0, 0.7, 3.0])
def test_a_mask_has_the_area_of_its_outline(name: str, angle: float) -> None:
    mask = demo_shapes.shape_mask(name, (200, 180), (90.0, 100.0), 60.0, 0.8, angle)
    assert mask.sum() == pytest.approx(demo_shapes.unit_area(name) * 60.0**2 * 0.8, rel=0.02)
    assert mask.min() == 0
    assert mask.max() == 1
