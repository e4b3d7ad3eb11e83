"""Rates as people write them: "14/s", "100 recipients/min", "50000/day burst 200"."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

_WINDOWS: Final = {"s": 1, "sec": 1, "second": 1, "m": 60, "min": 60, "minute": 60, "h": 3600, "hour": 3600, "d": 86400}
_WINDOWS_LONG: Final = {"day": 86400}
_RATE: Final = re.compile(
    r"(?P<limit>\d{1,9})(?:\s+(?P<unit>mails?|recipients?))?\s*/\s*(?P<times>\d{1,4})?\s*(?P<window>[a-z]+)"
    r"(?:\s+burst\s+(?P<burst>\d{1,9}))?"
)
_DOMAIN: Final = re.compile(r"\*|[a-z0-9.-]{1,253}")
_NAMES: Final = {1: "s", 60: "min", 3600: "h", 86400: "day"}


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `limit` mails, or recipients, in any window of so many seconds; `burst` at once (0: all of them)."""

    limit: int
    window_seconds: int
    of_recipients: bool = False
    burst: int = 0

    @classmethod
    def parse(cls, text: str) -> "Rate":
        """Read one rate. Raises ValueError that shows how one is written."""
        found = _RATE.fullmatch(text.strip().lower())
        seconds = found and (_WINDOWS | _WINDOWS_LONG).get(found["window"])
        if not found or not seconds:
            raise ValueError(f"{text!r} is no rate; write e.g. '14/s', '100 recipients/min' or '50000/day burst 200'")
        limit, burst = int(found["limit"]), int(found["burst"] or 0)
        window = seconds * int(found["times"] or 1)
        if limit < 1 or window < 1 or burst > limit:
            raise ValueError(f"{text!r} allows nothing: a limit is at least 1, and its burst at most the limit")
        return cls(limit, window, (found["unit"] or "").startswith("recipient"), burst)

    def __str__(self) -> str:
        unit = " recipients" if self.of_recipients else ""
        size = next(size for size in sorted(_NAMES, reverse=True) if self.window_seconds % size == 0)
        times = self.window_seconds // size
        burst = f" burst {self.burst}" if self.burst else ""
        return f"{self.limit}{unit}/{times if times > 1 else ''}{_NAMES[size]}{burst}"


@dataclass(frozen=True, slots=True)
class DomainRate:
    """A rate for each recipient domain of its own, or for one: `domain` is `*` or a domain, in lower case."""

    domain: str
    rate: Rate

    @classmethod
    def parse(cls, text: str) -> "DomainRate":
        """Read e.g. "gmail.com 20/s" or "* 100/min". Raises ValueError that shows how it is written."""
        domain, _, rate = text.strip().lower().partition(" ")
        if not rate or not _DOMAIN.fullmatch(domain):
            raise ValueError(f"{text!r} limits no domain; write e.g. 'gmail.com 20/s' or '* 100/min'")
        return cls(domain, Rate.parse(rate))

    def __str__(self) -> str:
        return f"{self.domain} {self.rate}"

    def fits(self, domain: str) -> bool:
        """Whether it is about this domain, given in lower case."""
        return self.domain in {"*", domain}


_Rates = TypeVar("_Rates", bound=Sequence[Rate] | Sequence[DomainRate])


def no_window_twice(rates: _Rates) -> _Rates:
    """Give the rates back. Raises ValueError where two count the same, so that a mail would count twice in one."""
    seen: dict[tuple[str, int, bool], Rate | DomainRate] = {}
    for each in rates:
        domain, rate = (each.domain, each.rate) if isinstance(each, DomainRate) else ("", each)
        other = seen.setdefault((domain, rate.window_seconds, rate.of_recipients), each)
        if other is not each:
            raise ValueError(f"'{other}' and '{each}' count the same in the same time; keep the smaller one")
    return rates
