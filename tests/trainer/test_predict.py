from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from trainer import predict

pytestmark = pytest.mark.xdist_group("exported")  # one training and export for all of them


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    """A good image, a file that is none, and another good one."""
    paths = [tmp_path / name for name in ("first.jpg", "broken.jpg", "second.png")]
    pixels = np.random.default_rng(0).integers(0, 256, (48, 70, 3)).astype(np.uint8)
    paths[0].write_bytes(tf.io.encode_jpeg(pixels).numpy())
    paths[1].write_bytes(b"\xff\xd8\xff broken")
    paths[2].write_bytes(tf.io.encode_png(pixels).numpy())
    return paths


def test_a_broken_file_is_named_and_the_others_are_done(
    exported: Path, images: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--model", str(exported), "--output", str(tmp_path / "drawn"), "--threshold", "0"]
    assert predict.main([*flags, *map(str, images)]) == 2
    captured = capsys.readouterr()
    assert f"error: {images[1]}: not an image" in captured.err
    assert f"{images[0]}: 70x48" in captured.out
    assert "class" in captured.out
    drawn = sorted(p.name for p in (tmp_path / "drawn").iterdir())
    assert drawn == ["first.detections.png", "second.detections.png"]
    picture = tf.io.decode_png((tmp_path / "drawn" / drawn[0]).read_bytes())
    assert picture.shape == (48, 70, 3)


def test_good_files_are_exit_code_0_and_the_threshold_filters(
    exported: Path, images: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict.main(["--model", str(exported), "--output", "", "--threshold", "1", str(images[0])]) == 0
    assert "0 detection(s)" in capsys.readouterr().out


@pytest.mark.parametrize(("flags", "message"), [(["--threshold", "2"], "--threshold 2"), ([], "not a SavedModel")])
def test_bad_usage(images: list[Path], capsys: pytest.CaptureFixture[str], flags: list[str], message: str) -> None:
    assert predict.main(["--model", "nowhere", *flags, str(images[0])]) == 2
    assert message in capsys.readouterr().err
