"""The contact sheet."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from beam_preprocess.base.errors import InputError
from beam_preprocess.flags import MAX_PREVIEW_IMAGES
from beam_preprocess.format.config import PreprocessConfig
from beam_preprocess.format.manifest import Manifest
from beam_preprocess.inspection.contact_sheet import write_contact_sheet
from beam_preprocess.job.pipeline import preprocess


def records(data: Any, out: str, config: PreprocessConfig) -> Manifest:
    return preprocess(
        images=str(data.images), annotations=str(data.annotations), split="val", output=out, config=config
    )


def test_the_largest_contact_sheet_fits_a_jpeg(make_data: Any, tmp_path: Path) -> None:
    data, out = make_data(MAX_PREVIEW_IMAGES), str(tmp_path / "out")
    manifest = records(data, out, PreprocessConfig(image_size=(32, 32), train_views=1))
    path = write_contact_sheet(out, manifest, MAX_PREVIEW_IMAGES)
    assert Image.open(path).height == MAX_PREVIEW_IMAGES * (256 + 18 + 4)


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
    path = write_contact_sheet(out, records(data_set, out, PreprocessConfig(image_size=(64, 64))), 1)
    tile = np.asarray(Image.open(path).convert("RGB"))[18:, :].max(axis=2)
    top, bottom, left, right = 4 * 16, 4 * 56 - 1, 4 * 8, 4 * 56 - 1  # 256 pixels show 64
    for y, x in ((top, 200), (bottom, 60), (200, left), (80, right), (144, 128)):
        assert tile[y - 1 : y + 2, x - 1 : x + 2].max() > 100, (y, x)
    for y, x in ((top - 20, 128), (bottom + 20, 128), (200, left - 16), (200, right + 16), (80, left + 30)):
        assert tile[y, x] < 60, (y, x)


def test_a_missing_shard_is_an_input_error(data_set: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    manifest = records(data_set, str(out), PreprocessConfig(image_size=(32, 32)))
    (out / manifest.shards[0].name).unlink()
    with pytest.raises(InputError, match=f"{manifest.shards[0].name}: cannot be read .*; see --verify"):
        write_contact_sheet(str(out), manifest, 1)
    assert not (out / "preview.jpg").exists()
