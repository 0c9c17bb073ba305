import os

import pytest

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.files import read_json, read_text, write_text


def test_round_trip_and_parents(tmp_path):
    path = tmp_path / "a" / "b.json"
    write_text(str(path), '{"ü": 1}')
    write_text(str(path), '{"ü": 2}')
    assert read_json(str(path), "fix") == {"ü": 2}
    assert os.listdir(path.parent) == ["b.json"], "a temporary file was left"


def test_other_file_systems():
    write_text("memory://files-test/x.txt", "text")
    assert read_text("memory://files-test/x.txt", "fix") == "text"


def test_failed_write_leaves_the_old_content(tmp_path):
    path = tmp_path / "x.txt"
    write_text(str(path), "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(str(path), "\ud800")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["x.txt"]


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no such file; do this"), (b"\xff\xfe", "cannot be read .*; do this"), (b"{", "not JSON .*; do this")],
)
def test_bad_files(tmp_path, content, message):
    path = tmp_path / "x.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        read_json(str(path), "do this")
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
