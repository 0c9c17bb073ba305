"""Reading, describing and verifying a folder of records."""

import dataclasses
import hashlib
from pathlib import Path

import pytest

from beam_preprocess.base.errors import InputError
from beam_preprocess.format.manifest import NAME, Shard
from beam_preprocess.inspection.record_folder import damaged_shards, described, read_manifest
from tests.beam_preprocess.format.test_manifest import MANIFEST

CLASSES = {"seven": 3, "two": 50, "none": 0}
LARGE = dataclasses.replace(MANIFEST, class_histogram=CLASSES, objects=53)


def test_classes_are_drawn_by_descending_count_and_the_rest_is_counted() -> None:
    text = described(LARGE, 1)
    assert "  two        50  94.3% " + "#" * 40 in text
    assert "... and 2 more classes with 3 objects; --all draws them" in text
    text = described(LARGE, None)
    assert "more classes" not in text
    assert [text.index(name) for name in ("two  ", "seven  ", "none  ")] == sorted(
        text.index(name) for name in ("two  ", "seven  ", "none  ")
    )


def test_a_manifest_without_objects_can_be_described() -> None:
    empty = dataclasses.replace(MANIFEST, class_histogram={}, size_histogram={}, rejects={}, shards=())
    assert "  nothing" in described(empty, None)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no manifest, so the folder has no finished records; run `centernet preprocess`"),
        (b"{", "not JSON"),
        (b"\xff\xfe", "not UTF-8 text .*; run the preprocessing again"),
    ],
)
def test_a_manifest_that_cannot_be_used_is_an_input_error(tmp_path: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / NAME).write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        read_manifest(f"{tmp_path}/")
    assert str(error.value).startswith(f"{tmp_path}/{NAME}: ")


def test_a_manifest_is_read_from_any_file_system() -> None:
    import fsspec

    fsspec.filesystem("memory").pipe_file(f"/records/train/{NAME}", MANIFEST.to_json().encode())
    assert read_manifest("memory://records/train") == MANIFEST


def test_every_kind_of_damage_is_listed(tmp_path: Path) -> None:
    names = ["good", "changed", "missing", "folder"]
    shard = Shard(name="", shard=0, view=0, records=1, bytes=4, sha256=hashlib.sha256(b"data").hexdigest())
    manifest = dataclasses.replace(MANIFEST, shards=tuple(dataclasses.replace(shard, name=name) for name in names))
    (tmp_path / "good").write_bytes(b"data")
    (tmp_path / "changed").write_bytes(b"other")
    (tmp_path / "folder").mkdir()
    changed, missing, folder = damaged_shards(str(tmp_path), manifest)
    other = hashlib.sha256(b"other").hexdigest()
    assert changed == (f"changed has sha256 {other[:12]} and 5 bytes; the manifest has {shard.sha256[:12]} and 4")
    assert missing == "missing is missing"
    assert folder.startswith("folder cannot be read (")
