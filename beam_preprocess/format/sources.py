"""The image folder: the files in it, and the digest that identifies a data set. No Beam.

Local files are read to compute their CRC32C. A bucket's listing already contains it.
"""

import base64
import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import google_crc32c
import numpy as np
from fsspec.implementations.local import LocalFileSystem

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.progress import Progress
from beam_preprocess.base.storage import file_system, refusals, refused
from beam_preprocess.format import file_names as names
from beam_preprocess.format.annotations import CocoAnnotations
from beam_preprocess.format.reasons import Reason, Reject, count_by_reason

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One image file."""

    size: int
    """Size in bytes."""
    crc32c: int | None
    """None if this user may not read the file."""


def list_images(images: str, file_names: Sequence[str], annotations: str) -> dict[str, SourceFile]:
    """Finds the files of an annotation file that exist in the image folder.

    Args:
      images: the folder, a local path or fsspec URI.
      file_names: names relative to the folder.
      annotations: the annotation file, for messages.

    Raises:
      InputError: no such folder, or none of the files is in it. The message names the form in which the first one is.
    """
    fs, root = file_system(images)
    listing = None if isinstance(fs, LocalFileSystem) else _listing(fs, root, images)
    if not (fs.isdir(root) if listing is None else listing):
        raise InputError(f"{images}: no such image folder; check the path")
    progress = Progress(f"reading {images}", total=len(file_names), unit="files")
    found: dict[str, SourceFile] = {}
    for done, name in enumerate(file_names, start=1):
        path = f"{root.rstrip('/')}/{name}"
        if listing is None:
            if os.path.isfile(path):
                found[name] = SourceFile(os.path.getsize(path), _file_crc32c(path))
        elif path in listing:
            info = listing[path]
            stored = info.get("crc32c")
            crc = int.from_bytes(base64.b64decode(stored), "big") if stored else google_crc32c.value(fs.cat_file(path))
            found[name] = SourceFile(int(info["size"]), crc)
        progress.update(done)
    if not found:
        below = f"{root.rstrip('/')}/"
        others = names.local_files(root) if listing is None else [path.removeprefix(below) for path in listing]
        raise InputError(none_found(images, file_names, annotations, others))
    return found


def usable_names(coco: CocoAnnotations, keep: np.ndarray, rejects: Sequence[Reject], images: str) -> list[str]:
    """The file names of the images that `validate_images` kept.

    Args:
      coco: the parsed file.
      keep: bool [I].
      rejects: the images that were not kept.
      images: the image folder.

    Raises:
      InputError: none is kept. The message names the reasons, and the form in which the first file is in the folder.
    """
    kept = [name for name, keep_image in zip(coco.file_names, keep, strict=True) if keep_image]
    if kept:
        return kept
    reasons = ", ".join(f"{code} {count}" for code, count in count_by_reason(rejects).items())
    message = f"{coco.uri}: none of its {len(coco.file_names)} images can be used ({reasons}; first: {rejects[0]})"
    fs, root = file_system(images)
    form = None
    if rejects[0].reason is Reason.PATH_OUTSIDE_FOLDER and isinstance(fs, LocalFileSystem):
        form = names.find_form(coco.file_names[0], names.local_files(root), images)
    raise InputError(f"{message}; {form or 'repair the entries of images, or export the annotations again'}")


def none_found(images: str, file_names: Sequence[str], annotations: str, files: Sequence[str]) -> str:
    """The message for an image folder that has none of the images.

    Args:
      images: the folder.
      file_names: the names looked for, at least one.
      annotations: the annotation file.
      files: paths of the files that are in the folder, relative to it.
    """
    message = f"none of the {len(file_names)} images of {annotations} (such as {file_names[0]!r}) is in {images}"
    form = names.find_form(file_names[0], files, images)
    if form:
        return f"{message}, but {form}"
    inside = f" (it has {len(files)} files, such as {min(files)!r})" if files else " (it has no files)"
    return f"{message}{inside}; give the folder that contains them"


def _listing(fs: Any, root: str, images: str) -> dict[str, dict[str, Any]]:
    """The objects in a bucket's folder by path, with one request per thousand objects."""
    print(f"progress: listing {images}", flush=True)
    try:
        return dict(fs.find(root, detail=True))
    except FileNotFoundError:
        return {}
    except refusals() as error:
        raise refused(images, error) from error


def _file_crc32c(path: str) -> int | None:
    crc = 0
    try:
        with open(path, "rb") as file:
            while chunk := file.read(_CHUNK):
                crc = google_crc32c.extend(crc, chunk)
    except PermissionError:
        return None  # becomes a reject when the image is opened
    return crc


def data_digest(annotations_digest: str, file_names: Sequence[str], files: Mapping[str, SourceFile]) -> str:
    """sha256 (hex) over the annotations' content and every image's name, size and crc32c."""
    digest = hashlib.sha256(annotations_digest.encode())
    for name in sorted(file_names):
        digest.update(f"{name}\t{_state(files.get(name))}\n".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def whole_digest(images: str, annotations: CocoAnnotations) -> str:
    """The digest that the data check computes for a data set of which it drops no image, as of all validation data.

    Args:
      images: the folder, a local path or fsspec URI.
      annotations: the parsed file.

    Raises:
      InputError: see `list_images`.
    """
    files = list_images(images, annotations.file_names, annotations.uri)
    return data_digest(annotations.content_digest, annotations.file_names, files)


def _state(file: SourceFile | None) -> str:
    if file is None:
        return "missing"
    return f"{file.size}\tunreadable" if file.crc32c is None else f"{file.size}\t{file.crc32c:08x}"
