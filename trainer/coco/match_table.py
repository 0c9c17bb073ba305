"""`matches.npz`: what is needed of an evaluation to score any resample of its images without matching again.

Detections are sorted by class and descending score, as accumulation needs them, with two bits per IoU threshold:
matched an object, is ignored. 500,000 detections take about 2 MB.
"""

import io
import zipfile
import zlib
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from beam_preprocess.base.errors import InputError
from trainer.coco.accumulate import by_class_and_score
from trainer.coco.matching import IOU_THRESHOLDS
from trainer.coco.metrics import Scored
from trainer.shared.fixes import EVALUATE_AGAIN

MATCHES_SCHEMA = 1

Column = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class MatchTable:
    """N images, K classes, D detections (at most 100 per image and class) of all areas, G objects, no crowds."""

    image_ids: Column
    """[N] sorted."""
    category_ids: Column
    """[K] sorted."""
    category: Column
    """[D] index into category_ids, ascending."""
    image: Column
    """[D] index into image_ids."""
    true: Column
    """[D] bit t: found an object at IoU threshold t."""
    ignored: Column
    """[D] bit t: neither right nor wrong."""
    tied: Column
    """[D] 1 where image, class and score are equal to those of the previous detection."""
    object_image: Column
    """[G]"""
    object_category: Column
    """[G]"""


def from_scored(scored: Scored) -> MatchTable:
    """The table of one evaluation."""
    matches = scored.matches
    order = by_class_and_score(matches)
    bits = 1 << np.arange(len(IOU_THRESHOLDS))
    matched, ignored = matches.matched[order, 0], matches.ignored[order, 0]
    image, category, score = matches.image[order], matches.category[order], matches.score[order]
    tied = np.zeros(len(order), np.int64)
    tied[1:] = (image[1:] == image[:-1]) & (category[1:] == category[:-1]) & (score[1:] == score[:-1])
    counted = ~matches.object_ignored[:, 0]
    return MatchTable(
        image_ids=np.array(scored.image_ids, np.int64),
        category_ids=np.array(scored.category_ids, np.int64),
        category=category,
        image=image,
        true=(matched & ~ignored) @ bits,
        ignored=ignored @ bits,
        tied=tied,
        object_image=matches.objects.image[counted],
        object_category=matches.objects.category[counted],
    )


def to_bytes(table: MatchTable) -> bytes:
    """Content of `matches.npz`."""
    buffer = io.BytesIO()
    columns = {field.name: getattr(table, field.name) for field in fields(MatchTable)}
    narrow = {name: column.astype(np.min_scalar_type(column.max(initial=0))) for name, column in columns.items()}
    narrow |= {name: columns[name] for name in ("image_ids", "category_ids")}
    np.savez_compressed(buffer, schema_version=np.array(MATCHES_SCHEMA), **narrow)
    return buffer.getvalue()


def from_bytes(content: bytes, where: str) -> MatchTable:
    """Reads `matches.npz`.

    Raises:
      InputError: truncated, damaged, or of another schema version.
    """
    names = [field.name for field in fields(MatchTable)]
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            version = int(arrays["schema_version"])
            columns = {name: arrays[name].astype(np.int64) for name in names} if version == MATCHES_SCHEMA else {}
    except (ValueError, KeyError, OSError, EOFError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(
            f"{where}: is truncated or damaged ({' '.join(str(error).split())}); {EVALUATE_AGAIN}"
        ) from error
    if not columns:
        raise InputError(f"{where}: schema_version is {version}, this code reads {MATCHES_SCHEMA}; {EVALUATE_AGAIN}")
    return MatchTable(**columns)
