"""Statistics of many images as arrays, and as bytes of a file."""

import io
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from beam_preprocess.base.errors import InputError

ROWS_SCHEMA = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Rows:
    """N images, M statistics, D features."""

    ids: np.ndarray
    """int64 [N]"""
    names: np.ndarray
    """str [N]: file names."""
    values: np.ndarray
    """float32 [N, M] in the order of `columns`; NaN where an image has no such value."""
    features: np.ndarray
    """float32 [N, D]: the backbone's pooled features; D is 0 for exports without a signature for them."""
    fingerprints: np.ndarray
    """str [N]: `beam_preprocess.format.fingerprints`; "" for pictures that are nearly uniform."""

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, which: np.ndarray) -> "Rows":
        """Some of the images: indices, or one truth value per image."""
        return Rows(
            ids=self.ids[which],
            names=self.names[which],
            values=self.values[which],
            features=self.features[which],
            fingerprints=self.fingerprints[which],
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One image."""

    id: int
    name: str
    values: np.ndarray
    """float32 [M]"""
    features: np.ndarray
    """float32 [D]"""
    fingerprint: str


def stack(rows: Sequence[Row]) -> Rows:
    """At least one image."""
    return Rows(
        ids=np.array([row.id for row in rows], np.int64),
        names=np.array([row.name for row in rows], np.str_),
        values=np.stack([row.values for row in rows]).astype(np.float32),
        features=np.stack([row.features for row in rows]).astype(np.float32),
        fingerprints=np.array([row.fingerprint for row in rows], np.str_),
    )


def joined(parts: Sequence[Rows]) -> Rows:
    """All images of the parts, in their order."""
    return Rows(
        ids=np.concatenate([part.ids for part in parts]),
        names=np.concatenate([part.names for part in parts]),
        values=np.concatenate([part.values for part in parts]),
        features=np.concatenate([part.features for part in parts]),
        fingerprints=np.concatenate([part.fingerprints for part in parts]),
    )


def to_bytes(rows: Rows, meta: str = "") -> bytes:
    """Content of a file: the same rows give the same bytes.

    Args:
      rows: the images.
      meta: text to keep with them.
    """
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        schema_version=np.array(ROWS_SCHEMA),
        meta=np.array(meta),
        ids=rows.ids,
        names=rows.names,
        values=rows.values,
        features=rows.features,
        fingerprints=rows.fingerprints,
    )
    return buffer.getvalue()


def from_bytes(content: bytes, where: str, fix: str) -> tuple[Rows, str]:
    """(rows, meta) of a file.

    Args:
      content: the file.
      where: its path, for messages.
      fix: what the user can do, likewise.

    Raises:
      InputError: truncated, damaged, or of another schema version.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            version = int(arrays["schema_version"])
            if version != ROWS_SCHEMA:
                raise InputError(f"{where}: schema_version is {version}, this code reads {ROWS_SCHEMA}; {fix}")
            names = ("ids", "names", "values", "features", "fingerprints")
            rows = Rows(**{name: arrays[name] for name in names})
            meta = str(arrays["meta"])
    except InputError:
        raise
    except (ValueError, KeyError, OSError, EOFError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{where}: is truncated or damaged ({' '.join(str(error).split())}); {fix}") from error
    kinds = {rows.ids.dtype.kind, rows.values.dtype.kind, rows.features.dtype.kind, rows.names.dtype.kind}
    lengths = {len(array) for array in (rows.ids, rows.names, rows.values, rows.features, rows.fingerprints)}
    if kinds != {"i", "f", "U"} or len(lengths) != 1 or rows.values.ndim != 2 or rows.features.ndim != 2:
        raise InputError(f"{where}: is damaged: its arrays don't belong together; {fix}")
    return rows, meta
