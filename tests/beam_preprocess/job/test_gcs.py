"""gs:// in and out: Beam's gcsio and gcsfs against a storage service on loopback, with a service account's token."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from beam_preprocess.__main__ import main
from beam_preprocess.base.errors import InputError
from beam_preprocess.format.annotations import load_annotations
from beam_preprocess.format.config import PreprocessConfig
from beam_preprocess.format.sources import data_digest, list_images
from beam_preprocess.inspection.record_folder import read_manifest
from beam_preprocess.job.pipeline import preprocess
from tests.gcs_emulator import TOKEN, GcsEmulator, gcs_emulator

ROOT = Path(__file__).parents[3]
IMAGES, ANNOTATIONS = "gs://my-data/coco/images", "gs://my-data/coco/train.json"
DATA = ["--images", IMAGES, "--annotations", ANNOTATIONS, "--split", "train"]
SHAPE = ["--image-size", "64", "--views", "2", "--num-shards", "2"]
CONFIG = PreprocessConfig(image_size=(64, 64), train_views=2)


class Bucket:
    """The service with the data set in it, and this process pointed at it."""

    def __init__(self, gcs: GcsEmulator, fs: Any, data: Any) -> None:
        self.gcs, self.fs, self.data = gcs, fs, data
        for name in ("my-data", "my-records"):
            fs.mkdir(name)
        for path in data.images.iterdir():
            fs.pipe_file(f"my-data/coco/images/{path.name}", path.read_bytes())
        fs.pipe_file("my-data/coco/train.json", data.annotations.read_bytes())
        gcs.requests.clear()

    def contents(self, folder: str) -> dict[str, str]:
        """sha256 by name, as `local` gives them."""
        self.fs.invalidate_cache()
        names = [path.removeprefix(f"{folder}/") for path in self.fs.find(folder)]
        return {name: hashlib.sha256(self.fs.cat_file(f"{folder}/{name}")).hexdigest() for name in names}

    def local(self, folder: Path, **options: Any) -> dict[str, str]:
        """The same run on the same data, on disk."""
        config = options.pop("config", CONFIG)
        preprocess(
            images=str(self.data.images),
            annotations=str(self.data.annotations),
            split="train",
            output=str(folder),
            config=config,
            num_shards=2,
            **options,
        )
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}

    def written(self) -> list[str]:
        """The requests that made or removed an object."""
        return [line for line in self.gcs.requests if line.startswith(("PUT", "DELETE", "POST /upload", "POST /batch"))]


@pytest.fixture
def bucket(make_data: Any, tmp_path: Path) -> Iterator[Bucket]:
    with gcs_emulator(tmp_path) as gcs, gcs.in_this_process() as fs:
        yield Bucket(gcs, fs, make_data(5))


def test_a_process_writes_the_bytes_of_a_local_run(bucket: Bucket, tmp_path: Path) -> None:
    output = "gs://my-records/run/train"
    done = subprocess.run(
        [sys.executable, "-m", "beam_preprocess", *DATA, *SHAPE, "--output", output],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=bucket.gcs.process_environment(),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "result: train 5 images x 2 views, 5 objects, 0 rejects" in done.stdout
    assert bucket.gcs.tokens == {f"Bearer {TOKEN}"}
    assert bucket.contents("my-records/run/train") == bucket.local(tmp_path / "local")
    # Each image was read once, by the worker: neither the digest nor a listing needed its bytes.
    downloads = bucket.gcs.downloads()
    assert sorted(line.split("/")[-1].split("?")[0] for line in downloads if "/images/" in line) == sorted(
        path.name for path in bucket.data.images.iterdir()
    )


def test_a_rerun_writes_nothing_and_inspect_reads(bucket: Bucket, tmp_path: Path, capsys: Any) -> None:
    output = "gs://my-records/train"
    command = [*DATA, *SHAPE, "--output", output]
    assert main(command) == 0
    assert "reused" not in capsys.readouterr().out
    before = bucket.contents("my-records/train")
    bucket.gcs.requests.clear()
    assert main(command) == 0
    assert "reused the records in" in capsys.readouterr().out
    assert [line for line in bucket.written() if "DELETE" in line and "manifest.json.tmp-" not in line] == []
    assert len(bucket.written()) == 2  # the probe, written and removed
    assert bucket.contents("my-records/train") == before
    assert main(["inspect", output, "--verify", "--preview", "2"]) == 0
    text = capsys.readouterr().out
    assert "verified: 4 of 4 shards are undamaged" in text
    assert f"preview: {output}/preview.jpg" in text
    bucket.fs.pipe_file("my-records/train/train-v00-00001-of-00002.tfrecord", b"damage")
    assert main(["inspect", output, "--verify"]) == 1
    assert main(command) == 0  # not complete any more
    assert bucket.contents("my-records/train") == before


def test_what_earlier_runs_left_in_a_bucket_is_swept(bucket: Bucket, tmp_path: Path) -> None:
    stale = [
        "train-v00-00004-of-00007.tfrecord",
        "train-v00-00000-of-00002.tfrecord.tmp-0123abc",
        "rejects-00001-of-00007.jsonl",
        "manifest.json.tmp-0123abc",
        ".plan-0123456789abcdef/plan-00000.jsonl",
        ".plan-0123456789abcdef/result-00000.json",
    ]
    for name in [*stale, "notes.txt", "other/train-v00-00004-of-00007.tfrecord"]:
        bucket.fs.pipe_file(f"my-records/train/{name}", b"old")
    assert main([*DATA, *SHAPE, "--output", "gs://my-records/train"]) == 0
    found = bucket.contents("my-records/train")
    assert found.pop("notes.txt") and found.pop("other/train-v00-00004-of-00007.tfrecord")  # the user's own
    assert found == bucket.local(tmp_path / "local")


def test_a_missing_image_is_a_reject_and_check_says_so(bucket: Bucket, tmp_path: Path, capsys: Any) -> None:
    name = bucket.data.content["images"][3]["file_name"]
    bucket.fs.rm_file(f"my-data/coco/images/{name}")
    (bucket.data.images / name).unlink()
    limit = ["--max-reject-fraction", "0.5"]
    assert main([*DATA, *SHAPE, *limit, "--output", "gs://my-records/train"]) == 0
    config = PreprocessConfig(image_size=(64, 64), train_views=2, max_reject_fraction=0.5)
    found, expected = bucket.contents("my-records/train"), bucket.local(tmp_path / "local", config=config)
    assert {name: digest for name, digest in found.items() if name.endswith(".tfrecord")} == {
        name: digest for name, digest in expected.items() if name.endswith(".tfrecord")
    }
    (rejects,) = [name for name in found if name.startswith("rejects-")]
    (line,) = bucket.fs.cat_file(f"my-records/train/{rejects}").splitlines()
    assert (json.loads(line)["reason"], json.loads(line)["file_name"]) == ("missing_image", name)
    capsys.readouterr()
    assert main(["check", *DATA, *limit]) == 0
    assert [row.split()[:2] for row in capsys.readouterr().out.splitlines() if "missing_image" in row] == [
        ["missing_image", "1"]
    ]
    assert main(["check", *DATA]) == 1


def test_the_digest_of_a_bucket_comes_from_its_listing(bucket: Bucket, capsys: Any) -> None:
    names = [image["file_name"] for image in bucket.data.content["images"]]
    found = list_images(IMAGES, names, ANNOTATIONS)
    assert bucket.gcs.downloads() == []
    assert len([line for line in bucket.gcs.requests if "maxResults=1000" in line]) == 1
    assert found == list_images(str(bucket.data.images), names, ANNOTATIONS)
    local = load_annotations(str(bucket.data.annotations)).content_digest
    assert data_digest(local, names, found)[:12]
    bucket.gcs.requests.clear()
    assert main(["check", "--headers-only", *DATA]) == 0
    assert f"data {data_digest(local, names, found)[:12]}" in capsys.readouterr().out
    assert all("/images/" not in line for line in bucket.gcs.downloads())
    # A changed image changes the digest, also in a process that has listed the bucket before.
    bucket.fs.pipe_file(f"my-data/coco/images/{names[0]}", b"other bytes")
    assert list_images(IMAGES, names, ANNOTATIONS)[names[0]].size == len(b"other bytes")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--images", "gs://my-data/nothing"], "no such image folder"),
        (["--images", "gs://no-such-bucket/images"], "no such image folder"),
        (["--annotations", "gs://my-data/coco/val.json"], "no such annotation file"),
        (["--output", "gs://no-such-bucket/train"], "cannot be written"),
    ],
)
def test_what_a_bucket_lacks_is_an_input_error(bucket: Bucket, arguments: list[str], message: str, capsys: Any) -> None:
    assert main([*DATA, *SHAPE, "--output", "gs://my-records/train", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {arguments[1]}")
    assert message in line


@pytest.mark.slow
@pytest.mark.parametrize("shards", [1, 3])
def test_a_killed_run_in_a_bucket_leaves_nothing_ready_and_a_rerun_fixes_it(
    bucket: Bucket, tmp_path: Path, shards: int
) -> None:
    """Killed when that many objects of records are there."""
    output = "my-records/train"
    command = [sys.executable, "-m", "beam_preprocess", *DATA, *SHAPE, "--output", f"gs://{output}"]
    process = subprocess.Popen(command, cwd=ROOT, env=bucket.gcs.process_environment(), stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        bucket.fs.invalidate_cache()
        if len([name for name in bucket.fs.find(output) if name.endswith(".tfrecord")]) >= shards:
            break
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    left = bucket.contents(output)
    assert any(name.startswith(".plan-") for name in left)
    assert "manifest.json" not in left
    with pytest.raises(InputError, match="no finished records"):
        read_manifest(f"gs://{output}")
    assert main([*DATA, *SHAPE, "--output", f"gs://{output}"]) == 0
    assert bucket.contents(output) == bucket.local(tmp_path / "local")
