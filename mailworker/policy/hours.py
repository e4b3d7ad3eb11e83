"""Sending hours: when a lane may send, e.g. "mon-fri 08:00-20:00", in a time zone."""

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from zoneinfo import ZoneInfo

_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_HOURS: Final = re.compile(
    r"(?:(?P<days>[a-z]{3}(?:-[a-z]{3})?(?:,[a-z]{3}(?:-[a-z]{3})?)*)\s+)?"
    r"(?P<begin>[0-2]\d:[0-5]\d)-(?P<end>[0-2]\d:[0-5]\d)"
)
_LONGEST_LOOK: Final = 9  # days: a week, and what a change of the clocks may add


@dataclass(frozen=True, slots=True)
class Hours:
    """A span of minutes of the day, on some weekdays (0: Monday). One that ends before it begins ends the next day."""

    days: frozenset[int]
    begin: int
    end: int

    @classmethod
    def parse(cls, text: str) -> "Hours":
        """Read one span: "mon-fri 08:00-20:00", "22:00-06:00". Raises ValueError that shows how it is written."""
        found = _HOURS.fullmatch(text.strip().lower())
        begin, end = (_minutes(found["begin"]), _minutes(found["end"])) if found else (None, None)
        days = _days(found["days"]) if found else None
        if begin is None or end is None or days is None or begin in (end, 24 * 60):
            raise ValueError(f"{text!r} are no hours; write e.g. 'mon-fri 08:00-20:00', 'sat,sun 10:00-24:00'")
        return cls(days, begin, end)

    def __str__(self) -> str:
        days = ",".join(_DAYS[day] for day in sorted(self.days))
        return f"{days} {self.begin // 60:02}:{self.begin % 60:02}-{self.end // 60:02}:{self.end % 60:02}"

    def on(self, day: dt.date, zone: ZoneInfo) -> tuple[dt.datetime, dt.datetime] | None:
        """Give the span that begins on this day, in UTC; None if none does."""
        if day.weekday() not in self.days:
            return None
        following = day + dt.timedelta(days=self.end <= self.begin)
        return _moment(day, self.begin, zone), _moment(following, self.end, zone)


def wait_seconds(hours: Sequence[Hours], zone: ZoneInfo, now: dt.datetime) -> float:
    """Tell how long until a lane with these hours may send; 0 if it may now, or has no hours."""
    if not hours:
        return 0.0
    today = now.astimezone(zone).date()
    spans = [
        span
        for offset in range(-1, _LONGEST_LOOK)
        for each in hours
        if (span := each.on(today + dt.timedelta(days=offset), zone)) and span[1] > now
    ]
    return max(0.0, (min(begin for begin, _ in spans) - now).total_seconds())


def _moment(day: dt.date, minutes: int, zone: ZoneInfo) -> dt.datetime:
    more, rest = divmod(minutes, 24 * 60)
    local = dt.datetime.combine(day + dt.timedelta(days=more), dt.time(rest // 60, rest % 60), zone)
    return local.astimezone(dt.UTC)


def _minutes(text: str) -> int | None:
    hour, minute = map(int, text.split(":"))
    total = hour * 60 + minute
    return total if total <= 24 * 60 else None


def _days(text: str | None) -> frozenset[int] | None:
    if text is None:
        return frozenset(range(7))
    days: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        if first not in _DAYS or (last and last not in _DAYS):
            return None
        begin, end = _DAYS.index(first), _DAYS.index(last or first)
        days |= {day % 7 for day in range(begin, (end if end >= begin else end + 7) + 1)}
    return frozenset(days)
