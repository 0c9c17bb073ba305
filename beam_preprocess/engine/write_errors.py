"""What keeps a job from reading or writing its files, in one line instead of Beam's tracebacks."""

import errno
import logging
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from typing import Any

from beam_preprocess.base.errors import Failure, InputError
from beam_preprocess.base.storage import reason

_NUMBER = re.compile(r"\[Errno (\d+)\]|\b\w+Error\((\d+), ['\"]")
"""How the text of an OSError names its number: Beam passes on an error of its workers as text."""
_FULL = (errno.ENOSPC, errno.EDQUOT)
_LOG = "apache_beam"


class WriteError(Failure):
    """A file of the job cannot be read or written; the output folder has no manifest, so nobody takes it for ready."""


@contextmanager
def as_write_error(output: str, again: str = "start over") -> Iterator[None]:
    """Turns an error of a file system, also of a worker's, into one line, and keeps Beam from logging it.

    Args:
      output: the job's output folder, for the message.
      again: what the same command does when it is run again, likewise.

    Raises:
      WriteError: that line.
    """
    # A handler, because Beam creates loggers while it runs and a filter does not apply to the loggers below.
    logger, handler = logging.getLogger(_LOG), _WithoutFiles()
    propagate = logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        with redirect_stderr(QuietStream(sys.stderr)):
            yield
    except (Failure, InputError):
        raise
    except Exception as error:
        number = _number(error)
        if number is None and not isinstance(error, OSError):
            raise
        found = os.strerror(number).lower() if number else reason(error)
        fix = {errno.ENOENT: "was the folder removed? "}.get(number or 0, "")
        fix = "free some and " if number in _FULL else fix
        raise WriteError(f"{output}: {found}; {fix}rerun the same command to {again}") from error
    finally:
        logger.propagate = propagate
        logger.removeHandler(handler)


class _WithoutFiles(logging.Handler):
    """Passes records on to the root logger, except those about an error of a file system."""

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage() + (str(record.exc_info[1]) if record.exc_info else "")
        if not _NUMBER.search(text):
            logging.getLogger().callHandlers(record)


class QuietStream:
    """Standard error without the tracebacks that Beam prints there for an error of a file system."""

    def __init__(self, stream: Any) -> None:
        self._stream, self._dropped = stream, False

    def write(self, text: str) -> int:
        """Writes the text, unless it is such a traceback. Beam prints one in a single call."""
        if not ("Traceback" in text and _NUMBER.search(text)) and not (self._dropped and text == "\n"):
            self._dropped = False
            return int(self._stream.write(text))
        self._dropped = True
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _number(error: BaseException) -> int | None:
    """The number of the error that a file system reported, anywhere in a chain or text; None if there is none."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno:
            return seen.errno
        if found := _NUMBER.search(str(seen)):
            return int(found[1] or found[2])
        seen = seen.__cause__ or seen.__context__
    return None
