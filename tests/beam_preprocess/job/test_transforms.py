"""The Beam composite on plans made by hand."""

import dataclasses
import json
import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.internal.gcp import auth
from apache_beam.pipeline import PipelineVisitor
from apache_beam.testing.test_pipeline import TestPipeline as Pipeline
from apache_beam.testing.util import assert_that
from PIL import Image

from beam_preprocess.engine.write_errors import WriteError, as_write_error
from beam_preprocess.format.config import PreprocessConfig
from beam_preprocess.format.reasons import Reason, Reject
from beam_preprocess.format.tfrecord import read_records
from beam_preprocess.job.code_version import code_version
from beam_preprocess.job.shards import ImageEntry, ShardJob, ShardResult
from beam_preprocess.job.transforms import METRICS_NAMESPACE, WriteRecords, _load, _read, atomic_stream, write_shard

PIXELS = np.random.default_rng(0).integers(0, 256, (48, 60, 3), np.uint8)
CONFIG = PreprocessConfig(image_size=(64, 64), train_views=2)


def entry(image_id: int, name: str) -> ImageEntry:
    return ImageEntry(
        id=image_id, file_name=name, height=48, width=60, boxes=[[8, 8, 40, 50]], classes=[1], crowd=[False]
    )


@pytest.fixture
def job(tmp_path: Path) -> ShardJob:
    (tmp_path / "images").mkdir()
    (tmp_path / "out").mkdir()
    Image.fromarray(PIXELS).save(tmp_path / "images" / "good.jpg")
    (tmp_path / "images" / "cut.jpg").write_bytes((tmp_path / "images" / "good.jpg").read_bytes()[:-300])
    Image.fromarray(PIXELS).convert("L").save(tmp_path / "images" / "gray.png")
    return ShardJob(
        images=str(tmp_path / "images"),
        output=str(tmp_path / "out"),
        split="train",
        config=CONFIG,
        views=2,
        seed=0,
        num_shards=2,
        code=code_version(),
    )


def plan(folder: Path, name: str, lines: list[ImageEntry | Reject]) -> str:
    path = folder / name
    values = [line.to_mapping() if isinstance(line, Reject) else dataclasses.asdict(line) for line in lines]
    path.write_text("".join(json.dumps(v) + "\n" for v in values))
    return str(path)


def test_records_rejects_results_and_counters(job: ShardJob, tmp_path: Path) -> None:
    known = Reject(reason=Reason.NOT_FINITE, image_id=1, annotation_id=7)
    plans = [
        (0, plan(tmp_path, "p0", [entry(1, "good.jpg"), entry(2, "cut.jpg"), entry(3, "gone.jpg"), known])),
        (1, plan(tmp_path, "p1", [entry(4, "gray.png")])),
    ]

    def check(results: list[ShardResult]) -> None:
        first, second = sorted(results, key=lambda r: r.shard)
        assert first.rejects == {"missing_image": 1, "truncated_image": 1, "not_finite": 1}
        assert second.rejects == {"converted_gray": 1}
        assert (first.images, second.images, first.objects) == (1, 1, 1)
        assert [f.records for f in first.files] == [1, 1]
        assert first.classes == {"1": 1}

    pipeline = Pipeline(runner="FnApiRunner")
    assert_that(pipeline | beam.Create(plans) | WriteRecords(job), check)
    result = pipeline.run()
    counters = result.metrics().query(beam.metrics.MetricsFilter().with_namespace(METRICS_NAMESPACE))["counters"]
    counts = {c.key.metric.name: c.result for c in counters}
    assert counts["images"] == 2
    assert counts["rejects/missing_image"] == 1

    out = Path(job.output)
    assert sorted(p.name for p in out.iterdir()) == sorted(
        [job.record_name(s, v) for s in (0, 1) for v in (0, 1)] + [job.reject_name(0), job.reject_name(1)]
    )
    with (out / job.record_name(1, 1)).open("rb") as file:
        assert len(list(read_records(file))) == 1
    lines: list[dict[str, Any]] = [json.loads(line) for line in (out / job.reject_name(0)).read_text().splitlines()]
    assert [(line["image_id"], line["reason"], line["action"]) for line in lines] == [
        (1, "not_finite", "dropped"),
        (2, "truncated_image", "dropped"),
        (3, "missing_image", "dropped"),
    ]
    assert lines[2]["detail"].endswith("drops its 1 box")


def test_image_bytes_pass_no_group_by_key(job: ShardJob) -> None:
    """Grouped are numbers of shards with their plans' paths, and rejects: nothing that WriteShard reads or writes."""
    pipeline = Pipeline(runner="FnApiRunner")
    _ = pipeline | beam.Create([(0, "plan")]) | WriteRecords(job)
    grouped: dict[str, Any] = {}

    class Groups(PipelineVisitor):
        def visit_transform(self, node: Any) -> None:
            if isinstance(node.transform, beam.GroupByKey):
                (collection,) = node.inputs
                grouped[node.full_label] = collection.element_type

    pipeline.visit(Groups())
    rejects, spread = sorted(grouped)
    assert (rejects, spread.split("/")[:2]) == ("WriteRecords/GroupRejects", ["WriteRecords", "Spread"])
    assert "bytes" not in str(grouped)
    assert "Tuple[<class 'int'>, <class 'str'>]" in str(grouped[spread])  # (shard, plan)


def test_a_worker_with_other_code_than_the_driver_writes_nothing(job: ShardJob, tmp_path: Path) -> None:
    """For example a worker image built before a change: its records would get the digest of the new code."""
    path = plan(tmp_path, "p0", [entry(1, "good.jpg")])
    with pytest.raises(
        RuntimeError, match=r"differs from the command .* build the worker's image from the same commit"
    ):
        write_shard(0, path, dataclasses.replace(job, code="0" * 64))
    assert list(Path(job.output).iterdir()) == []


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with atomic_stream(str(tmp_path / "file")) as file:
            file.write(b"half")
            raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_can_not_even_be_closed_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with atomic_stream(str(tmp_path / "file")) as file:
            file.write(b"half")
            os.close(file.fileno())  # what is in the buffer can't be written any more, as on a full disk
            raise RuntimeError("disk full")

    with pytest.raises(OSError, match="Bad file descriptor"):
        fail()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (FileNotFoundError(2, "gone since the listing"), Reason.MISSING_IMAGE),
        (IsADirectoryError(21, "Is a directory"), Reason.MISSING_IMAGE),
        (PermissionError(13, "Permission denied"), Reason.UNREADABLE_IMAGE),
    ],
)
def test_a_file_that_can_not_be_read_is_a_reject(job: ShardJob, error: OSError, reason: Reason) -> None:
    data: Future[bytes] = Future()
    data.set_exception(error)
    rejects: list[Reject] = []
    assert _load(entry(1, "good.jpg"), data, job, rejects) is None
    assert [(reject.reason, reject.detail.split("; ")[-1]) for reject in rejects] == [(reason, "drops its 1 box")]


class _NothingThere(BaseHTTPRequestHandler):
    """A storage service whose buckets are empty."""

    def do_GET(self) -> None:
        body = b'{"error": {"code": 404, "message": "No such object"}}'
        self.send_response(404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


def test_an_object_that_a_bucket_lacks_is_a_missing_image(job: ShardJob, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beam's own storage client against a server on loopback."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _NothingThere)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{server.server_port}")
    # Beam would look for credentials on the network for half a minute.
    monkeypatch.setattr(auth._Credentials, "_credentials_init", True)
    monkeypatch.setattr(auth._Credentials, "_credentials", None)
    rejects: list[Reject] = []
    try:
        gone, bucket = entry(1, "gone.jpg"), dataclasses.replace(job, images="gs://bucket/images")
        with ThreadPoolExecutor(1) as thread:
            assert _load(gone, thread.submit(_read, gone, bucket), bucket, rejects) is None
    finally:
        server.shutdown()
        server.server_close()
    assert [reject.reason for reject in rejects] == [Reason.MISSING_IMAGE]


@pytest.mark.parametrize("body", ["opens a file of the folder", "writes on"])
def test_a_folder_that_is_removed_while_a_file_in_it_is_written_is_one_line(tmp_path: Path, body: str) -> None:
    """Whichever meets it first: reading the plan there, or the rename. Nothing is left to delete then."""
    out = tmp_path / "out"
    out.mkdir()

    def write() -> None:
        with as_write_error("out"), atomic_stream(str(out / "records")) as file:
            file.write(b"first")
            out.rename(tmp_path / "elsewhere")
            if body.startswith("opens"):
                (out / "plan").read_bytes()

    with pytest.raises(WriteError, match=r"no such file .*was the folder removed") as caught:
        write()
    assert "\n" not in str(caught.value)
