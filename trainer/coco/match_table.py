"""`matches.npz`: what is needed of an evaluation to compute its metrics again, and those of any resample of its images.

Detections are sorted by class and descending score, as accumulation needs them, with two bits per IoU threshold and
area range: matched an object, is ignored. 500,000 detections take about 3 MB.
"""

import io
import zipfile
import zlib
from collections.abc import Collection
from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt

from beam_preprocess.base.errors import InputError
from trainer.coco.matching import AREA_RANGES, EVERY_THRESHOLD, IOU_THRESHOLDS, Bools
from trainer.coco.metrics import Scored
from trainer.shared.fixes import EVALUATE_AGAIN

MATCHES_SCHEMA = 2
THRESHOLDS = len(IOU_THRESHOLDS)

Column = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class MatchTable:
    """N images, K classes, D detections (at most 100 per image and class) of all areas, G objects, no crowds."""

    image_ids: Column
    """[N] sorted."""
    image_order: Column
    """[N] rank of the image by file name. Resamples are drawn in this order, because ids are a file's own affair."""
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
    true_by_size: Column
    """[D] bit 10 a + t: the same for objects of COCO's size a: small, medium, large."""
    ignored_by_size: Column
    """[D] likewise."""
    tied: Column
    """[D] 1 where image, class and score are equal to those of the previous detection."""
    object_image: Column
    """[G]"""
    object_category: Column
    """[G]"""
    object_areas: Column
    """[G] bit a: the object counts in COCO's area range a: all, small, medium, large."""

    @property
    def counted(self) -> Bools:
        """[G] the objects that AP over all areas counts."""
        return (self.object_areas & 1).astype(bool)


def from_scored(scored: Scored) -> MatchTable:
    """The table of one evaluation."""
    matches = scored.matches
    order = matches.by_class
    true, ignored = matches.true[order], matches.ignored[order]
    image, category, score = matches.image[order], matches.category[order], matches.score[order]
    tied = np.zeros(len(order), np.int64)
    tied[1:] = (image[1:] == image[:-1]) & (category[1:] == category[:-1]) & (score[1:] == score[:-1])
    objects = ~matches.objects.crowd
    return MatchTable(
        image_ids=np.array(scored.image_ids, np.int64),
        image_order=np.array(scored.name_order, np.int64),
        category_ids=np.array(scored.category_ids, np.int64),
        category=category,
        image=image,
        true=true & EVERY_THRESHOLD,
        ignored=ignored & EVERY_THRESHOLD,
        true_by_size=true >> THRESHOLDS,
        ignored_by_size=ignored >> THRESHOLDS,
        tied=tied,
        object_image=matches.objects.image[objects],
        object_category=matches.objects.category[objects],
        object_areas=~matches.object_ignored[objects] @ (1 << np.arange(len(AREA_RANGES))),
    )


def only(table: MatchTable, category_ids: Collection[int]) -> MatchTable:
    """The table without the detections and objects of other classes, on the same images."""
    kept = np.isin(table.category_ids, list(category_ids))
    new_index = np.cumsum(kept) - 1
    rows, objects = kept[table.category], kept[table.object_category]
    by_detection = ("image", "true", "ignored", "true_by_size", "ignored_by_size", "tied")
    columns = {name: getattr(table, name)[rows] for name in by_detection}
    columns |= {name: getattr(table, name)[objects] for name in ("object_image", "object_areas")}
    return replace(
        table,
        category_ids=table.category_ids[kept],
        category=new_index[table.category[rows]],
        object_category=new_index[table.object_category[objects]],
        **columns,
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
