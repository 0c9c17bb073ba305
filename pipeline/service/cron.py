"""Cron expressions with five fields: checks them, writes them for Vertex AI and Kubeflow, computes the next times.

minute hour day-of-month month day-of-week      0 3 * * 1      Mondays at 3
"""

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo, available_timezones

from beam_preprocess.base.errors import InputError

UTC_NAME = "Etc/UTC"

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of month", 1, 31, {}),
    ("month", 1, 12, {name: number for number, name in enumerate(_MONTHS, 1)}),
    ("day of week", 0, 7, {name: number for number, name in enumerate(_DAYS)}),
)
_HORIZON_DAYS = 366 * 8
"""29 February is at most eight years away; a day that doesn't occur until then never occurs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cron:
    """The times at which a schedule starts runs."""

    fields: tuple[str, ...]
    """Normalized: only numbers, Sunday is 0."""
    time_zone: str
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    """0 is Sunday."""

    @property
    def expression(self) -> str:
        return " ".join(self.fields)

    def for_vertex(self) -> str:
        """The time zone, then five fields."""
        return f"TZ={self.time_zone} {self.expression}"

    def for_kubeflow(self) -> str:
        """Six fields, seconds first.

        The API has no field for a time zone. The installation's applies: CRON_SCHEDULE_TIMEZONE of its scheduled
        workflow controller, by default UTC.
        """
        return f"0 {self.expression}"

    def next_times(self, after: datetime, count: int) -> list[datetime]:
        """The next times after a moment, in the schedule's time zone.

        A local time that the change to summer time skips does not occur.
        """
        return list(islice(self._times(after), count))

    def _times(self, after: datetime) -> Iterator[datetime]:
        zone = ZoneInfo(self.time_zone)
        day = after.astimezone(zone).date()
        for _ in range(_HORIZON_DAYS):
            if self._on(day.day, day.month, day.isoweekday() % 7):
                for hour in sorted(self.hours):
                    for minute in sorted(self.minutes):
                        moment = datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone)
                        exists = moment.astimezone(UTC).astimezone(zone).replace(tzinfo=zone) == moment
                        if exists and moment > after:
                            yield moment
            day += timedelta(days=1)

    def _on(self, day: int, month: int, weekday: int) -> bool:
        """Cron's rule: if both day fields are restricted, either is enough."""
        if month not in self.months:
            return False
        by_day, by_weekday = day in self.days, weekday in self.weekdays
        if self.fields[2].startswith("*") or self.fields[4].startswith("*"):
            return by_day and by_weekday
        return by_day or by_weekday


@functools.cache
def _time_zones() -> frozenset[str]:
    return frozenset(available_timezones())  # reads hundreds of files


def parse(expression: str, time_zone: str) -> Cron:
    """Reads a cron expression.

    Raises:
      InputError: not five fields, a value out of range, an unknown time zone, or a day that never occurs.
    """
    if time_zone not in _time_zones():
        raise InputError(f"--time-zone {time_zone}: unknown; give an IANA name such as Europe/Berlin, or Etc/UTC")
    texts = expression.split()
    if len(texts) != len(_FIELDS):
        raise InputError(
            f"--cron {expression!r}: has {len(texts)} fields, needs 5: minute hour day-of-month month day-of-week "
            '("0 3 * * 1" is Mondays at 3)'
        )
    normalized, values = [], []
    for text, (name, low, high, names) in zip(texts, _FIELDS, strict=True):
        plain, numbers = _field(text, name, low, high, names, expression)
        normalized.append(plain)
        values.append(numbers)
    cron = Cron(
        fields=tuple(normalized),
        time_zone=time_zone,
        minutes=values[0],
        hours=values[1],
        days=values[2],
        months=values[3],
        weekdays=frozenset(number % 7 for number in values[4]),
    )
    if not cron.next_times(datetime.now(UTC), 1):
        raise InputError(f"--cron {expression!r}: never occurs; there is no such day")
    return cron


def split(text: str) -> tuple[str, str]:
    """Five fields and the time zone ("" if there is none) from the text of `for_vertex` or `for_kubeflow`."""
    found = re.fullmatch(r"(?:(?:CRON_)?TZ=(\S+) +)?(.*)", text)
    assert found is not None
    return " ".join(found[2].split()[-len(_FIELDS) :]), found[1] or ""


def _field(
    text: str, name: str, low: int, high: int, names: dict[str, int], expression: str
) -> tuple[str, frozenset[int]]:
    """One field as normalized text and as numbers."""
    parts, numbers = [], set()
    for part in text.lower().split(","):
        found = re.fullmatch(r"(\*|(\w+)(?:-(\w+))?)(?:/(\d+))?", part)
        if not found:
            raise InputError(f"--cron {expression!r}: {name} {part!r} is not *, a number, a-b, */n or a list of them")
        first, last = low, high
        if found[2]:
            first = _number(found[2], name, low, high, names, expression)
            last = _number(found[3], name, low, high, names, expression) if found[3] else first
            if found[4] and not found[3]:
                last = high
        step = int(found[4] or 1)
        if first > last or step < 1:
            raise InputError(f"--cron {expression!r}: {name} {part!r} is empty; write the smaller number first")
        if name == "day of week" and last == 7:
            # Sunday is 0 in every dialect of cron and 7 only in some, so ranges with 7 are written out.
            days = sorted({number % 7 for number in range(first, (6 if found[1] == "*" else 7) + 1, step)})
            part = "*" if part == "*" else ",".join(map(str, days))
            numbers |= set(days)
        else:
            numbers |= set(range(first, last + 1, step))
            part = _plain(found, first, last, high)
        parts.append(part)
    return ",".join(parts), frozenset(numbers)


def _plain(found: "re.Match[str]", first: int, last: int, high: int) -> str:
    if not found[2]:
        return found[0]
    text = str(first)
    if found[3]:
        text += f"-{last}"
    elif found[4]:
        text += f"-{high}"
    return f"{text}/{found[4]}" if found[4] else text


def _number(text: str, name: str, low: int, high: int, names: dict[str, int], expression: str) -> int:
    number = names[text] if text in names else int(text) if text.isdecimal() else None
    if number is None or not low <= number <= high:
        raise InputError(f"--cron {expression!r}: {name} {text!r} is not within {low} to {high}")
    return number
