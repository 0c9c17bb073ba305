"""Rows of pictures, and the parts of images around a box."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainer.report.pictures import GAP, LONGER_SIDE, MAX_HEIGHT, PAGE_WIDTH, Mark, Picture, around, drawn, rows_of


def pictures(*aspects: float) -> list[Picture]:
    return [
        Picture(file_name=str(i), image_id=i, caption="", data_uri="", problem="", aspect=aspect)
        for i, aspect in enumerate(aspects)
    ]


@pytest.mark.parametrize(
    ("aspects", "rows"),
    [
        ([1.5], [1]),
        ([1.5] * 2, [2]),
        ([1.5] * 4, [2, 2]),
        ([1.5] * 5, [2, 3]),
        ([0.6] * 5, [5]),
        ([3.3, 3.3], [1, 1]),
        ([0.1], [1]),
    ],
)
def test_rows(aspects: list[float], rows: list[int]) -> None:
    made = rows_of(pictures(*aspects))
    assert [len(row.pictures) for row in made] == rows
    assert [picture.image_id for row in made for picture in row.pictures] == list(range(len(aspects)))
    for row in made:
        width = min(PAGE_WIDTH, row.max_width) - GAP * (len(row.pictures) - 1)
        assert width / sum(picture.aspect for picture in row.pictures) <= MAX_HEIGHT + 1


@pytest.mark.parametrize(
    "box", [[0.0, 0, 5, 5], [630, 470, 10, 10], [100, 100, 400, 30], [0, 0, 640, 480], [300, 200, 0, 0]]
)
def test_the_part_around_a_box_holds_it_and_lies_in_the_image(box: list[float]) -> None:
    x, y, width, height = around([box], width=640, height=480)
    assert min(x, y) >= 0
    assert x + width <= 640 + 1e-9
    assert y + height <= 480 + 1e-9
    assert x <= box[0]
    assert y <= box[1]
    assert x + width >= box[0] + box[2]
    assert y + height >= box[1] + box[3]
    assert width >= 200 or width == pytest.approx(640)


@pytest.mark.parametrize("part", [None, (100.0, 50.0, 120.0, 80.0)])
def test_a_box_is_where_it_belongs(tmp_path: Path, part) -> None:
    """Of the whole image and of a part of it, large and small."""
    Image.fromarray(np.full((200, 300, 3), 128, np.uint8)).save(tmp_path / "i.png")
    uri, aspect = drawn(str(tmp_path), "i.png", [Mark(box=(120, 60, 40, 30), label="", colour=(255, 0, 0))], part)
    assert aspect == pytest.approx(1.5, abs=0.01)
    assert uri.startswith("data:image/jpeg;base64,")
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))), int)
    assert max(pixels.shape) == LONGER_SIDE
    red = np.argwhere((pixels[..., 0] > 180) & (pixels[..., 1] < 90))
    zoom, left, top = (LONGER_SIDE / 300, 0, 0) if part is None else (LONGER_SIDE / 120, 100, 50)
    assert red.min(axis=0) == pytest.approx([(60 - top) * zoom, (120 - left) * zoom], abs=3)
    assert red.max(axis=0) == pytest.approx([(90 - top) * zoom, (160 - left) * zoom], abs=4)
