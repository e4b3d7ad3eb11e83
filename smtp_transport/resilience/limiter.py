"""So many in any window of time, exactly.

Law: what is reserved is taken. The moments that were given lie so that from each one to the last but `most` before it
there is a whole window; those who wait are served in turn, each at a moment that it knows from the beginning.
"""

import threading
from collections import deque
from collections.abc import Callable

from smtp_transport.errors import ErrorKind, RateLimitError


class RateLimiter:
    """Gives out moments, `most` in any `window` seconds. `what` is counted, in words. Safe for threads."""

    def __init__(self, most: int, window: float, clock: Callable[[], float], what: str) -> None:
        self._most = most
        self._window = window
        self._clock = clock
        self._what = what
        self._moments: deque[float] = deque(maxlen=most)  # they only grow; the last may lie ahead
        self._lock = threading.RLock()  # a signal handler may send a mail while its thread is in here

    def take(self, wanted: int) -> int:
        """Take as many as may go now, up to so many."""
        with self._lock:
            now, taken = self._clock(), 0
            while taken < wanted and self._next(now) <= now:
                self._moments.append(now)
                taken += 1
        return taken

    def reserve(self, patience: float) -> float:
        """Take one, and tell when it may go, by the clock.

        Raises `RateLimitError` if that is more than `patience` seconds away; then nothing is taken.
        """
        with self._lock:
            now = self._clock()
            moment = self._next(now)
            if moment - now <= patience:
                self._moments.append(moment)
                return moment
        limit = f"the limit of {self._most} {self._what} in {self._window:g} s is reached"
        told = f"{limit}; there is room in {moment - now:.1f} s"
        raise RateLimitError(told, ErrorKind.LOCAL_RATE_LIMIT_EXCEEDED)

    def _next(self, now: float) -> float:
        is_full = len(self._moments) == self._most
        return max(now, self._moments[0] + self._window) if is_full else now
