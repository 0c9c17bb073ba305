"""--since: ages, dates and times; images by the time of their files, here and in a bucket's file system."""

import os
from datetime import UTC, datetime
from pathlib import Path

import fsspec
import pytest

from beam_preprocess.base.errors import InputError
from trainer.watch.since import newer, parse_since

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("7d", datetime(2026, 11, 19, 12, tzinfo=UTC)),
        ("12h", datetime(2026, 11, 26, 0, tzinfo=UTC)),
        ("1.5w", datetime(2026, 11, 16, 0, tzinfo=UTC)),
        ("2026-11-01", datetime(2026, 11, 1, tzinfo=UTC)),
        ("2026-11-01T06:30", datetime(2026, 11, 1, 6, 30, tzinfo=UTC)),
        ("2026-11-01T06:30:00+02:00", datetime(2026, 11, 1, 4, 30, tzinfo=UTC)),
    ],
)
def test_times(text: str, expected: datetime) -> None:
    assert parse_since(text, NOW) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("yesterday", "--since yesterday: give a date"),
        ("7", "give a date"),
        ("2026-13-01", "give a date"),
        ("999999999w", "give a date"),
        ("2026-11-27", "is in the future; it is 2026-11-26 12:00 UTC"),
    ],
)
def test_other_texts_are_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_since(text, NOW)


def test_files_on_disk(tmp_path: Path) -> None:
    for day in (1, 5, 9):
        path = tmp_path / f"{day}.jpg"
        path.write_bytes(b"x")
        time = datetime(2026, 11, day, tzinfo=UTC).timestamp()
        os.utime(path, (time, time))
    names = ["1.jpg", "5.jpg", "9.jpg"]
    assert newer(str(tmp_path), names, datetime(2026, 11, 4, tzinfo=UTC)) == ["5.jpg", "9.jpg"]
    with pytest.raises(
        InputError, match=r"none of the 3 images in .* is newer than 2026-11-10 .* newest is of 2026-11-09"
    ):
        newer(str(tmp_path), names, datetime(2026, 11, 10, tzinfo=UTC))


def test_objects_of_a_file_system() -> None:
    fs = fsspec.filesystem("memory")
    fs.pipe_file("/since/a/1.jpg", b"x")
    assert newer("memory://since", ["a/1.jpg"], NOW.replace(year=2000)) == ["a/1.jpg"]
    with pytest.raises(InputError, match="none of the 1 images"):
        newer("memory://since", ["a/1.jpg"], NOW.replace(year=2200))
