"""The images of a job, by name, and what changes their digest."""

import os
from pathlib import Path

import pytest

from beam_preprocess.base.errors import InputError
from trainer.scoring.images import list_images


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("in/b.jpg", "in/sub/a.png", "in/a.jpg", "in/notes.txt", "in/[x]/c.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("images", "root", "names"),
    [
        ("in", "in", ("[x]/c.jpg", "a.jpg", "b.jpg", "sub/a.png")),
        ("in/", "in", ("[x]/c.jpg", "a.jpg", "b.jpg", "sub/a.png")),
        ("in/[x]", "in/[x]", ("c.jpg",)),
        ("in/**/*.jpg", "in", ("[x]/c.jpg", "a.jpg", "b.jpg")),
        ("i?/a.*", "", ("in/a.jpg",)),
        ("in/sub/a.png", "in/sub", ("a.png",)),
        ("memory://in/sub", "memory:///in/sub", ("a.png",)),
        ("memory://in/*.jpg", "memory:///in", ("a.jpg", "b.jpg")),
    ],
)
def test_names_are_below_a_folder_and_sorted(folder: Path, images: str, root: str, names: tuple[str, ...]) -> None:
    import fsspec

    if "://" in images:
        for name in ("in/b.jpg", "in/sub/a.png", "in/a.jpg"):
            fsspec.filesystem("memory").pipe_file(f"/{name}", b"x")
    found = list_images(images)
    assert found.folder == (root if "://" in images else str(folder / root))
    assert found.names == names
    assert found.digest == list_images(images).digest


def test_given_names_are_taken_alone(folder: Path) -> None:
    found = list_images("in", ["b.jpg", "a.jpg", "b.jpg", "gone.jpg"])
    assert (found.folder, found.names) == (str(folder / "in"), ("a.jpg", "b.jpg", "gone.jpg"))


def test_the_digest_follows_the_files(folder: Path) -> None:
    digests = {list_images("in").digest}
    os.utime(folder / "in" / "a.jpg", ns=(0, 5))
    digests.add(list_images("in").digest)
    (folder / "in" / "b.jpg").rename(folder / "in" / "c.jpg")
    digests.add(list_images("in").digest)
    (folder / "in" / "c.jpg").unlink()
    digests.add(list_images("in").digest)
    assert len(digests) == 4


@pytest.mark.parametrize(
    ("images", "names", "message"),
    [
        ("nowhere", None, "--images nowhere: no such image"),
        ("in/*.gif", None, "--images .*: no image there"),
        ("in", [], "--images .*in: no image there"),
    ],
)
def test_no_image(folder: Path, images: str, names: list[str] | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        list_images(images, names)
