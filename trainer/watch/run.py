"""Scores new images by the champion, and compares them with its profile."""

from collections.abc import Sequence

from trainer.watch.result import WatchResult

ALPHA = 0.01
PERMUTATIONS = 9999


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
    batch_size: int = 8,
    num_workers: int = 1,
    num_threads: int | None = None,
    pipeline_args: Sequence[str] = (),
) -> WatchResult:
    """Writes watch.json and watch.html, and the detections and statistics of all images below `scores/`.

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
      batch_size, num_workers, num_threads, pipeline_args: as for `trainer.scoring.run.score`.

    Returns:
      What watch.json holds.

    Raises:
      InputError: bad input: no such model, no profile and no validation images, no image, nothing newer than `since`.
      Failure: scoring failed.
    """
    raise NotImplementedError  # the body follows
