from pathlib import Path

import pytest

from tests.trainer.command_checks import assert_help_is_light, parsed_examples
from tests.trainer.validation_images import random_jpeg
from trainer.predict import main, parser

pytestmark = pytest.mark.xdist_group("exported")  # one training and export for all of them


def test_help_and_examples() -> None:
    assert_help_is_light("trainer.predict")
    several, drawn, many = parsed_examples(parser(), "predict")
    assert several.images == ["photo.jpg", "other.png"]
    assert (drawn.threshold, drawn.output) == (0.5, "drawn")
    assert (many.images, many.json) == (["photos", "more/**/*.png"], "found.json")


@pytest.mark.parametrize(("content", "code"), [(random_jpeg(20, 30), 0), (b"\xff\xd8\xff broken", 2)])
def test_a_broken_file_is_exit_code_2(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, code: int
) -> None:
    image = tmp_path / "image.jpg"
    image.write_bytes(content)
    assert main(["--model", str(exported), "--output", "", "--threshold", "0", str(image)]) == code
    captured = capsys.readouterr()
    if code:
        assert f"error: {image}: not an image" in captured.err  # a progress line may come first
    else:
        assert f"{image}: 30x20" in captured.out


@pytest.mark.parametrize(("flags", "message"), [(["--threshold", "2"], "--threshold 2"), ([], "not a SavedModel")])
def test_bad_usage(capsys: pytest.CaptureFixture[str], flags: list[str], message: str) -> None:
    assert main(["--model", "nowhere", *flags, "image.jpg"]) == 2
    assert message in capsys.readouterr().err
