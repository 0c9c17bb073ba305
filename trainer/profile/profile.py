"""`profile.npz`: what a model's validation images and its detections on them look like, one row per image.

The evaluation measures it, promotion puts it next to `serving.json` into the published model's folder, and `centernet
watch` compares new images with it. It is outside the model's digest.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.files import read_bytes
from beam_preprocess.base.json import read
from trainer.profile.columns import Measures, columns
from trainer.profile.rows import Rows, from_bytes, to_bytes

PROFILE_IMAGES = 1000
"""Maximum number of images: with more, the test would hardly find more."""
MEASURE_AGAIN = "evaluate the model again and promote it again, or give --val-images to `centernet watch`"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Meta:
    """What the file holds next to the rows."""

    model_digest: str
    data_digest: str
    measures: Measures


@dataclass(frozen=True, kw_only=True, slots=True)
class Profile:
    """Content of `profile.npz`."""

    model_digest: str
    data_digest: str
    """The validation data's, as in the evaluation; "" for a profile that was made without one."""
    measures: Measures
    rows: Rows

    def to_bytes(self) -> bytes:
        """The file."""
        meta = _Meta(model_digest=self.model_digest, data_digest=self.data_digest, measures=self.measures)
        return to_bytes(self.rows, json.dumps(asdict(meta)))


def parse_profile(content: bytes, where: str) -> Profile:
    """Reads the content of `profile.npz`.

    Raises:
      InputError: damaged, of another schema version, or without images.
    """
    rows, text = from_bytes(content, where, MEASURE_AGAIN)
    meta = read(_Meta, text, where, MEASURE_AGAIN)
    if not len(rows) or rows.values.shape[1] != len(columns(meta.measures)):
        raise InputError(f"{where}: is damaged: {rows.values.shape} values don't fit its classes; {MEASURE_AGAIN}")
    return Profile(model_digest=meta.model_digest, data_digest=meta.data_digest, measures=meta.measures, rows=rows)


def read_profile(uri: str) -> Profile:
    """Reads `profile.npz`.

    Raises:
      InputError: there is no such file, or see `parse_profile`.
    """
    return parse_profile(read_bytes(uri, MEASURE_AGAIN), uri)


def chosen(names: Sequence[str], count: int = PROFILE_IMAGES) -> list[int]:
    """Which images a profile is made from: all, or that many at random; the same ones for the same names."""
    if len(names) <= count:
        return list(range(len(names)))
    rng = np.random.default_rng(len(names))
    return sorted(rng.choice(len(names), count, replace=False).tolist())
