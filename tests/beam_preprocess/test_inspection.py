"""`inspect`, and the contact sheet."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from beam_preprocess.__main__ import main
from beam_preprocess.flags import MOST_PREVIEWED
from beam_preprocess.format.config import PreprocessConfig
from beam_preprocess.format.manifest import Manifest
from beam_preprocess.inspection import describe
from beam_preprocess.job.pipeline import preprocess


@pytest.fixture
def written(data_set: Any, tmp_path: Path) -> tuple[str, Manifest]:
    """The folder of a small run, and its manifest."""
    out = str(tmp_path / "out")
    config = PreprocessConfig(image_size=(64, 96), train_views=3)
    images, annotations = str(data_set.images), str(data_set.annotations)
    return out, preprocess(images=images, annotations=annotations, split="train", output=out, config=config)


def test_prints_digests_label_map_and_histograms(written: tuple[str, Manifest], capsys: Any) -> None:
    folder, manifest = written
    assert main(["inspect", folder]) == 0
    text = capsys.readouterr().out
    for part in (manifest.data_digest, manifest.records_digest, "12 x 3 views of 64 x 96", "1 <-    18  eighteen"):
        assert part in text
    for name, count in (manifest.class_histogram | manifest.size_histogram).items():
        line = next(line for line in text.splitlines() if line.split()[:2] == [name, str(count)])
        assert ("#" in line) == (count > 0)
    assert main(["inspect", f"{folder}/manifest.json"]) == 0  # what a shell completes
    assert capsys.readouterr().out == text
    assert main(["inspect", folder, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["records_digest"] == manifest.records_digest


def test_many_classes_are_cut_off_with_a_count(written: tuple[str, Manifest]) -> None:
    text = describe(written[1], 1)
    assert "and 2 more classes with" in text
    assert "more classes" not in describe(written[1], None)


def test_verify_finds_damage(written: tuple[str, Manifest], capsys: Any) -> None:
    folder, manifest = written
    assert main(["inspect", folder, "--verify"]) == 0
    first, second = [Path(folder) / shard.name for shard in manifest.shards if shard.records][:2]
    data = bytearray(first.read_bytes())
    data[40] ^= 1
    first.write_bytes(data)
    second.unlink()
    assert main(["inspect", folder, "--verify"]) == 1
    text = capsys.readouterr().out
    assert f"damaged: {first.name} has sha256" in text
    assert f"damaged: {second.name} is missing" in text


@pytest.mark.parametrize("name", [".", "nowhere", "photo.jpg"])
def test_no_manifest_is_bad_input(tmp_path: Path, name: str, capsys: Any) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"")
    assert main(["inspect", str(tmp_path / name)]) == 2
    assert "no finished records" in capsys.readouterr().err


def test_the_contact_sheet_shows_every_view(written: tuple[str, Manifest], capsys: Any) -> None:
    folder, _ = written
    assert main(["inspect", folder, "--preview", "4"]) == 0
    assert "preview: " in capsys.readouterr().out
    sheet = np.asarray(Image.open(Path(folder) / "preview.jpg"))
    tile = round(256 * 64 / 96)
    assert sheet.shape == (4 * (tile + 18 + 4), 3 * (256 + 4), 3)
    assert main(["inspect", folder, "--preview", "0"]) == 2
    assert main(["inspect", folder, "--preview", "201"]) == 2
    assert "--preview 201: use 1 to 200 images" in capsys.readouterr().err
    assert main(["inspect", folder, "--preview", "99"]) == 0  # as many as there are
    assert Image.open(Path(folder) / "preview.jpg").height == 12 * (tile + 18 + 4)


def test_the_largest_contact_sheet_fits_a_jpeg(make_data: Any, tmp_path: Path) -> None:
    data, out = make_data(MOST_PREVIEWED), str(tmp_path / "out")
    config = PreprocessConfig(image_size=(32, 32), train_views=1)
    preprocess(images=str(data.images), annotations=str(data.annotations), split="val", output=out, config=config)
    assert main(["inspect", out, "--preview", str(MOST_PREVIEWED)]) == 0
    assert Image.open(Path(out) / "preview.jpg").height == MOST_PREVIEWED * (256 + 18 + 4)


def test_the_contact_sheet_shows_box_and_heatmap(data_set: Any, tmp_path: Path) -> None:
    """On black pictures, whatever has a colour was drawn: a box's outline, the glow of its centre, the captions."""
    (tmp_path / "black").mkdir()
    data_set.images = tmp_path / "black"
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(data_set.images / "a.png")
    data_set.content |= {
        "images": [{"id": 1, "file_name": "a.png", "height": 64, "width": 64}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 3, "bbox": [8, 16, 48, 40]}],
    }
    data_set.save()
    out = str(tmp_path / "out")
    config = PreprocessConfig(image_size=(64, 64), train_views=1)
    preprocess(
        images=str(data_set.images), annotations=str(data_set.annotations), split="val", output=out, config=config
    )
    assert main(["inspect", out, "--preview", "1"]) == 0
    tile = np.asarray(Image.open(Path(out) / "preview.jpg").convert("RGB"))[18:, :].max(axis=2)
    top, bottom, left, right = 4 * 16, 4 * 56 - 1, 4 * 8, 4 * 56 - 1  # 256 pixels show 64
    for y, x in ((top, 200), (bottom, 60), (200, left), (80, right), (144, 128)):
        assert tile[y - 1 : y + 2, x - 1 : x + 2].max() > 100, (y, x)
    for y, x in ((top - 20, 128), (bottom + 20, 128), (200, left - 16), (200, right + 16), (80, left + 30)):
        assert tile[y, x] < 60, (y, x)
