"""An image's statistics: each one by a picture or detections that differ in it."""

import io
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from beam_preprocess.format.images import ImageProblem
from tests.trainer.validation_images import random_jpeg
from trainer.profile.columns import Class, Measures, columns
from trainer.profile.measure import measure, measured, network_pixels

MEASURES = Measures(
    classes=(Class(id=3, name="ace"), Class(id=7, name="king"), Class(id=9, name="king")),
    threshold=0.4,
    input_size=(64, 64),
)
NAMES = [column.name for column in columns(MEASURES)]


def picture(height: int = 100, width: int = 200, **changes: float) -> bytes:
    rng = np.random.default_rng(0)
    coarse = rng.integers(60, 190, (height // 10, width // 10, 3)).astype(np.float32)
    pixels = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_NEAREST)
    if changes.get("blur"):
        pixels = cv2.GaussianBlur(pixels, (0, 0), changes["blur"])
    pixels = pixels * changes.get("light", 1.0) + np.array([changes.get("red", 0.0), 0.0, changes.get("blue", 0.0)])
    stream = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(stream, "JPEG", quality=95)
    return stream.getvalue()


def found(*detections: tuple[int, float, tuple[float, float, float, float]], size: Any = (100, 200)) -> dict[str, Any]:
    return {
        "image_size": np.array(size, np.int32),
        "detection_classes": np.array([d[0] for d in detections], np.int32),
        "detection_scores": np.array([d[1] for d in detections], np.float32),
        "detection_boxes": np.array([d[2] for d in detections], np.float32).reshape(-1, 4),
    }


def values(encoded: bytes, outputs: dict[str, Any]) -> dict[str, float]:
    return dict(zip(NAMES, measure(encoded, outputs, MEASURES)[0].tolist(), strict=True))


@pytest.mark.parametrize(
    ("change", "name", "sign"),
    [
        ({"light": 0.5}, "brightness", -1),
        ({"light": 0.5}, "contrast", -1),
        ({"blur": 6.0}, "sharpness", -1),
        ({"red": 40.0}, "red - green", 1),
        ({"blue": 40.0}, "yellow - blue", -1),
        ({"light": 0.5}, "saturation", -1),
    ],
)
def test_a_picture(change: dict[str, float], name: str, sign: int) -> None:
    plain, changed = values(picture(), found()), values(picture(**change), found())
    assert sign * (changed[name] - plain[name]) > 0.1 * abs(plain[name])


def test_brightness_and_size() -> None:
    stream = io.BytesIO()
    Image.new("RGB", (64, 128), (200, 100, 50)).save(stream, "PNG")
    measured_ = values(stream.getvalue(), found(size=(128, 64)))
    assert measured_["brightness"] == 124  # 0.299 R + 0.587 G + 0.114 B
    assert measured_["contrast"] == measured_["sharpness"] == 0
    assert measured_["saturation"] == 150
    assert (measured_["red - green"], measured_["yellow - blue"]) == (100, 100)
    assert (measured_["image size"], measured_["image shape"]) == (pytest.approx(90.5097), 0.5)


def test_detections() -> None:
    none = values(picture(), found())
    assert (none["detections"], none["best score"], none["ace: detections"]) == (0, 0, 0)
    assert all(np.isnan(none[name]) for name in ("mean score", "box size", "box shape", "box x", "box y"))
    some = values(
        picture(),
        found((3, 0.9, (0, 0, 0.5, 0.5)), (7, 0.4, (0.5, 0, 1, 0.25)), (3, 0.3, (0, 0, 1, 1)), (9, 0.1, (0, 0, 1, 1))),
    )
    assert (some["detections"], some["doubtful detections"]) == (2, 1)
    assert some["best score"] == pytest.approx(0.9)
    assert some["mean score"] == pytest.approx(0.65)
    assert some["box size"] == pytest.approx((0.5 + 0.125**0.5) / 2)
    assert some["box shape"] == pytest.approx(2**0.5)
    assert (some["box x"], some["box y"]) == (0.1875, 0.5)
    assert (some["ace: detections"], some["king (7): detections"], some["king (9): detections"]) == (1, 1, 0)
    assert some["king (9): best score"] == pytest.approx(0.1)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "GIF", "WEBP"])
@pytest.mark.parametrize("size", [(600, 800), (30, 20)])
def test_pixels_are_those_that_the_network_gets(kind: str, size: tuple[int, int]) -> None:
    image = Image.open(io.BytesIO(random_jpeg(*size))).resize(size[::-1])
    stream = io.BytesIO()
    image.save(stream, kind)
    pixels = network_pixels(stream.getvalue(), size, (64, 96))
    whole = np.asarray(Image.open(io.BytesIO(stream.getvalue())).convert("RGB"))
    method = cv2.INTER_AREA if size[0] > 64 else cv2.INTER_LINEAR
    expected = cv2.resize(whole, pixels.shape[1::-1], interpolation=method)
    assert max(pixels.shape[0] - 64, pixels.shape[1] - 96) == 0
    assert np.abs(pixels.astype(float) - expected).mean() < 6


def test_a_damaged_picture_has_detections_and_no_picture() -> None:
    cut = picture()[:-300]
    with pytest.raises(ImageProblem):
        network_pixels(cut, (100, 200), (64, 64))
    row = measured(4, "a.jpg", cut, found((3, 0.9, (0, 0, 1, 1))), MEASURES)
    assert np.isnan(row.values[: NAMES.index("image size")]).all()
    assert row.values[NAMES.index("detections")] == 1
    assert (row.id, row.name, row.fingerprint, row.features.shape) == (4, "a.jpg", "", (0,))
