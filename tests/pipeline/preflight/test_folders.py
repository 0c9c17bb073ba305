"""Folders that a run writes to."""

from pathlib import Path

import pytest

from beam_preprocess.base.errors import InputError
from pipeline.preflight.folders import check_writable


def test_a_folder_is_made_and_left_empty(tmp_path: Path) -> None:
    check_writable(tmp_path / "a" / "b", "--runs-dir")
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(InputError, match=r"--runs-dir .*taken/runs: cannot be written \(.+\); choose another folder"):
        check_writable(tmp_path / "taken" / "runs", "--runs-dir")
