"""What of this package and of the libraries below it shapes a record's bytes. No Beam, no TensorFlow."""

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL
import simplejpeg

CODE = (
    "dataset/validate.py",
    "format/annotations.py",
    "format/geometry.py",
    "format/images.py",
    "format/json_sections.py",
    "format/reasons.py",
    "format/records.py",
    "format/targets.py",
    "format/tfrecord.py",
    "job/shards.py",
    "job/transforms.py",
    "job/views.py",
)
"""The files of this package that shape a record's bytes."""

LIBRARIES: tuple[Any, ...] = (cv2, np, PIL, simplejpeg)
"""Those that decode, resize, encode and draw random numbers: another version may give other bytes."""


@cache
def code_version() -> str:
    """sha256 (hex) over these files and these libraries' versions.

    It is part of the records digest, and a worker compares its own with the driver's: an image that was built from
    other code would put other records under that digest.
    """
    return _digest(Path(__file__).parents[1], {library.__name__: library.__version__ for library in LIBRARIES})


def _digest(folder: Path, versions: dict[str, str]) -> str:
    code = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in CODE}
    return hashlib.sha256(json.dumps([code, versions], sort_keys=True).encode()).hexdigest()
