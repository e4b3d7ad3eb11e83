"""Warming up: a relay's daily caps while its reputation grows."""

import datetime as dt
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WarmUp:
    """The first day of a relay, and how many mails each of its first days may carry; later days carry what they can."""

    start: dt.date
    daily: tuple[int, ...]

    def __post_init__(self) -> None:
        """Refuse caps that are none, or that shrink."""
        if not self.daily or min(self.daily) < 1:
            raise ValueError("a warm-up needs at least one day, and each day at least one mail")
        if list(self.daily) != sorted(self.daily):
            raise ValueError("the daily caps of a warm-up never shrink")

    def cap_on(self, day: dt.date) -> int | None:
        """Tell how many mails this day may carry; None once the relay is warm. Before the first day: as on it."""
        place = max(0, (day - self.start).days)
        return self.daily[place] if place < len(self.daily) else None
