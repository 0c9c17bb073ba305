"""`--since`: which images are newer than a date, a time or an age."""

import os
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.storage import file_system, refusals, refused

_AGE = re.compile(r"(\d+(?:\.\d+)?)([mhdw])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_KEYS = ("mtime", "LastModified", "last_modified", "updated", "created")
"""Where file systems put an object's time of modification, the best first."""


class NothingNewer(InputError):
    """No image is newer. A watch that a schedule starts does not fail: it has nothing to tell."""


def parse_since(text: str, now: datetime | None = None) -> datetime:
    """The time that `--since` means, in UTC.

    Args:
      text: an age ("7d", "12h", "30m", "2w"), a date, or a time (ISO 8601; UTC without a zone).
      now: the current time.

    Raises:
      InputError: none of these, or in the future.
    """
    now = now or datetime.now(UTC)
    try:
        if age := _AGE.fullmatch(text.strip()):
            found = now - timedelta(**{_UNITS[age[2]]: float(age[1])})
        else:
            given = datetime.fromisoformat(text.strip())
            found = given.replace(tzinfo=given.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InputError(
            f"--since {text}: give a date (2026-11-01), a time (2026-11-01T06:00) or an age (7d)"
        ) from error
    if found > now:
        raise InputError(f"--since {text}: is in the future; it is {now:%Y-%m-%d %H:%M} UTC")
    return found


def newer(folder: str, names: Sequence[str], since: datetime) -> list[str]:
    """The images whose files were modified after a time.

    Args:
      folder: path or URI.
      names: their names below it.
      since: the time.

    Raises:
      NothingNewer: none was.
      InputError: the folder can't be read.
    """
    times = list(_times(folder, names))
    found = [name for name, time in zip(names, times, strict=True) if time > since]
    if not found:
        raise NothingNewer(
            f"--since: none of the {len(names)} images in {folder} is newer than {since:%Y-%m-%d %H:%M} UTC; the "
            f"newest is of {max(times):%Y-%m-%d %H:%M}"
        )
    return found


def _times(folder: str, names: Sequence[str]) -> Iterator[datetime]:
    if "://" not in folder:
        for name in names:
            yield datetime.fromtimestamp(os.stat(os.path.join(folder, name)).st_mtime, UTC)
        return
    fs, root = file_system(folder)
    try:
        entries: dict[str, dict[str, Any]] = fs.find(root, detail=True)  # one request per thousand objects
        for name in names:
            path = f"{root.rstrip('/')}/{name}"
            entry = entries.get(path, {})
            time = next((entry[key] for key in _KEYS if entry.get(key)), None)
            yield _utc(fs.modified(path) if time is None else time)
    except refusals() as error:
        raise refused(f"--images {folder}", error) from error


def _utc(time: Any) -> datetime:
    if isinstance(time, int | float):
        return datetime.fromtimestamp(time, UTC)
    found = datetime.fromisoformat(time) if isinstance(time, str) else time
    return found.replace(tzinfo=found.tzinfo or UTC).astimezone(UTC)
