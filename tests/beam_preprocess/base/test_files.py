"""Small files at any URI: complete or not at all."""

import os
import time
from pathlib import Path

import pytest

from beam_preprocess.base import files
from beam_preprocess.base.errors import InputError
from beam_preprocess.base.files import (
    exists,
    final_name,
    read_bytes,
    read_json,
    read_pieces,
    read_text,
    temporary_path,
    write_text,
)


def test_round_trip_and_parents(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.json"
    write_text(str(path), '{"ü": 1}')
    write_text(str(path), '{"ü": 2}')
    assert read_json(str(path), "fix") == {"ü": 2}
    assert os.listdir(path.parent) == ["b.json"], "a temporary file was left"


def test_other_file_systems() -> None:
    write_text("memory://files-test/x.txt", "text")
    assert read_text("memory://files-test/x.txt", "fix") == "text"


def test_a_relative_path_and_a_file_uri_are_local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_text("x.txt", "relative")
    write_text(f"file://{tmp_path}/y.txt", "uri")
    assert ((tmp_path / "x.txt").read_text(), (tmp_path / "y.txt").read_text()) == ("relative", "uri")
    assert read_bytes("x.txt", "fix") == b"relative"
    assert list(read_pieces("x.txt", 3, "fix")) == [b"rel", b"ati", b"ve"]


def test_text_that_cannot_be_encoded_leaves_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    write_text(str(path), "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(str(path), "\ud800")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["x.txt"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    path = tmp_path / "x.txt"
    write_text(str(path), "old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, step, fail)
    with pytest.raises(OSError, match="No space left"):
        write_text(str(path), "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["x.txt"]


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no such file; do this"), (b"\xff\xfe", "cannot be read .*; do this"), (b"{", "not JSON .*; do this")],
)
def test_bad_files_are_input_errors(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "x.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        read_json(str(path), "do this")
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", [".", "\0"])
def test_what_is_not_a_file_is_an_input_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"cannot be read .*; do this"):
        read_bytes(f"{tmp_path}/{name}", "do this")
    with pytest.raises(InputError, match=r"cannot be read .*; do this"):
        next(read_pieces(f"{tmp_path}/{name}", 3, "do this"))


@pytest.mark.parametrize("path", ["x.json", "/a/b/x.json", "gs://bucket/a/x.json"])
def test_a_temporary_name_is_new_hidden_next_to_the_path_and_known(path: str) -> None:
    first, second = temporary_path(path), temporary_path(path)
    assert first != second
    folder, _, name = first.rpartition("/")
    assert (folder, name[0]) == (path.rpartition("/")[0], ".")
    assert final_name(name) == "x.json"


@pytest.mark.parametrize(
    ("name", "final"),
    [("x.json", "x.json"), (".x.json", ".x.json"), ("x.tmp-0a", "x"), (".x.tmp-0a", "x"), ("x.tmp", "x.tmp")],
)
def test_only_temporary_names_change(name: str, final: str) -> None:
    assert final_name(name) == final


def test_temporaries_of_killed_writers_are_removed(tmp_path):
    target = tmp_path / "aliases.json"
    hour_old = time.time() - 4000
    for name, age in ((".aliases.json.tmp-0a", hour_old), (".aliases.json.tmp-1b", None), (".x.json.tmp-2c", hour_old)):
        (tmp_path / name).write_text("half")
        if age:
            os.utime(tmp_path / name, (age, age))
    write_text(str(target), "{}")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".aliases.json.tmp-1b",  # its writer may still be running
        ".x.json.tmp-2c",  # another file's
        "aliases.json",
    ]


def test_exists(tmp_path):
    write_text(str(tmp_path / "x"), "")
    assert exists(str(tmp_path / "x"))
    assert not exists(str(tmp_path / "y"))
    assert not exists("memory://nothing/x")
