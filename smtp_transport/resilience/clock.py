"""Time as the safeguards need it: what it is, and waiting for it."""

import threading
import time
from typing import Final, Protocol

_LONGEST_WAIT: Final = 3_600.0
"""Seconds. A lock waits no longer than a bound of the machine; whoever waits looks at the clock again anyway."""


class Clock(Protocol):
    """Gives seconds that only grow."""

    def __call__(self) -> float:
        """What time it is."""
        ...

    def wait(self, seconds: float, /) -> bool:
        """Let so many seconds pass, or fewer; True at once if there is nothing to wait for any more."""
        ...

    def end(self) -> None:
        """Have nobody wait any longer."""
        ...


class ProcessClock:
    """The clock of one process."""

    def __init__(self) -> None:
        self._ended = threading.Event()

    def __call__(self) -> float:
        """What time it is."""
        return time.monotonic()

    def wait(self, seconds: float, /) -> bool:
        """Let so many seconds pass, or fewer; True at once after `end`."""
        return self._ended.wait(min(seconds, _LONGEST_WAIT))

    def end(self) -> None:
        """Have nobody wait any longer."""
        self._ended.set()
