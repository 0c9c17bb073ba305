"""Scores new images by the champion, and compares them with its profile."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.files import make_writable, write_text
from beam_preprocess.base.storage import absolute
from beam_preprocess.format.annotations import load_annotations
from trainer.profile.columns import Measures, measures_of
from trainer.profile.profile import Profile, chosen
from trainer.profile.rows import Rows
from trainer.registry.digest import model_digest
from trainer.registry.named import NamedModel, find_model
from trainer.scoring.images import Images, list_images
from trainer.scoring.manifest import Manifest
from trainer.scoring.results import read_rows
from trainer.scoring.run import score
from trainer.watch.origin import Origin, missing, stored_profile
from trainer.watch.page import write_page
from trainer.watch.result import NAME, PAGE, WORDS, WatchResult
from trainer.watch.since import newer, parse_since
from trainer.watch.to_label import COUNT, write_to_label
from trainer.watch.to_label import NAME as TO_LABEL
from trainer.watch.verdict import MAX_COMPARED, Judged, judge

ALPHA = 0.01
PERMUTATIONS = 9999
WRITTEN = 0.05
"""Minimum score of the detections that are written: what is uncertain may be worth a label."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Scoring:
    """How images are scored."""

    model: NamedModel
    batch_size: int
    num_workers: int
    num_threads: int | None
    pipeline_args: Sequence[str]

    def score(self, images: Images, output: str, measures: Measures) -> Manifest:
        """Writes detections and statistics of the images."""
        return score(
            model=self.model.folder,
            version=self.model.version,
            images=images.folder,
            names=images.names,
            output=output,
            form="jsonl",
            threshold=WRITTEN,
            measures=measures,
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            num_threads=self.num_threads,
            pipeline_args=self.pipeline_args,
        )


def watch(
    *,
    images: str,
    output: str = "",
    since: str = "",
    model: str = "champion",
    registry: str = "registry",
    val_images: str = "",
    val_annotations: str = "",
    alpha: float = ALPHA,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
    label: int = COUNT,
    batch_size: int = 8,
    num_workers: int = 1,
    num_threads: int | None = None,
    pipeline_args: Sequence[str] = (),
) -> WatchResult:
    """Writes watch.json, watch.html and to_label.json, and detections and statistics of all images below `scores/`.

    The same call resumes a killed run, and reuses the scores of a finished one.

    Args:
      images: a folder (all images in it and below), a glob pattern or one file; a path or URI.
      output: folder for this watch; "" takes `watch/VERSION-DIGEST` below the working folder, with the beginning of the
        images' digest.
      since: only images whose files are newer: a date, a time with zone (ISO 8601), or an age such as "7d", "12h".
      model: alias or version in the registry, or a SavedModel's folder.
      registry: local folder or `vertex://PROJECT/REGION/MODEL_ID`.
      val_images: folder of validation images, from which the profile is made if the version has none.
      val_annotations: COCO file that names which of them; "" takes all.
      alpha: chance of a false alarm, over all statistics together.
      permutations: number of permutations.
      seed: of the permutations. The same images, profile and seed give the same result.
      label: maximum number of images to label that are picked.
      batch_size, num_workers, num_threads, pipeline_args: as for `trainer.scoring.run.score`.

    Returns:
      What watch.json holds.

    Raises:
      InputError: bad input: no such model, no profile and no validation images, no image, nothing newer than `since`.
      Failure: scoring failed.
    """
    if not 0 < alpha < 1:
        raise InputError(f"--alpha {alpha}: use a probability, such as {ALPHA}")
    if (permutations + 1) * alpha < 1:
        needed = math.ceil(1 / alpha)
        raise InputError(f"--permutations {permutations}: p can't fall to {alpha:g}; use {needed} or more")
    if label < 1:
        raise InputError(f"--label {label}: use 1 or more")
    start = parse_since(since) if since else None
    champion = find_model(model, registry)
    digest = model_digest(champion.folder)
    listed = list_images(images)
    for note in listed.notes:
        print(f"note: {note}", flush=True)
    if start is not None:
        names = newer(listed.folder, listed.names, start)
        print(f"since {start:%Y-%m-%d %H:%M} UTC: {len(names)} of {len(listed.names)} images", flush=True)
        listed = list_images(listed.folder, names)
    stored = stored_profile(champion, digest)
    if stored is None and not val_images:
        raise missing(champion)
    folder = output.rstrip("/") or f"watch/{champion.version or 'model'}-{listed.digest[:8]}"
    make_writable(folder, NAME)
    scoring = _Scoring(
        model=champion,
        batch_size=batch_size,
        num_workers=num_workers,
        num_threads=num_threads,
        pipeline_args=pipeline_args,
    )
    if stored is None:
        origin = _made(scoring, digest, val_images, val_annotations, f"{folder}/profile")
    else:
        origin = stored
        print(f"profile: {len(origin.profile.rows)} validation images, stored with the model", flush=True)
    manifest = scoring.score(listed, f"{folder}/scores", origin.profile.measures)
    rows = read_rows(f"{folder}/scores")
    found = judge(origin.profile, rows, alpha=alpha, permutations=permutations, seed=seed)
    _print_notes(found, rows, manifest, origin)
    result = WatchResult(
        champion=champion.version,
        model=absolute(champion.folder),
        model_digest=digest,
        images=listed.folder,
        images_digest=listed.digest,
        since=start.isoformat(timespec="seconds") if start else "",
        num_images=len(listed.names),
        scored=manifest.images,
        rejects=manifest.rejects,
        profile=origin.where,
        profile_digest=origin.digest,
        alpha=alpha,
        permutations=permutations,
        seed=seed,
        scores=absolute(f"{folder}/scores"),
        **{entry.name: getattr(found, entry.name) for entry in fields(found)},
    )
    to_label = write_to_label(
        f"{folder}/{TO_LABEL}",
        profile=origin.profile,
        rows=rows,
        statistics=result.statistics,
        scores=result.scores,
        model=champion,
        images=listed.folder,
        count=label,
        seed=seed,
    )
    write_page(result, to_label, f"{folder}/{PAGE}", threshold=origin.profile.measures.threshold)
    write_text(f"{folder}/{NAME}", result.to_json())  # last: who finds it finds the page
    print(f"to label: {to_label.line}: {folder}/{TO_LABEL}", flush=True)
    print(f"report: {folder}/{PAGE}", flush=True)
    print(f"result: {WORDS[result.verdict]}: {result.reason}", flush=True)
    return result


def _made(scoring: _Scoring, digest: str, images: str, annotations: str, output: str) -> Origin:
    """The profile of a model that was published without one."""
    from trainer.saved_model.inference import read_label_map  # imports TensorFlow

    listed = list_images(images, load_annotations(annotations).file_names if annotations else None)
    part = list_images(listed.folder, [listed.names[i] for i in chosen(listed.names)])
    name = scoring.model.version or scoring.model.folder
    print(
        f"profile: {name} has none; it is made now from {len(part.names)} of the {len(listed.names)} images of "
        f"{annotations or images}",
        flush=True,
    )
    measures = measures_of(read_label_map(scoring.model.folder))
    scoring.score(part, output, measures)
    profile = Profile(model_digest=digest, data_digest="", measures=measures, rows=read_rows(output))
    return Origin(profile=profile, where=absolute(images), digest=hashlib.sha256(profile.to_bytes()).hexdigest())


def _print_notes(found: Judged, rows: Rows, manifest: Manifest, origin: Origin) -> None:
    if count := sum(manifest.rejects.values()):
        print(f"note: {count} of {manifest.run.num_images} images can't be scored, and are not compared", flush=True)
    if found.near_duplicates:
        print(f"note: {found.near_duplicates} of {len(rows)} images look like others, and are not compared", flush=True)
    if more := manifest.images - found.near_duplicates - found.compared:
        print(f"note: {more} of {len(rows)} images are left out at random: {MAX_COMPARED} are enough", flush=True)
    if unmeasured := int(np.isnan(rows.values[:, 0]).sum()):
        print(f"note: {unmeasured} of {len(rows)} images are too damaged for their pictures' statistics", flush=True)
    if not found.features:
        missing = "the model" if not rows.features.shape[1] else origin.where
        print(f"note: {missing} has no features of the backbone, so they are not compared", flush=True)
