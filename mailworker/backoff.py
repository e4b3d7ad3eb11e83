"""When to try again: a pure function of how often it was tried.

First a few quick retries, doubling, for what heals by itself (greylisting, a busy server); then minutes to hours, up
to a day. Every wait is half fixed, half random, so that mails deferred together do not come back together. A server
that asks for time gets it, within bounds, and up to a tenth more, for the same reason.
"""

from dataclasses import dataclass
from typing import Protocol


class Interval(Protocol):
    """Celery's `get_exponential_backoff_interval`: min(maximum, factor * 2**retries), in the caller's unit."""

    def __call__(self, factor: int, retries: int, maximum: int, full_jitter: bool = False) -> int:  # noqa: FBT001, FBT002 - Celery's signature
        """Give the interval, random between 0 and it if `full_jitter`."""
        ...


@dataclass(frozen=True, slots=True)
class Backoff:
    """A retry schedule; all times in milliseconds."""

    interval: Interval
    quick_retries: int = 3
    quick_first_ms: int = 500
    quick_max_ms: int = 30_000
    slow_first_ms: int = 60_000
    slow_max_ms: int = 86_400_000
    asked_min_ms: int = 1000
    asked_max_ms: int = 86_400_000

    def wait_ms(self, attempts: int, asked_seconds: float | None = None) -> int:
        """The wait after attempt number `attempts` (from 1): not less than the server asked for, within the bounds."""
        retry = max(attempts, 1) - 1
        if retry < self.quick_retries:
            wait = self._jittered(self.quick_first_ms, retry, self.quick_max_ms)
        else:
            wait = self._jittered(self.slow_first_ms, retry - self.quick_retries, self.slow_max_ms)
        return wait if asked_seconds is None else max(wait, self._asked(asked_seconds))

    def _asked(self, seconds: float) -> int:
        """What a server asks for is a hint: not believed beyond the bounds."""
        asked = min(max(int(seconds * 1000), self.asked_min_ms), self.asked_max_ms)
        tenth = max(asked // 10, 1)
        return asked + self.interval(tenth, 0, tenth, full_jitter=True)

    def _jittered(self, first: int, retries: int, maximum: int) -> int:
        # 2**retries would be a huge number after many attempts; 32 doublings exceed every bound.
        retries = min(retries, 32)
        half, bound = max(first // 2, 1), max(maximum // 2, 1)
        return self.interval(half, retries, bound) + self.interval(half, retries, bound, full_jitter=True)
