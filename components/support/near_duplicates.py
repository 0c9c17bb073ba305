"""Validation images that look like training images: found between preprocessing and training."""

import json

from beam_preprocess.base.errors import InputError
from beam_preprocess.dataset.near_duplicates import compare_records
from components.support.stage import strict

LISTED = "near_duplicates.jsonl"


def warn_of_near_duplicates(records: str, val_records: str, output: str, cluster: str) -> None:
    """Compares the fingerprints of both splits, prints a warning, and lists the pairs in the output folder.

    Args:
      records: folder of the training records.
      val_records: folder of the validation records.
      output: folder for the list.
      cluster: TF_CONFIG; on several machines only the chief compares.

    Raises:
      InputError: there are such images, and warnings end the run.
    """
    if cluster and json.loads(cluster)["task"]["type"] != "chief":
        return
    if message := compare_records(records, val_records, f"{output.rstrip('/')}/{LISTED}"):
        print(f"warning: {message}", flush=True)
        if strict():
            raise InputError(f"{message}; --strict makes this warning an error")
