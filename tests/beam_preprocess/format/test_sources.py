"""The image folder's listing and the data digest."""

import os
import tempfile
from pathlib import Path

import google_crc32c
import pytest

from beam_preprocess.base.errors import InputError
from beam_preprocess.format.sources import SourceFile, data_digest, list_images


def test_lists_what_exists_with_size_and_checksum(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.jpg").write_bytes(b"hello")
    found = list_images(str(tmp_path), ["sub/a.jpg", "missing.jpg", "sub"], "annotations.json")
    assert found == {"sub/a.jpg": SourceFile(5, google_crc32c.value(b"hello"))}


def test_a_listing_of_another_file_system_is_read_the_same(tmp_path: Path) -> None:
    import fsspec

    fs = fsspec.filesystem("memory")
    fs.pipe_file("/bucket/images/sub/a.jpg", b"hello")
    found = list_images("memory://bucket/images", ["sub/a.jpg", "b.jpg"], "annotations.json")
    assert found == {"sub/a.jpg": SourceFile(5, google_crc32c.value(b"hello"))}


def test_no_folder_and_nothing_in_common_are_input_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such image folder"):
        list_images(str(tmp_path / "nowhere"), ["a.jpg"], "annotations.json")
    with pytest.raises(InputError, match="none of the 1 images of annotations") as error:
        list_images(str(tmp_path), ["a.jpg"], "annotations.json")
    assert str(tmp_path) in str(error.value)


def test_a_file_that_may_not_be_read_is_there_and_changes_the_digest() -> None:
    with tempfile.TemporaryDirectory() as folder:  # not below pytest's own, which others can't enter
        path = Path(folder) / "a.jpg"
        path.write_bytes(b"hello")
        Path(folder).chmod(0o755)
        readable = list_images(folder, ["a.jpg"], "annotations.json")
        path.chmod(0)
        user = os.geteuid()
        if not user:  # nothing is closed to root
            os.seteuid(65534)
        try:
            found = list_images(folder, ["a.jpg"], "annotations.json")
        finally:
            os.seteuid(user)
    assert found == {"a.jpg": SourceFile(5, None)}
    assert data_digest("x", ["a.jpg"], found) not in (data_digest("x", ["a.jpg"], f) for f in (readable, {}))


FILES = {"a": SourceFile(1, 2), "b": SourceFile(3, 4)}


@pytest.mark.parametrize(
    ("annotations", "names", "files"),
    [
        ("y", ["a", "b"], FILES),
        ("x", ["a"], FILES),
        ("x", ["a", "b"], {**FILES, "b": SourceFile(3, 5)}),
        ("x", ["a", "b"], {**FILES, "b": SourceFile(4, 4)}),
        ("x", ["a", "b"], {"a": FILES["a"]}),
    ],
)
def test_the_digest_follows_every_part(annotations: str, names: list[str], files: dict[str, SourceFile]) -> None:
    reference = data_digest("x", ["a", "b"], FILES)
    assert reference == data_digest("x", ["b", "a"], FILES)
    assert data_digest(annotations, names, files) != reference
