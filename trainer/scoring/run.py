"""Scores many images: a model and a folder of images in, files of detections and a manifest out.

The driver lists the images and writes a plan. The Beam pipeline turns each shard of the plan into files. The driver
then writes the manifest, which marks the folder as ready. A killed run is resumed by the same command: shards that are
finished stay.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import apache_beam as beam

from beam_preprocess.base.cores import usable_cores
from beam_preprocess.base.errors import InputError
from beam_preprocess.base.progress import Progress, Watcher
from beam_preprocess.base.storage import absolute
from beam_preprocess.engine.dataflow import check_reachable, is_dataflow
from beam_preprocess.engine.options import beam_options
from beam_preprocess.engine.running import run_job
from beam_preprocess.engine.write_errors import as_write_error
from beam_preprocess.format.reasons import Reason
from trainer.profile.columns import Measures
from trainer.registry.digest import model_digest
from trainer.scoring.images import list_images
from trainer.scoring.job import ScoringJob
from trainer.scoring.manifest import IMAGE_IDS, Category, Format, Manifest, Minimum, Run, ShardResult
from trainer.scoring.output import ResultsFolder
from trainer.scoring.plan import Shard, number_of_shards
from trainer.scoring.transforms import METRICS_NAMESPACE, ScoreImages

BATCH_SIZE = 8


def score(
    *,
    model: str,
    images: str,
    output: str,
    names: Sequence[str] | None = None,
    version: str = "",
    form: Format = "coco",
    threshold: float | None = None,
    measures: Measures | None = None,
    batch_size: int = BATCH_SIZE,
    num_workers: int = 1,
    num_threads: int | None = None,
    pipeline_args: Sequence[str] = (),
) -> Manifest:
    """Writes a model's detections on many images, resumes a killed run, or reuses finished results.

    Args:
      model: SavedModel folder, a path or URI.
      images: a folder (all images in it and below), a glob pattern or one file; a path or URI.
      output: folder for the results of this run only.
      names: score these files of the folder `images` instead of all.
      version: the model's name in its registry, for the manifest.
      form: "coco" (results lists) or "jsonl" (one line per image).
      threshold: minimum score written, 0 for all detections; None takes the model's own (`thresholds_of`).
      measures: also write each image's statistics (`results.read_rows`), with the backbone's features if the model has
        a signature for them; None writes none.
      batch_size: images per call of the signature. The last bits of scores depend on it.
      num_workers: number of local worker processes, each with a copy of the model.
      num_threads: number of threads of this process instead, which share the model; None is one per core.
      pipeline_args: Beam options.

    Returns:
      The manifest, as written to `output`.

    Raises:
      InputError: bad input; an output that is not writable, or holds another run's results; no image can be scored.
      Failure: the job ended without the results of all shards, or a file cannot be read or written.
    """
    if batch_size < 1:
        raise InputError(f"--batch-size {batch_size}: use 1 or more")
    options = beam_options(pipeline_args, num_workers, _threads(num_threads, num_workers, pipeline_args))
    remote = is_dataflow(options.get_all_options()["runner"])
    if remote:
        check_reachable(model=model, images=images, output=output)
    label_map, minimum = _label_map(model, threshold)
    listed = list_images(images, names)
    run = Run(
        model=absolute(model),
        version=version,
        model_digest=model_digest(model),
        images=listed.folder,
        num_images=len(listed.names),
        images_digest=listed.digest,
        format=form,
        batch_size=batch_size,
        minimum=minimum,
        measures=measures,
    )
    folder = ResultsFolder(output)
    if ready := folder.finished(run):
        print(f"result: {_summary(ready)}; reused the results in {output}", flush=True)
        return ready
    if not remote:
        from trainer.scoring.fixed_batch import load

        # A damaged model is an error before anything is written.
        load(run.model, run.model_digest, batch_size, features=measures is not None)
    for note in listed.notes:
        print(f"note: {note}", flush=True)
    if measures is None:  # the caller that measures chose the threshold for its own purpose
        print(f"score threshold: {_described(minimum)}", flush=True)
    with as_write_error(output, "resume"):
        shards = folder.begin(run, listed.names)
        job = _job(run, folder, label_map)
        _score_missing(shards, job, folder, options)
        results = folder.results(job.num_shards)
        manifest = _manifest(run, job, results)
        if not manifest.images:
            folder.remove_results()  # the next run starts over, so that it can find the images repaired
            reasons = ", ".join(f"{reason} {count}" for reason, count in manifest.rejects.items())
            raise InputError(
                f"{images}: none of the {len(listed.names)} images can be scored ({reasons}); see "
                f"{output.rstrip('/')}/rejects-*.jsonl"
            )
        folder.write_manifest(manifest)
    print(f"result: {_summary(manifest)}", flush=True)
    return manifest


def _threads(given: int | None, num_workers: int, pipeline_args: Sequence[str]) -> int:
    """One per core of this machine, unless something else does the work."""
    if given is not None:
        return given
    elsewhere = any(word.split("=")[0] in ("--runner", "--direct_num_workers") for word in pipeline_args)
    if num_workers > 1 or elsewhere:
        return 1
    return usable_cores()


def _label_map(model: str, threshold: float | None) -> tuple[dict[str, Any], Minimum]:
    """A model's label map and thresholds.

    Raises:
      InputError: not one of our models, or a threshold out of range.
    """
    from trainer.saved_model.inference import read_label_map  # imports TensorFlow
    from trainer.saved_model.thresholds import thresholds_of

    label_map = read_label_map(model)
    found = thresholds_of(model, label_map, threshold)
    classes = {str(category): value for category, value in found.classes.items()}
    return label_map, Minimum(default=found.default, classes=classes, source=found.source)


def _described(minimum: Minimum) -> str:
    values = sorted({minimum.default, *minimum.classes.values()} if not minimum.classes else minimum.classes.values())
    if values == [0]:
        return f"0: every detection is written ({minimum.source})"
    text = f"{values[0]:.3f}" if len(values) == 1 else f"{values[0]:.3f} to {values[-1]:.3f} by class"
    return f"{text} ({minimum.source}); detections below it are not written; --threshold 0 writes them all"


def _job(run: Run, folder: ResultsFolder, label_map: dict[str, Any]) -> ScoringJob:
    return ScoringJob(
        run=run,
        output=folder.absolute,
        plan=folder.plan,
        work=folder.work,
        categories=tuple(Category(id=entry["id"], name=str(entry["name"])) for entry in label_map["categories"]),
        num_shards=number_of_shards(run.num_images, run.batch_size),
        minimums={int(category): value for category, value in run.minimum.classes.items()},
    )


def _score_missing(shards: Sequence[Shard], job: ScoringJob, folder: ResultsFolder, options: Any) -> None:
    """Runs the pipeline on the shards that no earlier run finished."""
    finished = folder.finished_shards()
    missing = [shard for shard in shards if shard.number not in finished]
    done = folder.progress()[0]
    if finished:
        print(f"resumed: {done} of {job.run.num_images} images are done", flush=True)
    if not missing:
        return

    def progress() -> tuple[int, str]:
        now, note = folder.progress()
        return now - done, note

    def build(pipeline: beam.Pipeline) -> None:
        _ = pipeline | "Shards" >> beam.Create(missing) | "ScoreImages" >> ScoreImages(job)

    total = sum(shard.images for shard in missing)
    with Watcher(Progress("score", total=total, unit="images"), progress):
        run_job(options, build, METRICS_NAMESPACE)


def _manifest(run: Run, job: ScoringJob, results: Sequence[ShardResult]) -> Manifest:
    rejects = Counter[str]()
    for result in results:
        rejects.update(result.rejects)
    return Manifest(
        run=run,
        categories=job.categories,
        images=sum(result.images for result in results),
        detections=sum(result.detections for result in results),
        rejects={reason.value: rejects[reason.value] for reason in Reason if rejects[reason.value]},
        image_ids=IMAGE_IDS,
        shards=tuple(results),
    )


def _summary(manifest: Manifest) -> str:
    count = sum(manifest.rejects.values())
    reasons = ", ".join(f"{reason} {number}" for reason, number in manifest.rejects.items())
    bad = f"{count} rejects ({reasons})" if count else "0 rejects"
    return f"{manifest.images} images, {manifest.detections} detections, {bad}, {len(manifest.shards)} shards"
