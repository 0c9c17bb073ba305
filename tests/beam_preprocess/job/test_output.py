"""The output folder: what is ready, what is swept, and the plans."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import fsspec
import pytest

from beam_preprocess.base.errors import Failure, InputError
from beam_preprocess.format.manifest import NAME, Manifest, Shard
from beam_preprocess.format.reasons import Reason, Reject
from beam_preprocess.job.output import FILE_REJECTS, OutputFolder
from beam_preprocess.job.shards import ShardResult
from tests.beam_preprocess.format.test_manifest import MANIFEST


def ready(folder: str) -> Manifest:
    """Writes a shard of four bytes and its manifest."""
    shard = Shard(name="train-v00-00000-of-00001.tfrecord", shard=0, view=0, records=1, bytes=4, sha256="")
    manifest = dataclasses.replace(MANIFEST, shards=(shard,))
    fs, path = fsspec.core.url_to_fs(folder)
    fs.makedirs(path, exist_ok=True)
    fs.pipe_file(f"{path}/{shard.name}", b"data")
    OutputFolder(folder).write_manifest(manifest)
    return manifest


@pytest.fixture(params=["local", "memory"])
def folder(request: Any, tmp_path: Path) -> str:
    return str(tmp_path / "out") if request.param == "local" else f"memory://output-test{tmp_path}"


def names(folder: str) -> list[str]:
    fs, path = fsspec.core.url_to_fs(folder)
    return sorted(name.removeprefix(path).lstrip("/") for name in fs.find(path))


def test_a_complete_folder_is_ready_for_its_own_digest_and_split(folder: str) -> None:
    output = OutputFolder(folder)
    assert output.ready_manifest("train", "r") is None
    manifest = ready(folder)
    assert output.ready_manifest("train", "r") == manifest
    assert output.ready_manifest("train", "other") is None
    with pytest.raises(InputError, match="holds the records of split 'train'; give 'val' its own folder"):
        output.ready_manifest("val", "r")


@pytest.mark.parametrize("damage", ["missing", "short", "manifest"])
def test_an_incomplete_folder_is_not_ready(folder: str, damage: str) -> None:
    shard = ready(folder).shards[0].name
    fs, path = fsspec.core.url_to_fs(folder)
    if damage == "missing":
        fs.rm_file(f"{path}/{shard}")
    else:
        fs.pipe_file(f"{path}/{NAME if damage == 'manifest' else shard}", b"{")
    assert OutputFolder(folder).ready_manifest("train", "r") is None


def test_files_of_earlier_runs_are_swept_and_nothing_else(folder: str) -> None:
    ready(folder)
    fs, path = fsspec.core.url_to_fs(folder)
    ours = [
        f".{NAME}.tmp-0a1b",
        f"{NAME}.tmp-0a1b",  # as older versions named it
        ".train-v00-00000-of-00009.tfrecord.tmp-0a1b",
        "rejects-00000-of-00009.jsonl",
        FILE_REJECTS,
        "preview.jpg",
        ".plan-0123/plan-00000.jsonl",
    ]
    theirs = ["notes.txt", ".notes.txt.tmp-0a1b", "sub/train-v00-00000-of-00009.tfrecord"]
    for name in ours + theirs:
        fs.makedirs(f"{path}/{name}".rpartition("/")[0], exist_ok=True)
        fs.pipe_file(f"{path}/{name}", b"x")
    OutputFolder(folder).sweep()
    assert names(folder) == sorted(theirs)


def test_a_folder_that_can_be_written_stays_empty(folder: str) -> None:
    OutputFolder(folder).make_writable()
    assert names(folder) == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("file/out", "file/out: cannot be written (Not a directory); choose another output folder"),
        ("out[1]", "out[1]: file systems take '*', '?' and '[' for patterns; choose another output folder"),
    ],
)
def test_a_folder_that_cannot_be_written_is_an_input_error(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=re.escape(message)):
        OutputFolder(f"{tmp_path}/{name}").make_writable()


def test_rejects_are_written_in_a_stable_order(folder: str) -> None:
    rejects = [Reject(reason=Reason.MISSING_IMAGE, image_id=i, file_name=f"{i}.jpg") for i in (9, 3)]
    OutputFolder(folder).write_rejects(rejects)
    fs, path = fsspec.core.url_to_fs(folder)
    lines = fs.cat_file(f"{path}/{FILE_REJECTS}").decode().splitlines()
    assert [Reject.from_mapping(json.loads(line)).image_id for line in lines] == [3, 9]


def result(shard: int) -> ShardResult:
    return ShardResult(
        shard=shard,
        files=(),
        images=shard + 1,
        objects=0,
        crowds=0,
        cut_off=0,
        max_cells=0,
        max_objects=0,
        classes={},
        sizes={},
        rejects={"missing_image": 2},
    )


def test_plans_are_written_and_results_are_polled(folder: str) -> None:
    plans = OutputFolder(folder).write_plans("0123456789abcdef0", iter([["a", "b"], [], ["c"]]))
    fs, path = fsspec.core.url_to_fs(plans.folder)
    assert [fs.cat_file(fsspec.core.url_to_fs(uri)[1]) for uri in plans.uris] == [b"a\nb\n", b"", b"c\n"]
    assert plans.progress() == (0, "0 rejects so far")
    for shard in (2, 0):
        fs.pipe_file(f"{path}/result-{shard:05d}.json", result(shard).to_json().encode())
    assert plans.progress() == (4, "4 rejects so far")
    with pytest.raises(Failure, match=r"the job ended without results for the shards \[1\]; did another run use"):
        plans.results()
    fs.pipe_file(f"{path}/result-00001.json", result(1).to_json().encode())
    assert plans.results() == [result(0), result(1), result(2)]
    plans.remove()
    plans.remove()  # another run may have swept it
    assert names(folder) == []
