"""Preprocesses one split of a COCO data set: annotations and images in, records and a manifest out.

The driver parses and validates the annotations and writes one plan per shard. The Beam pipeline turns plans into record
files. The driver then checks the reject limits and writes the manifest, which marks the folder as ready.
"""

import functools
import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Literal

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from beam_preprocess.base.cores import usable_cores, usable_memory
from beam_preprocess.base.errors import InputError
from beam_preprocess.base.progress import Progress, Watcher
from beam_preprocess.base.storage import absolute
from beam_preprocess.dataset.foreign import read_annotations
from beam_preprocess.dataset.validate import check_limits, drop_missing, validate_boxes, validate_images
from beam_preprocess.engine.dataflow import check_reachable, is_dataflow
from beam_preprocess.engine.options import beam_options
from beam_preprocess.engine.parallelism import choose
from beam_preprocess.engine.running import run_job
from beam_preprocess.engine.write_errors import as_write_error
from beam_preprocess.format.annotations import class_map
from beam_preprocess.format.config import PreprocessConfig
from beam_preprocess.format.manifest import Category, Manifest
from beam_preprocess.format.reasons import Reason, Reject, UnusableFile, count_by_reason
from beam_preprocess.format.records import RECORD_SCHEMA_VERSION
from beam_preprocess.format.scored_file import unscorable
from beam_preprocess.format.sources import data_digest, list_images, usable_names
from beam_preprocess.job.code_version import code_version
from beam_preprocess.job.output import OutputFolder, Plans
from beam_preprocess.job.shards import MAX_SHARDS, ShardJob, ShardResult, number_of_shards, plan_shards
from beam_preprocess.job.transforms import METRICS_NAMESPACE, WriteRecords, write_result


def preprocess(
    *,
    images: str,
    annotations: str,
    split: Literal["train", "val"],
    output: str,
    config: PreprocessConfig,
    seed: int = 0,
    num_shards: int | None = None,
    num_workers: int | None = 1,
    num_threads: int | None = 1,
    cores: int | None = None,
    pipeline_args: Sequence[str] = (),
    force: bool = False,
) -> Manifest:
    """Writes the records of one split, or reuses those that are up to date.

    Args:
      images: folder of the images, a path or URI.
      annotations: COCO annotation file, a path or URI.
      split: "train" gets `config.train_views` views per image and tolerates rejects up to the limit; "val" gets one
        view and tolerates no dropped image (see `validate`).
      output: folder for the records of this split only.
      config: the `preprocess:` section.
      seed: seed of the random views, 0 or more.
      num_shards: files per view; None chooses by the number of images.
      num_workers: number of local worker processes; None chooses, as for threads, by cores and data.
      num_threads: number of threads of this process, instead of processes; see `beam_options`. None is 1 where the
        number of processes is given, and the other way round.
      cores: maximum to choose by; None for all that this process may use.
      pipeline_args: Beam options.
      force: write the records again even if `output` already holds them.

    Returns:
      The manifest, as written to `output`.

    Raises:
      InputError: bad input, an output that is not writable, or more rejects than the limit. In the last case the
        reject files are written and the manifest is not.
      Failure: the job ended without the results of all shards, or a file cannot be read or written.
    """
    chosen = num_workers is not None or num_threads is not None
    workers, threads = (1 if number is None else number for number in (num_workers, num_threads))
    _check_arguments(split, seed=seed, num_shards=num_shards, num_workers=workers, num_threads=threads)
    options = beam_options(pipeline_args, workers, threads)
    if is_dataflow(options.get_all_options()["runner"]):
        check_reachable(images=images, output=output)
    folder = OutputFolder(output)
    folder.make_writable()
    try:
        coco = read_annotations(annotations)
    except UnusableFile as problem:
        folder.write_rejects([Reject(reason=problem.reason, image_id=0, file_name=annotations, detail=str(problem))])
        raise
    categories, num_classes = class_map(coco.categories, config.class_index)
    keep_images, image_rejects = validate_images(coco)
    try:
        names = usable_names(coco, keep_images, image_rejects, images)
    except InputError:
        folder.write_rejects(image_rejects)
        raise
    files = list_images(images, names, annotations)
    source_digest = data_digest(coco.content_digest, names, files)
    job = ShardJob(
        images=absolute(images),
        output=absolute(output),
        split=split,
        config=config,
        views=config.train_views if split == "train" else 1,
        seed=seed,
        num_shards=num_shards or number_of_shards(len(names)),
        code=code_version(),
    )
    records_digest = _records_digest(source_digest, job)

    ready = folder.ready_manifest(split, records_digest)
    if ready and not force:
        print(
            f"result: {_summary(ready)}; reused the records in {output} (--force writes them again)",
            flush=True,
        )
        return ready
    with as_write_error(output):
        folder.sweep()
        keep_images, missing = drop_missing(coco, keep_images, files, images)
        keep_boxes, boxes, box_rejects = validate_boxes(coco, keep_images, config.min_box_side)
        known = [*image_rejects, *missing, *box_rejects]
        apply_limits = functools.partial(
            check_limits,
            split,
            images=len(coco.image_ids),
            boxes=len(coco.annotation_ids),
            max_fraction=config.max_reject_fraction,
            where=f"listed in {output.rstrip('/')}/rejects-*.jsonl",
        )
        try:
            apply_limits(rejects=count_by_reason(known))  # before hours of work, if these rejects alone are too many
            if split == "val" and (unscored := unscorable(coco)):
                raise InputError(unscored)
        except InputError:
            folder.write_rejects(known)
            raise
        shards = plan_shards(
            coco,
            categories,
            keep_images=keep_images,
            keep_boxes=keep_boxes,
            boxes=boxes,
            rejects=known,
            num_shards=job.num_shards,
        )
        if not chosen:
            options = _choose(pipeline_args, job, images=int(keep_images.sum()), cores=cores or usable_cores())
        parallel = max(workers, threads)
        if chosen and parallel > job.num_shards:
            print(
                f"note: {job.num_shards} shards keep only {job.num_shards} of {parallel} workers busy; "
                f"use --num-shards {parallel} or a multiple of it",
                flush=True,
            )
        plans = folder.write_plans(records_digest, shards)
        try:
            with Watcher(Progress(split, total=int(keep_images.sum()), unit="images"), plans.progress):
                run(plans, job, options)
            results = plans.results()
        finally:
            plans.remove()

        manifest = _manifest(results, job, categories, num_classes, source_digest, records_digest)
        apply_limits(rejects=manifest.rejects)
        folder.write_fingerprints({name: code for result in results for name, code in result.fingerprints.items()})
        folder.write_manifest(manifest)
        cut_off = sum(result.cut_off for result in results)
        outside = f"{cut_off} {'box' if cut_off == 1 else 'boxes'} fell outside a random crop (counted once per crop)"
        print(f"result: {_summary(manifest)}; {outside}", flush=True)
        return manifest


def _choose(pipeline_args: Sequence[str], job: ShardJob, *, images: int, cores: int) -> PipelineOptions:
    """Beam's options with the best number of processes or threads; prints it."""
    height, width = job.config.image_size
    size = images * job.views * height * width / 1e6
    found = choose(pipeline_args, cores=cores, memory=usable_memory(), shards=job.num_shards, megapixels=size)
    if found.why:
        flag = f"--num-workers {found.processes}" if found.processes > 1 else f"--num-threads {found.threads}"
        print(f"parallel: {flag} ({found.why})", flush=True)
    return beam_options(pipeline_args, found.processes, found.threads)


def run(plans: Plans, job: ShardJob, options: PipelineOptions) -> None:
    """Runs the Beam pipeline, from plans to records, rejects and results, and waits for its end."""

    def build(pipeline: beam.Pipeline) -> None:
        _ = (
            pipeline
            | "Plans" >> beam.Create(list(enumerate(plans.uris)))
            | "WriteRecords" >> WriteRecords(job)
            | "WriteResults" >> beam.Map(write_result, folder=plans.folder)
        )

    run_job(options, build, METRICS_NAMESPACE)


def _check_arguments(split: str, **numbers: int | None) -> None:
    if split not in ("train", "val"):
        raise InputError(f"split {split!r}: use 'train' or 'val'")
    for name, value in numbers.items():
        minimum = 0 if name == "seed" else 1
        if value is not None and value < minimum:
            raise InputError(f"{name} {value}: use {minimum} or more")
    if (numbers["num_shards"] or 1) > MAX_SHARDS:
        raise InputError(f"num_shards {numbers['num_shards']}: use {MAX_SHARDS} or fewer; file names have five digits")


def _parameters(job: ShardJob) -> dict[str, Any]:
    """The manifest's parameters in the types that JSON reads back, so that a manifest equals itself after reading."""
    parameters = {**asdict(job.config), "seed": job.seed, "num_shards": job.num_shards}
    return dict(json.loads(json.dumps(parameters)))


def _records_digest(source_digest: str, job: ShardJob) -> str:
    """sha256 over everything that shapes the records: data, parameters, schema and code."""
    parts = [source_digest, job.split, _parameters(job), RECORD_SCHEMA_VERSION, job.code]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _manifest(
    results: Sequence[ShardResult],
    job: ShardJob,
    categories: tuple[Category, ...],
    num_classes: int,
    source_digest: str,
    records_digest: str,
) -> Manifest:
    classes, sizes, rejects = Counter[str](), Counter[str](), Counter[str]()
    for result in results:
        classes.update(result.classes)
        sizes.update(result.sizes)
        rejects.update(result.rejects)
    class_histogram = Counter[str]()
    for category in categories:
        class_histogram[category.name] += classes[str(category.index)]
    files = [file for result in results for file in result.files]
    return Manifest(
        schema_version=RECORD_SCHEMA_VERSION,
        split=job.split,
        data_digest=source_digest,
        records_digest=records_digest,
        images=sum(result.images for result in results),
        views=job.views,
        objects=sum(result.objects for result in results),
        crowds=sum(result.crowds for result in results),
        num_classes=num_classes,
        categories=categories,
        shards=tuple(sorted(files, key=lambda file: (file.view, file.shard))),
        max_cells=max(result.max_cells for result in results),
        max_objects=max(result.max_objects for result in results),
        rejects={reason.value: rejects[reason.value] for reason in Reason if rejects[reason.value]},
        class_histogram=dict(class_histogram),
        size_histogram={name: sizes[name] for name in ("small", "medium", "large")},
        parameters=_parameters(job),
    )


def _summary(manifest: Manifest) -> str:
    megabytes = sum(shard.bytes for shard in manifest.shards) / 1e6
    views = "1 view" if manifest.views == 1 else f"{manifest.views} views"
    return (
        f"{manifest.split} {manifest.images} images x {views}, {manifest.objects} objects, "
        f"{sum(manifest.rejects.values())} rejects, {megabytes:.1f} MB"
    )
