"""The images of a job: their names below one folder, sorted, and a digest that changes when one of them does."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.files import exists
from beam_preprocess.base.storage import absolute, file_system, refusals, refused
from trainer.saved_model.image_files import find_images

_PATTERN = "*?["


@dataclass(frozen=True, kw_only=True, slots=True)
class Images:
    """What is scored."""

    folder: str
    """Absolute path or URI."""
    names: tuple[str, ...]
    """Paths below the folder, sorted. An image's id is its place in this list, from 1."""
    digest: str
    """Hex sha256 of the names and of each file's size and time (in a bucket: its checksum)."""
    notes: tuple[str, ...] = ()
    """Lines for people, such as how many other files there are."""


def list_images(images: str, names: Sequence[str] | None = None) -> Images:
    """Lists the images.

    Args:
      images: a folder (all images in it and below), a glob pattern or one file; a path or URI.
      names: take these files of the folder instead of all.

    Raises:
      InputError: there is no image, or no such folder.
    """
    if names is not None:
        return _listed(absolute(images), names, ())
    found = find_images([images])
    if found.problems:
        raise InputError(f"--images {found.problems[0]}")
    folder = _folder_of(images, found.files)
    start = len(folder.rstrip("/")) + 1
    return _listed(folder, [_full(path)[start:] for path in found.files], found.notes)


def _full(path: str) -> str:
    """`absolute`, without opening a file system for every image."""
    return path if "://" in path else os.path.abspath(path)


def _folder_of(images: str, files: Sequence[str]) -> str:
    """The folder that names are relative to: the one given, a pattern's part without wildcards, or a file's own."""
    path = absolute(images)
    magic = min((path.index(character) for character in _PATTERN if character in path), default=-1)
    if magic >= 0 and not exists(images):
        return path[:magic].rpartition("/")[0] or "/"
    is_file = len(files) == 1 and _full(files[0]) == path
    return path.rpartition("/")[0] or "/" if is_file else path


def _listed(folder: str, names: Sequence[str], notes: Sequence[str]) -> Images:
    ordered = tuple(sorted(set(names)))
    if not ordered:
        raise InputError(f"--images {folder}: no image there; give a folder with images")
    digest = hashlib.sha256()
    for name, stamp in zip(ordered, _stamps(folder, ordered), strict=True):
        digest.update(f"{name}\t{stamp}\n".encode("utf-8", "surrogateescape"))
    return Images(folder=folder, names=ordered, digest=digest.hexdigest(), notes=tuple(notes))


def _stamps(folder: str, names: Sequence[str]) -> list[str]:
    """What changes when a file does."""
    if "://" not in folder:
        return [_local_stamp(os.path.join(folder, name)) for name in names]
    fs, root = file_system(folder)
    try:
        entries: dict[str, dict[str, Any]] = fs.find(root, detail=True)  # one request per thousand objects
    except refusals() as error:
        raise refused(f"--images {folder}", error) from error
    found = [entries.get(f"{root.rstrip('/')}/{name}", {}) for name in names]
    return [" ".join(str(entry.get(key)) for key in ("size", "crc32c", "md5Hash", "etag")) for entry in found]


def _local_stamp(path: str) -> str:
    try:
        found = os.stat(path)
    except OSError:
        return "missing"  # a reject of the job
    return f"{found.st_size} {found.st_mtime_ns}"
