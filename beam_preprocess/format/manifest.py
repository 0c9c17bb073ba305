"""`manifest.json`: what a folder of records holds. It is written last, so its presence means that the folder is ready.

Pure data. Callers read and write the file with a file system of their choice.
"""

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from typing import Any

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.json import build, checked_version, convert, parse
from beam_preprocess.format.config import PreprocessConfig
from beam_preprocess.format.records import RECORD_SCHEMA_VERSION

NAME = "manifest.json"

DIGEST = "manifest_digest"
"""Key of the file with the sha256 over all its other keys, so that an edit by hand or a damaged byte is noticed."""

DECODING_PARAMETERS = ("image_size", "stride", "heatmap_cutoff", "gaussian_iou")
"""Keys of `parameters` without which no record can be decoded."""

RUN_PARAMETERS = ("seed", "num_shards")
"""Keys of `parameters` that are not keys of the `preprocess:` section."""

_FIX = "run the preprocessing again"
_FILE_NAME = re.compile(r"[^/\\\0]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Category:
    """One class of the data set."""

    index: int
    """Heatmap channel, 0-based."""

    id: int
    """The data set's own category id."""

    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """One TFRecord file: one view of the images of one shard."""

    name: str
    shard: int
    view: int
    records: int
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """Everything that a reader needs to know before it opens a shard."""

    schema_version: int
    split: str
    data_digest: str
    """sha256 over the annotations and every image's name, size and crc32c. It identifies the source data."""
    records_digest: str
    """sha256 over data_digest and everything else that shapes the records: parameters and code version."""
    images: int
    views: int
    objects: int
    """Objects kept in view 0, without crowd regions."""
    crowds: int
    num_classes: int
    """Channels of the heatmap; more than len(categories) when class indices come from sparse ids."""
    categories: tuple[Category, ...]
    shards: tuple[Shard, ...]
    max_cells: int
    """Maximum number of stored heatmap cells per record, including crowd cells."""
    max_objects: int
    """Maximum number of objects per record, including crowd regions."""
    rejects: dict[str, int]
    """Number of rejected or repaired images and boxes by reason code."""
    class_histogram: dict[str, int]
    """Number of objects in view 0 by category name."""
    size_histogram: dict[str, int]
    """Number of objects in view 0 by COCO area range: small, medium, large (in original pixels)."""
    parameters: dict[str, Any]
    """The keys of the `preprocess:` section, the seed and the number of shards."""

    def to_json(self) -> str:
        """Text with a stable order and layout, and with its digest."""
        values = asdict(self)
        return json.dumps({**values, DIGEST: content_digest(values)}, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str) -> "Manifest":
        """Reads a manifest.

        Args:
          text: the file's content.
          where: its path, for messages.

        Raises:
          InputError: not a manifest, another schema version, a value of another type or out of range, or a file that
            was changed after it was written.
        """
        values = parse(text, where, _FIX)
        checked_version(values, RECORD_SCHEMA_VERSION, where, _FIX)
        if DIGEST not in values:
            raise InputError(f"{where}: lacks {DIGEST}; {_FIX}")
        written = values.pop(DIGEST)
        manifest = build(cls, values, where, _FIX)
        _check_parameters(manifest.parameters, f"{where}: parameters")
        for shard in manifest.shards:
            if not _FILE_NAME.fullmatch(shard.name):
                raise InputError(f"{where}: {shard.name!r} is not the name of a shard file; {_FIX}")
        if written != content_digest(values):
            raise InputError(f"{where}: changed after it was written; {_FIX}")
        return manifest


def content_digest(values: dict[str, Any]) -> str:
    """sha256 over a manifest's keys and values, without its own digest. Layout and order of keys do not count."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _check_parameters(parameters: dict[str, Any], where: str) -> None:
    """Refuses parameters that readers could not decode records with.

    Keys may be missing in manifests that were written before the key existed, but not those that decoding needs.
    """
    missing = [name for name in DECODING_PARAMETERS if name not in parameters]
    if missing:
        raise InputError(f"{where}: lacks {', '.join(missing)}; {_FIX}")
    config = {name: value for name, value in parameters.items() if name not in RUN_PARAMETERS}
    try:
        build(PreprocessConfig, config, where, _FIX, partial=True)
    except InputError as error:
        message = str(error)  # the range checks of the configuration do not know where their values are from
        raise error if message.startswith(where) else InputError(f"{where}: {message}; {_FIX}") from error
    for name in RUN_PARAMETERS:
        if name in parameters:
            convert(int, parameters[name], f"{where}: {name}", _FIX)
