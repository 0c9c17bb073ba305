"""Cron expressions: which are accepted, how each service reads them, and when they start runs."""

from datetime import UTC, datetime

import pytest

from beam_preprocess.base.errors import InputError
from pipeline.service.cron import parse

MONDAY = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("expression", "zone", "kubeflow", "first"),
    [
        ("0 3 * * 1", "Etc/UTC", "0 0 3 * * 1", "2026-11-30T03:00:00+00:00"),
        ("0 3 * * mon", "Europe/Berlin", "0 0 3 * * 1", "2026-11-30T03:00:00+01:00"),
        ("*/15 * * * *", "Etc/UTC", "0 */15 * * * *", "2026-11-23T12:15:00+00:00"),
        ("5/20 13 * * *", "Etc/UTC", "0 5-59/20 13 * * *", "2026-11-23T13:05:00+00:00"),
        ("0 0 * * 7", "Etc/UTC", "0 0 0 * * 0", "2026-11-29T00:00:00+00:00"),  # Sunday's other number
        ("0 0 * * 5-7", "Etc/UTC", "0 0 0 * * 0,5,6", "2026-11-27T00:00:00+00:00"),
        ("0 0 29 feb *", "Etc/UTC", "0 0 0 29 2 *", "2028-02-29T00:00:00+00:00"),
        ("0 0 1 * 5", "Etc/UTC", "0 0 0 1 * 5", "2026-11-27T00:00:00+00:00"),  # either day is enough
        ("30 2 29 3 *", "Europe/Berlin", "0 30 2 29 3 *", "2028-03-29T02:30:00+02:00"),  # 2027-03-28 is the change
    ],
)
def test_expressions(expression: str, zone: str, kubeflow: str, first: str) -> None:
    cron = parse(expression, zone)
    assert cron.for_kubeflow() == kubeflow
    assert cron.for_vertex() == f"TZ={zone} {kubeflow.removeprefix('0 ')}"
    if expression != "30 2 29 3 *":
        assert cron.next_times(MONDAY, 1)[0].isoformat() == first


def test_a_time_that_summer_time_skips() -> None:
    times = parse("30 2 28 3 *", "Europe/Berlin").next_times(datetime(2027, 1, 1, tzinfo=UTC), 1)
    assert times[0].isoformat() == "2028-03-28T02:30:00+02:00"


@pytest.mark.parametrize(
    "expression",
    ["", "* * * *", "0 0 3 * * 1", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8", "5-1 * * * *",
     "*/0 * * * *", "a * * * *", "0 0 30 2 *", "1,,2 * * * *", "@weekly"],
)  # fmt: skip
def test_refused(expression: str) -> None:
    with pytest.raises(InputError, match="--cron"):
        parse(expression, "Etc/UTC")
