"""Paths and URIs: their file systems, and what to tell when one refuses. fsspec; no Beam."""

import logging
import sys
from typing import Any

import fsspec

from beam_preprocess.base.errors import InputError

_CREDENTIALS = "check the address, and who you are signed in as (gcloud auth application-default login)"


def file_system(uri: str) -> tuple[Any, str]:
    """The file system of a path or URI, and the path in it.

    Raises:
      InputError: a scheme that isn't known, or whose package isn't installed.
    """
    logging.getLogger("gcsfs").setLevel(logging.CRITICAL)  # it prints a traceback of what it raises as well
    try:
        fs, path = fsspec.core.url_to_fs(uri)
    except (ImportError, ValueError) as error:
        raise InputError(f"{uri}: no file system for it ({reason(error)}); give a local path or gs://...") from error
    return fs, path


def refusals() -> tuple[type[Exception], ...]:
    """What a file system raises when it is asked for what it doesn't give: no rights, no such bucket, no answer.

    For an `except` clause, which calls this when something was raised: importing gcsfs for it alone would take a
    while.
    """
    if "gcsfs" not in sys.modules:
        return (OSError,)
    from aiohttp.client_exceptions import ClientError
    from gcsfs.retry import HttpError  # type: ignore[import-untyped]
    from google.auth.exceptions import GoogleAuthError

    return OSError, HttpError, ClientError, GoogleAuthError


def reason(error: Exception) -> str:
    """Why, in one line."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())


def refused(uri: str, error: Exception) -> InputError:
    """The input error for one of `refusals` that has no better message."""
    fix = _CREDENTIALS if "://" in uri else "check the path"
    return InputError(f"{uri}: can't be read ({reason(error)}); {fix}")
