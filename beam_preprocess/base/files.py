"""Reading and writing small files at any URI: whole or not at all. fsspec is imported on first use."""

import json
import os
import uuid
from pathlib import Path
from typing import Any

from beam_preprocess.base.errors import InputError


def read_bytes(uri: str, fix: str) -> bytes:
    """The content of a file.

    Args:
      uri: a local path or any fsspec URI.
      fix: what the user can do when the file cannot be read, for the message.

    Raises:
      InputError: missing or not readable.
    """
    import fsspec

    try:
        with fsspec.open(uri, "rb") as file:
            return bytes(file.read())
    except FileNotFoundError as error:
        raise InputError(f"{uri}: no such file; {fix}") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{uri}: cannot be read ({_one_line(error)}); {fix}") from error


def read_text(uri: str, fix: str) -> str:
    """The content of a UTF-8 file.

    Raises:
      InputError: missing, not readable or not UTF-8.
    """
    try:
        return read_bytes(uri, fix).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{uri}: cannot be read ({_one_line(error)}); {fix}") from error


def read_json(uri: str, fix: str) -> Any:
    """Parses a JSON file. Python's NaN and Infinity are accepted: it is the gate that judges them.

    Raises:
      InputError: missing, not readable or not JSON.
    """
    return parse_json(read_text(uri, fix), uri, fix)


def parse_json(text: str, where: str, fix: str) -> Any:
    """Parses JSON text.

    Raises:
      InputError: not JSON.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{where}: not JSON ({error}); {fix}") from error


def write_text(uri: str, text: str) -> None:
    """Writes a UTF-8 file, see `write_bytes`."""
    write_bytes(uri, text.encode("utf-8"))


def write_bytes(uri: str, content: bytes) -> None:
    """Writes a file so that a reader sees the old content or the new one, and a crash leaves one of them.

    Missing parent folders are made. On object stores a single put is already all or nothing.
    """
    import fsspec
    from fsspec.implementations.local import LocalFileSystem

    filesystem, path = fsspec.core.url_to_fs(uri)
    if not isinstance(filesystem, LocalFileSystem):
        filesystem.pipe_file(path, content)
        return
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.tmp-{uuid.uuid4().hex}")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    fsync_folder(target.parent)


def fsync_folder(folder: Path) -> None:
    """Makes a rename inside a local folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
