"""The Beam transforms: shard plans in, record files out.

Image bytes never pass a GroupByKey. Each worker takes a whole shard, streams its images from their folder, decodes each
once for all views, and writes one file per view under a temporary name, which it then renames. A retried or duplicated
shard writes the same bytes under the same names.
"""

import contextlib
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import asdict
from typing import BinaryIO, Final, Literal, TypeAlias

import apache_beam as beam
import cv2
from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems
from apache_beam.metrics import Metrics
from google.api_core.exceptions import NotFound

from beam_preprocess.base.files import temporary_path
from beam_preprocess.base.read_ahead import read_ahead
from beam_preprocess.dataset.validate import lost_boxes
from beam_preprocess.format.annotations import area_range
from beam_preprocess.format.fingerprints import fingerprint
from beam_preprocess.format.images import Decoded, ImageProblem, decode
from beam_preprocess.format.manifest import Shard
from beam_preprocess.format.reasons import Reason, Reject, count_by_reason
from beam_preprocess.format.records import encode
from beam_preprocess.format.targets import manifest_code_table
from beam_preprocess.format.tfrecord import RecordWriter
from beam_preprocess.job.code_version import code_version
from beam_preprocess.job.shards import ImageEntry, ShardJob, ShardResult, read_plan
from beam_preprocess.job.views import make_records

RESULTS = "results"
"""Main output of `WriteShard`: one `ShardResult` per shard."""
REJECTS: Final = "rejects"
"""Side output of `WriteShard`: (shard, `Reject`)."""

_TaggedReject: TypeAlias = beam.pvalue.TaggedOutput[Literal["rejects"], tuple[int, Reject]]

METRICS_NAMESPACE = "beam_preprocess"

READ_AHEAD = 4
"""Number of images read ahead. From a bucket, reading an image takes about as long as processing it."""


class WriteRecords(beam.PTransform):
    """Writes the records and the rejects of the shards.

    Input: PCollection of (shard, URI of its plan). Output: PCollection of `ShardResult`.
    """

    def __init__(self, job: ShardJob) -> None:
        super().__init__()
        self._job = job

    def expand(self, plans: beam.PCollection) -> beam.PCollection:
        """Reshuffle spreads the shards over the workers. Without it, they would be fused with Create."""
        outputs = (
            plans
            | "Spread" >> beam.Reshuffle()
            | "WriteShard" >> beam.ParDo(WriteShard(self._job)).with_outputs(REJECTS, main=RESULTS)
        )
        _ = (
            outputs[REJECTS]
            | "GroupRejects" >> beam.GroupByKey()
            | "WriteRejects" >> beam.Map(write_rejects, job=self._job)
        )
        return outputs[RESULTS]


class WriteShard(beam.DoFn):
    """(shard, plan URI) → its record files; yields a `ShardResult`, and rejects under the tag `REJECTS`."""

    def __init__(self, job: ShardJob) -> None:
        self._job = job

    def setup(self) -> None:
        """Limits OpenCV to one thread, because Beam already runs one of these per core."""
        cv2.setNumThreads(1)

    def process(self, element: tuple[int, str]) -> Iterator[ShardResult | _TaggedReject]:
        """Writes one shard."""
        shard, plan = element
        result, rejects = write_shard(shard, plan, self._job)
        for reject in rejects:
            yield beam.pvalue.TaggedOutput(REJECTS, (shard, reject))
        for name in ("images", "objects", "crowds", "cut_off"):
            Metrics.counter(METRICS_NAMESPACE, name).inc(getattr(result, name))
        for reason, count in result.rejects.items():
            Metrics.counter(METRICS_NAMESPACE, f"rejects/{reason}").inc(count)
        yield result


def write_shard(shard: int, plan: str, job: ShardJob) -> tuple[ShardResult, list[Reject]]:
    """Writes the files of one shard; returns the result and the rejects.

    Raises:
      RuntimeError: this worker's code or libraries differ from the driver's.
    """
    if job.code != code_version():
        raise RuntimeError(
            "this worker's code of beam_preprocess, or its version of OpenCV, simplejpeg, Pillow or NumPy, differs "
            "from the command that started the job; build the worker's image from the same commit and lock file"
        )
    map_size = job.config.map_size
    codes = len(manifest_code_table(asdict(job.config)).values)
    count: Counter[str] = Counter()
    classes: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    codes_of: dict[str, str] = {}
    rejects: list[Reject] = []
    max_cells = max_objects = 0
    names = [job.record_name(shard, view) for view in range(job.views)]

    with contextlib.ExitStack() as files:
        streams = [files.enter_context(atomic_stream(FileSystems.join(job.output, name))) for name in names]
        writers = [RecordWriter(stream) for stream in streams]
        with FileSystems.open(plan, compression_type=CompressionTypes.UNCOMPRESSED) as lines:
            plan_entries = read_plan(io.TextIOWrapper(lines, "utf-8"))
            for entry, data in read_ahead(plan_entries, lambda entry: _read(entry, job), READ_AHEAD):
                if isinstance(entry, Reject):
                    rejects.append(entry)
                    continue
                decoded = _load(entry, data, job, rejects)
                if decoded is None:
                    continue
                if code := fingerprint(decoded.pixels):
                    codes_of[entry.file_name] = code
                labels = entry.labels
                for record, cut_off in make_records(
                    decoded.pixels, labels, image_id=entry.id, views=job.views, seed=job.seed, config=job.config
                ):
                    writers[record.view_number].write(encode(record, map_size, codes))
                    count["cut_off"] += cut_off
                    max_cells = max(max_cells, len(record.targets.cell_index))
                    max_objects = max(max_objects, len(record.targets.object_cell))
                objects = [i for i, crowd in enumerate(entry.crowd) if not crowd]
                count.update(images=1, objects=len(objects), crowds=len(entry.crowd) - len(objects))
                classes.update(str(entry.classes[i]) for i in objects)
                sizes.update(area_range(entry.boxes[i]) for i in objects)

    written = tuple(
        Shard(name=name, shard=shard, view=view, records=w.records, bytes=w.bytes, sha256=w.sha256)
        for view, (name, w) in enumerate(zip(names, writers, strict=True))
    )
    result = ShardResult(
        shard=shard,
        files=written,
        images=count["images"],
        objects=count["objects"],
        crowds=count["crowds"],
        cut_off=count["cut_off"],
        max_cells=max_cells,
        max_objects=max_objects,
        classes=dict(sorted(classes.items())),
        sizes=dict(sorted(sizes.items())),
        rejects=count_by_reason(rejects),
        fingerprints=codes_of,
    )
    return result, rejects


def _read(entry: ImageEntry | Reject, job: ShardJob) -> bytes:
    """The content of the image's file; empty for a reject."""
    if isinstance(entry, Reject):
        return b""
    path = FileSystems.join(job.images, entry.file_name)
    # Without the explicit compression type, Beam would decompress a file by its name's extension.
    with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
        return bytes(file.read())


def _load(entry: ImageEntry, data: Future[bytes], job: ShardJob, rejects: list[Reject]) -> Decoded | None:
    """Decodes an image, or appends what is wrong with it to `rejects`."""

    def reject(reason: Reason, detail: str) -> None:
        rejects.append(Reject(reason=reason, image_id=entry.id, file_name=entry.file_name, detail=detail))

    lost = lost_boxes(len(entry.boxes))
    try:
        decoded = decode(data.result(), (entry.height, entry.width))
    except (FileNotFoundError, IsADirectoryError, NotFound):  # Beam passes NotFound through from a bucket
        reject(Reason.MISSING_IMAGE, f"not in {job.images}{lost}")
        return None
    except PermissionError as error:
        reject(Reason.UNREADABLE_IMAGE, f"{error.strerror}{lost}")
        return None
    except ImageProblem as problem:
        reject(problem.reason, f"{problem.detail}{lost}")
        return None
    for reason, detail in decoded.conversions:
        reject(reason, detail)
    return decoded


def write_rejects(rejects_of_shard: tuple[int, Iterable[Reject]], job: ShardJob) -> None:
    """Writes the reject file of one shard, in a stable order."""
    shard, rejects = rejects_of_shard
    with atomic_stream(FileSystems.join(job.output, job.reject_name(shard))) as file:
        for reject in sorted(rejects, key=lambda r: r.order):
            file.write(json.dumps(reject.to_mapping()).encode() + b"\n")


def write_result(result: ShardResult, folder: str) -> None:
    """Writes a shard's result where the driver reads it, on any runner, for the progress lines and the manifest."""
    with atomic_stream(FileSystems.join(folder, f"result-{result.shard:05d}.json")) as file:
        file.write(result.to_json().encode())


@contextlib.contextmanager
def atomic_stream(path: str) -> Iterator[BinaryIO]:
    """A stream to a file that appears under its name once it is complete, and not at all when the body fails.

    Unlike `base.files.write_bytes`, it holds no content in memory and writes through Beam's file systems.
    """
    temporary = temporary_path(path)
    # TFRecords are not compressed, whatever their name looks like.
    stream = FileSystems.create(temporary, compression_type=CompressionTypes.UNCOMPRESSED)
    try:
        yield stream
        stream.close()
    except BaseException:
        try:
            stream.close()  # fails too where the disk is full
        finally:
            with contextlib.suppress(BeamIOError):  # fails where the folder was removed; what happened first is raised
                FileSystems.delete([temporary])
        raise
    FileSystems.rename([temporary], [path])
