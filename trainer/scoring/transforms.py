"""The Beam transforms: shards of a plan in, files of detections out.

A worker reads a shard's names, reads its images ahead, and hands them on in fixed batches. Each batch is one element of
Beam's RunInference, which calls the model's signature. The last step collects a shard's batches and writes its files
under temporary names, which it then renames. A retried shard writes the same bytes under the same names.
"""

import itertools
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.ml.inference.base import ModelHandler, RunInference

from beam_preprocess.base.read_ahead import read_ahead
from beam_preprocess.base.storage import file_system
from beam_preprocess.format.reasons import Reason
from trainer.scoring.job import ScoringJob
from trainer.scoring.plan import Shard, read_names
from trainer.scoring.problems import Problem
from trainer.scoring.shard_files import Lines, batch_lines, write_shard

METRICS_NAMESPACE = "scoring"


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageBytes:
    """One image, as read."""

    id: int
    file_name: str
    data: bytes | None
    """None if it can't be read."""
    problem: Problem | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """One element of RunInference: the images that go through the signature together."""

    shard: Shard
    number: int
    """Place within the shard."""
    images: tuple[ImageBytes, ...]

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoredBatch:
    """What RunInference makes of it."""

    batch: Batch
    outputs: Sequence[dict[str, Any] | Problem]
    """The signature's outputs by image, or why there are none."""


class ScoreImages(beam.PTransform):
    """Scores the images of the shards.

    Input: PCollection of `Shard`. Output: PCollection of the numbers of finished shards.
    """

    def __init__(self, job: ScoringJob) -> None:
        super().__init__()
        self._job = job

    def expand(self, shards: beam.PCollection) -> beam.PCollection:
        """Reshuffle spreads the shards over the workers. Without it, they would be fused with Create."""
        return (
            shards
            | "Spread" >> beam.Reshuffle()
            | "ReadBatches" >> beam.ParDo(ReadBatches(self._job))
            | "Detect" >> RunInference(SignatureHandler(self._job))
            | "WriteShard" >> beam.ParDo(WriteShard(self._job))
        )


class ReadBatches(beam.DoFn):
    """Shard → its batches, in order, with the images' bytes."""

    def __init__(self, job: ScoringJob) -> None:
        self._job = job

    def setup(self) -> None:
        """Opens the file system once per worker."""
        self._fs, self._root = file_system(self._job.run.images)

    def process(self, shard: Shard) -> Iterator[Batch]:
        """Reads up to two batches ahead, while the model computes the current one."""
        size = self._job.run.batch_size
        names = enumerate(read_names(self._job.plan, shard), start=shard.first_id)
        images = read_ahead(names, self._read, 2 * size)
        for number in range(shard.batches):
            read = tuple(content.result() for _, content in itertools.islice(images, size))
            yield Batch(shard=shard, number=number, images=read)

    def _read(self, image: tuple[int, str]) -> ImageBytes:
        number, name = image
        data, problem = None, None
        try:
            data = bytes(self._fs.cat_file(f"{self._root.rstrip('/')}/{name}"))
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            problem = Reason.MISSING_IMAGE, f"not in {self._job.run.images}"
        except PermissionError as error:
            problem = Reason.UNREADABLE_IMAGE, str(error.strerror)
        return ImageBytes(id=number, file_name=name, data=data, problem=problem)


class SignatureHandler(ModelHandler[Batch, ScoredBatch, Any]):
    """Runs the signature of an exported model; Beam's TensorFlow handlers run Keras models only."""

    def __init__(self, job: ScoringJob) -> None:
        super().__init__()
        self._job = job

    def set_environment_vars(self) -> None:
        """Beam calls this in each worker before it loads the model; it then warns of a measurement that it lacks."""
        logging.getLogger().addFilter(_is_relevant)

    def load_model(self) -> Any:
        """The signature, once per process: its threads share it."""
        from trainer.scoring.fixed_batch import load

        run = self._job.run
        return load(run.model, run.model_digest, run.batch_size, features=run.measures is not None)

    def should_skip_batching(self) -> bool:
        """An element is a batch already. Beam's own batches depend on the time that elements take."""
        return True

    def run_inference(
        self, batch: Any, model: Any, inference_args: dict[str, Any] | None = None
    ) -> Iterable[ScoredBatch]:
        """One call of the signature."""
        outputs = model([image.data for image in batch.images])
        found = [image.problem or output for image, output in zip(batch.images, outputs, strict=True)]
        yield ScoredBatch(batch=batch, outputs=found)

    def get_num_bytes(self, batch: Any) -> int:
        """Without pickling the images."""
        return sum(len(image.data or b"") for image in batch.images)


def _is_relevant(record: logging.LogRecord) -> bool:
    """Drops that Beam can't measure the model's memory: it imports `resource` together with a package of PyTorch."""
    return "Resource module is not available" not in str(record.msg)


class WriteShard(beam.DoFn):
    """Scored batches → the files of their shards; yields the number of each finished one."""

    def __init__(self, job: ScoringJob) -> None:
        self._job = job

    def start_bundle(self) -> None:
        """Forgets what a failed bundle left."""
        self._waiting: dict[int, dict[int, Lines]] = {}

    def process(self, scored: ScoredBatch) -> Iterator[int]:
        """Keeps the batch's lines until the shard is complete."""
        shard, job = scored.batch.shard, self._job
        images = [(image.id, image.file_name, image.data or b"") for image in scored.batch.images]
        lines = self._waiting.setdefault(shard.number, {})
        lines[scored.batch.number] = batch_lines(job, images, scored.outputs)
        if len(lines) < shard.batches:
            return
        result = write_shard(job, shard.number, [lines[number] for number in range(shard.batches)])
        del self._waiting[shard.number]
        for name in ("images", "detections"):
            Metrics.counter(METRICS_NAMESPACE, name).inc(getattr(result, name))
        for reason, count in result.rejects.items():
            Metrics.counter(METRICS_NAMESPACE, f"rejects/{reason}").inc(count)
        yield shard.number

    def finish_bundle(self) -> None:
        """Fails if a runner took a shard's batches apart: those that we know keep what one call yields together.

        Raises:
          RuntimeError: a shard isn't complete.
        """
        if self._waiting:
            raise RuntimeError(
                f"this runner split shard {min(self._waiting)} between two bundles; use FnApiRunner or DataflowRunner"
            )
