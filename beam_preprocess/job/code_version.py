"""The version of the code and the libraries that shape a record's bytes. No Beam, no TensorFlow."""

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL
import simplejpeg

RECORD_CODE = (
    "dataset/validate.py",
    "format/annotation_columns.py",
    "format/annotation_stream.py",
    "format/annotations.py",
    "format/geometry.py",
    "format/image_entries.py",
    "format/images.py",
    "format/json_sections.py",
    "format/plain_lists.py",
    "format/reasons.py",
    "format/records.py",
    "format/targets.py",
    "format/tfrecord.py",
    "format/whole.py",
    "job/shards.py",
    "job/transforms.py",
    "job/views.py",
)
"""The files of this package that shape a record's bytes."""

LIBRARIES: tuple[Any, ...] = (cv2, np, PIL, simplejpeg)
"""The libraries that decode, resize, encode and draw random numbers: another version may give other bytes."""


@cache
def code_version() -> str:
    """sha256 (hex) over `RECORD_CODE` and the versions of `LIBRARIES`.

    It is part of the records digest. A worker compares its own version with the driver's, because a container image
    built from other code would write other records under the same digest.
    """
    return _digest(Path(__file__).parents[1], {library.__name__: library.__version__ for library in LIBRARIES})


def _digest(folder: Path, versions: dict[str, str]) -> str:
    code = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in RECORD_CODE}
    return hashlib.sha256(json.dumps([code, versions], sort_keys=True).encode()).hexdigest()
