"""Reads and writes small files at any URI. A file is written completely or not at all."""

import contextlib
import os
import re
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from beam_preprocess.base import json as strict_json
from beam_preprocess.base.errors import InputError
from beam_preprocess.base.storage import file_system, reason, refusals

_TEMPORARY = re.compile(r"\.?(.+)\.tmp-\w+")
_ABANDONED_SECONDS = 3600.0
"""A temporary file of this age has no writer any more."""


def read_bytes(uri: str, fix: str) -> bytes:
    """The content of a file.

    Args:
      uri: a local path or any fsspec URI.
      fix: what the user can do when the file cannot be read, for the message.

    Raises:
      InputError: missing or not readable.
    """
    fs, path = file_system(uri)
    with _readable(uri, fix):
        return bytes(fs.cat_file(path))


def read_pieces(uri: str, size: int, fix: str) -> Iterator[bytes]:
    """The content of a file, at most `size` bytes at a time; see `read_bytes`."""
    fs, path = file_system(uri)
    with _readable(uri, fix), fs.open(path, "rb") as file:
        while piece := file.read(size):
            yield piece


@contextlib.contextmanager
def _readable(uri: str, fix: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise InputError(f"{uri}: no such file; {fix}") from error
    except ValueError as error:  # such as a null byte in the path
        raise InputError(f"{uri}: cannot be read ({reason(error)}); {fix}") from error
    except refusals() as error:
        raise InputError(f"{uri}: cannot be read ({reason(error)}); {fix}") from error


def read_text(uri: str, fix: str) -> str:
    """The content of a UTF-8 file.

    Raises:
      InputError: missing, not readable or not UTF-8.
    """
    try:
        return read_bytes(uri, fix).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{uri}: cannot be read ({reason(error)}); {fix}") from error


def read_json(uri: str, fix: str) -> Any:
    """Parses a JSON file. Python's NaN and Infinity are accepted: the gate judges them.

    Raises:
      InputError: missing, not readable or not JSON.
    """
    return parse_json(read_text(uri, fix), uri, fix)


def parse_json(text: str, where: str, fix: str) -> Any:
    """Parses JSON text; see `base.json.parse`, and `base.json.read` for a file with a known schema."""
    return strict_json.parse(text, where, fix)


def exists(uri: str) -> bool:
    """Whether there is a file or folder at a local path or fsspec URI."""
    fs, path = file_system(uri)
    return bool(fs.exists(path))


def write_text(uri: str, text: str) -> None:
    """Writes a UTF-8 file; see `write_bytes`."""
    write_bytes(uri, text.encode("utf-8"))


def write_bytes(uri: str, content: bytes) -> None:
    """Writes a whole file at once. A reader sees the old content or the new, and so does the disk after a crash.

    Creates missing parent folders, and removes what killed writers of the same file left there more than an hour ago.
    On object stores a single put is already atomic. A local OSError names the path.
    """
    from fsspec.implementations.local import LocalFileSystem

    fs, path = file_system(uri)
    if not isinstance(fs, LocalFileSystem):
        fs.pipe_file(path, content)
        return
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_temporaries(target, older_than=_ABANDONED_SECONDS)
    temporary = Path(temporary_path(path))
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except OSError as error:
        error.filename = path  # a failed write names no file, a failed rename the temporary one
        raise
    finally:
        temporary.unlink(missing_ok=True)
    fsync_folder(target.parent)


def make_writable(folder: str, name: str) -> None:
    """Creates an output folder, before any long work.

    Args:
      folder: a local path or fsspec URI.
      name: the file of the folder that a probe, which a killed process may leave, counts as an unfinished copy of.

    Raises:
      InputError: it cannot be created or written, or file systems would take its name for a pattern.
    """
    fs, root = file_system(folder)
    if any(character in root for character in "*?["):
        raise InputError(f"{folder}: file systems take '*', '?' and '[' for patterns; choose another output folder")
    probe = temporary_path(f"{root.rstrip('/')}/{name}")
    try:
        fs.makedirs(root, exist_ok=True)
        fs.pipe_file(probe, b"")
        fs.rm_file(probe)
    except refusals() as error:
        raise InputError(f"{folder}: cannot be written ({reason(error)}); choose another output folder") from error


def temporary_path(path: str) -> str:
    """A new hidden name next to `path` (a path or URI), for content that is not complete yet."""
    folder, slash, name = path.rpartition("/")
    return f"{folder}{slash}.{name}.tmp-{uuid.uuid4().hex}"


def remove_temporaries(target: Path, *, older_than: float) -> None:
    """Removes the temporary files that killed writers of a local file left next to it.

    Args:
      target: the file.
      older_than: seconds since a temporary file was last written; 0 if no other process can be writing the file now.
    """
    start, now = f".{target.name}.tmp-", time.time()
    with os.scandir(target.parent) as entries:
        for entry in entries:
            if not entry.name.startswith(start):
                continue
            with contextlib.suppress(FileNotFoundError):  # its writer has just renamed it
                if now - entry.stat(follow_symlinks=False).st_mtime >= older_than:
                    os.unlink(entry.path)


def final_name(name: str) -> str:
    """The name that a temporary file would have got, had its writer not been killed; other names are unchanged."""
    found = _TEMPORARY.fullmatch(name)
    return found[1] if found else name


def fsync_folder(folder: Path) -> None:
    """Makes a rename inside a local folder survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
