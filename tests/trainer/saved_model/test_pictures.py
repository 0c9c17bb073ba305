from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from beam_preprocess.base.errors import InputError
from trainer.saved_model.pictures import predict

pytestmark = pytest.mark.xdist_group("exported")  # one training and export for all of them


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    """A good image, a broken file, and another good image."""
    paths = [tmp_path / name for name in ("first.jpg", "broken.jpg", "second.png")]
    pixels = np.random.default_rng(0).integers(0, 256, (48, 70, 3)).astype(np.uint8)
    paths[0].write_bytes(tf.io.encode_jpeg(pixels).numpy())
    paths[1].write_bytes(b"\xff\xd8\xff broken")
    paths[2].write_bytes(tf.io.encode_png(pixels).numpy())
    return paths


def test_a_broken_file_is_named_and_the_others_are_drawn(
    exported: Path, images: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "drawn"
    (failure,) = predict(model=str(exported), images=[*map(str, images)], output=str(folder), threshold=0)
    assert failure.startswith(f"{images[1]}: not an image")
    printed = capsys.readouterr().out
    assert f"{images[0]}: 70x48" in printed
    assert "class" in printed
    drawn = sorted(p.name for p in folder.iterdir())
    assert drawn == ["first.detections.png", "second.detections.png"]
    picture = tf.io.decode_png((folder / drawn[0]).read_bytes())
    assert picture.shape == (48, 70, 3)


def test_the_threshold_filters(exported: Path, images: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert predict(model=str(exported), images=[str(images[0])], output="", threshold=1) == []
    assert "0 detection(s)" in capsys.readouterr().out


@pytest.mark.parametrize(("threshold", "message"), [(2, "--threshold 2"), (None, "not a SavedModel")])
def test_bad_input(images: list[Path], threshold: float | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        predict(model="nowhere", images=[str(images[0])], output="", threshold=threshold)
