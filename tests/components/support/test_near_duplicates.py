"""The comparison between preprocessing and training."""

from pathlib import Path

import pytest

from beam_preprocess.base.errors import InputError
from beam_preprocess.format.fingerprints import NAME, to_lines
from components.support.near_duplicates import LISTED, warn_of_near_duplicates

CODE = "0123456789abcdef" * 2


@pytest.fixture
def folders(tmp_path: Path) -> tuple[str, str, str]:
    for split in ("train", "val"):
        (tmp_path / split).mkdir()
        (tmp_path / split / NAME).write_text(to_lines({f"{split}.jpg": CODE}))
    return str(tmp_path / "train"), str(tmp_path / "val"), str(tmp_path)


def test_pairs_are_a_warning_and_a_list(
    folders: tuple[str, str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    warn_of_near_duplicates(*folders, strict=False)
    assert capsys.readouterr().out.startswith("warning: 1 of 1 validation images look like")
    assert (tmp_path / LISTED).exists()
    (tmp_path / LISTED).unlink()
    (tmp_path / "val" / NAME).write_text(to_lines({"val.jpg": "f" * 32}))
    warn_of_near_duplicates(*folders, strict=False)
    assert capsys.readouterr().out == "result: no validation images look like training images\n"
    assert not (tmp_path / LISTED).exists()


def test_strict_ends_the_run(folders: tuple[str, str, str]) -> None:
    with pytest.raises(InputError, match="--strict"):
        warn_of_near_duplicates(*folders, strict=True)
