"""File systems of paths and URIs, and one-line messages for when they refuse. Imports fsspec on first use; no Beam."""

import logging
import sys
from typing import Any

from beam_preprocess.base.errors import InputError

_CREDENTIALS = "check the address, and the account you are signed in with (gcloud auth application-default login)"


def file_system(uri: str) -> tuple[Any, str]:
    """The file system of a path or URI, and the path within it.

    Raises:
      InputError: the scheme is unknown, its package is not installed, or it is not a URI.
    """
    from urllib.parse import urlsplit

    import fsspec

    gcsfs = logging.getLogger("gcsfs")
    if gcsfs.level != logging.CRITICAL:  # setting it clears the caches of all loggers
        gcsfs.setLevel(logging.CRITICAL)  # it also logs a traceback of everything that it raises
    try:
        if "://" in uri:
            urlsplit(uri)  # file systems find out late, and say it in their own ways
        fs, path = fsspec.core.url_to_fs(uri)
    except (ImportError, ValueError) as error:
        raise InputError(f"{uri}: no file system for it ({reason(error)}); give a local path or gs://...") from error
    return fs, path


def refusals() -> tuple[type[Exception], ...]:
    """What a file system raises when it does not do what it was asked: no permission, no such bucket, no answer.

    For an `except` clause. Python calls this only once something was raised, so gcsfs is never imported for it.
    """
    if "gcsfs" not in sys.modules:
        return (OSError,)
    from aiohttp.client_exceptions import ClientError
    from gcsfs.retry import HttpError  # type: ignore[import-untyped]
    from google.auth.exceptions import GoogleAuthError

    return OSError, HttpError, ClientError, GoogleAuthError


def reason(error: Exception) -> str:
    """The error's reason, in one line."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())


def refused(uri: str, error: Exception) -> InputError:
    """The input error for one of `refusals` that has no better message."""
    fix = _CREDENTIALS if "://" in uri else "check the path"
    return InputError(f"{uri}: cannot be read ({reason(error)}); {fix}")


def absolute(uri: str) -> str:
    """The path or URI in the form that Beam's file systems take: local paths are absolute and have no scheme."""
    from fsspec.implementations.local import LocalFileSystem

    fs, path = file_system(uri)
    return path if isinstance(fs, LocalFileSystem) else str(fs.unstrip_protocol(path))


def listing(fs: Any, folder: str) -> list[dict[str, Any]]:
    """The current entries of a folder. A bucket's file system caches listings, and has no folders without objects."""
    fs.invalidate_cache(folder)
    try:
        return list(fs.ls(folder, detail=True))
    except FileNotFoundError:
        return []
