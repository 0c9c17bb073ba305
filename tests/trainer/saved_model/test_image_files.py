"""Files, folders and patterns that name images."""

import os
import socket
from pathlib import Path

import pytest

from trainer.saved_model.image_files import find_images, picture_names


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """a.jpg, B.PNG, sub/c.gif, sub/deeper/a.jpg, and what is not an image."""
    for name in ("a.jpg", "B.PNG", "sub/c.gif", "sub/deeper/a.jpg", "notes.txt", "sub/a.detections.png", ".hidden"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    (tmp_path / "in" / "gone.jpg").symlink_to("nowhere")
    (tmp_path / "in" / "empty").mkdir()
    os.mkfifo(tmp_path / "in" / "pipe.jpg")
    monkeypatch.chdir(tmp_path)
    return tmp_path


ALL = ("in/B.PNG", "in/a.jpg", "in/sub/c.gif", "in/sub/deeper/a.jpg")


@pytest.mark.parametrize(
    ("arguments", "files", "problems", "notes"),
    [
        (["in/a.jpg"], ("in/a.jpg",), (), ()),
        (["in"], ALL, (), ("in: left out 5 files that are not images",)),
        (["in/"], ALL, (), ("in/: left out 5 files that are not images",)),
        (["in/sub", "in/a.jpg"], ("in/sub/c.gif", "in/sub/deeper/a.jpg", "in/a.jpg"), (), 1),
        (["in/*.jpg"], ("in/a.jpg",), (), 1),
        (["in/**/*.jpg"], ("in/a.jpg", "in/sub/deeper/a.jpg"), (), 1),
        (["in/a.jpg", "in/a.jpg", "in/*.jpg"], ("in/a.jpg",), (), 1),
        (["in/notes.txt"], ("in/notes.txt",), (), ()),  # it was named itself: the decoder judges it
        (["in/*.txt"], (), ("in/*.txt: no image there",), ()),
        (["in/empty", "in/a.jpg"], ("in/a.jpg",), ("in/empty: no image there",), ()),
        (["missing.jpg", "in/a.jpg"], ("in/a.jpg",), ("missing.jpg: no such image",), ()),
        (["missing/*.jpg"], (), ("missing/*.jpg: no image there",), ()),
        (["in/pipe.jpg", "in/a.jpg"], ("in/a.jpg",), ("in/pipe.jpg: not a regular file (a FIFO)",), ()),
        (["in/gone.jpg"], (), ("in/gone.jpg: no such image",), ()),
        (["in/\0.jpg"], (), ("'in/\\x00.jpg': not the name of a file",), ()),
        (["memory://in", "in/a.jpg"], ("memory://in", "in/a.jpg"), (), ()),
    ],
)
def test_arguments(folder: Path, arguments, files, problems, notes) -> None:
    named = find_images(arguments)
    assert named.files == files
    assert len(named.problems) == len(problems)
    for found, words in zip(named.problems, problems, strict=True):
        assert found.startswith(words)
        assert "\n" not in found
    assert (len(named.notes) if isinstance(notes, int) else named.notes) == notes


def test_brackets_in_a_name_are_no_pattern(folder: Path) -> None:
    (folder / "in" / "photo [1].jpg").write_bytes(b"x")
    assert find_images(["in/photo [1].jpg"]).files == ("in/photo [1].jpg",)


def test_a_socket(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("in/s.jpg")
        assert find_images(["in/s.jpg"]).problems[0].startswith("in/s.jpg: not a regular file (a socket)")


def test_uris(folder: Path) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    for name in ("/images/a.jpg", "/images/sub/b.png", "/images/c.txt"):
        memory.pipe_file(name, b"x")
    found = find_images(["memory://images"])
    assert [name.rpartition("/")[2] for name in found.files] == ["a.jpg", "b.png"]
    assert all(name.startswith("memory://") for name in found.files)
    assert len(find_images(["memory://images/*.jpg"]).files) == 1
    assert found.notes == ("memory://images: left out 1 file that is not an image",)


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["a.jpg", "b.png"], ["a", "b"]),
        (["x/a.jpg", "b.png"], ["a", "b"]),
        (["a.jpg", "a.png"], ["a.jpg", "a.png"]),
        (["a.jpg", "A.png"], ["a.jpg", "A.png"]),  # a file system may not tell A from a
        (["x/a.jpg", "y/a.jpg"], ["x-a.jpg", "y-a.jpg"]),
        (["x/a.jpg", "y/a.jpg", "a.png"], ["x-a.jpg", "y-a.jpg", "a.png"]),
        (["x/y/a.jpg", "z/y/a.jpg"], ["x-y-a.jpg", "z-y-a.jpg"]),
        (["x/a.jpg", "/x/a.jpg"], ["x-a.jpg-1", "x-a.jpg-2"]),
        (["x-a.jpg", "x/a.jpg", "y/a.jpg"], ["x-a", "x-a.jpg", "y-a.jpg"]),
        (["gs://b/a.jpg", "gs://c/a.jpg"], ["b-a.jpg", "c-a.jpg"]),
    ],
)
def test_picture_names(files: list[str], names: list[str]) -> None:
    found = [name.removesuffix(".detections.png") for name in picture_names(files)]
    assert found == names


def test_names_always_differ() -> None:
    from itertools import product

    parts = ["a", "b", "a-b", "A"]
    files = [f"{x}/{y}.{ending}" for x, y, ending in product(parts, parts, ("jpg", "png"))]
    files += [f"{x}.{ending}" for x, ending in product(parts, ("jpg", "png"))]
    names = [name.casefold() for name in picture_names(files)]
    assert len({*names}) == len(names)
