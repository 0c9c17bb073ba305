"""Validation images that look like training images: found between preprocessing and training."""

from beam_preprocess.base.errors import InputError
from beam_preprocess.dataset.near_duplicates import compare_records

LISTED = "near_duplicates.jsonl"


def warn_of_near_duplicates(train: str, val: str, output: str, *, strict: bool) -> None:
    """Compares the fingerprints of both splits, prints a warning, and lists the pairs in the output folder.

    Args:
      train: folder with the fingerprints of the training images.
      val: folder with those of the validation images.
      output: folder for the list.
      strict: a warning ends the run.

    Raises:
      InputError: there are such images, and `strict`.
    """
    message = compare_records(train, val, f"{output.rstrip('/')}/{LISTED}")
    if message:
        print(f"warning: {message}", flush=True)
        if strict:
            raise InputError(f"{message}; --strict makes this warning an error")
    print(f"result: {'some' if message else 'no'} validation images look like training images", flush=True)
