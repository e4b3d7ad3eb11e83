"""As many links at once as a slow relay asks for, in one process.

Law: a relay that answers quickly is served by one link, for which no thread is started. Where replies take long while
mails wait, others drain the same lane beside the first, each over a link and in a thread of its own, as far as the
relay allows connections. All of them end with the slice.
"""

import math
import threading
import time
from collections.abc import Callable

from mailworker.delivery import Drain
from mailworker.ledger import LedgerError
from mailworker.log import logger
from mailworker.settings import MOST_SLICES

# A relay that refused one more link is not asked for it again so soon.
_CROWDED_SECONDS = 30.0
# Links that wait for their last replies at the end of a slice carry nothing. Where nobody else wants the process they
# go on for MOST_SLICES, and see about it so long before the end.
_AHEAD_SECONDS = 1.0
_CARRIED_WITHIN_SECONDS = 1.0


class RelayLinks:
    """How many drains of this process work for a relay, and what its pace was. `room`: how many links it may have."""

    def __init__(self, room: Callable[[], int]) -> None:
        self._room = room
        self._lock = threading.Lock()
        self._working = 0
        self._crowded_until = 0.0
        self._bearable = 1
        self.pace: float | None = None

    def join(self) -> None:
        """Count the first of a crew, who must have a link."""
        with self._lock:
            self._working += 1

    def take(self) -> bool:
        """Count one more; False: there are enough."""
        room = self._room()
        with self._lock:
            if self._working >= (min(room, self._bearable) if time.monotonic() < self._crowded_until else room):
                return False
            self._working += 1
            return True

    def leave(self) -> None:
        """Count one less."""
        with self._lock:
            self._working -= 1

    def crowded(self) -> bool:
        """Note that one of those at work was refused a link; False: he is the only one."""
        with self._lock:
            if self._working <= 1:
                return False
            self._bearable = self._working - 1
            self._crowded_until = time.monotonic() + _CROWDED_SECONDS
            return True


class Crew:
    """One go at a lane. `hire` makes a drain that has these mates, the first one or another.

    `is_wanted`: whether another lane waits for a process; it may raise LedgerError.
    """

    def __init__(
        self,
        hire: Callable[["Crew", bool], Drain],
        links: RelayLinks,
        is_wanted: Callable[[], bool],
        slice_seconds: float,
    ) -> None:
        self._hire = hire
        self._links = links
        self._is_wanted = is_wanted
        self._slice_seconds = slice_seconds
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._helpers = 0
        self._settled = 0
        self._slices = 1
        self._until = 0.0
        self._failure: BaseException | None = None

    def run(self) -> int:
        """Work the lane. Returns how many mails were settled. Raises LedgerError when the ledger is out of reach."""
        self._until = time.monotonic() + self._slice_seconds
        first = self._hire(self, True)
        self._links.join()
        try:
            first.run()
        finally:
            self._links.leave()
            for thread in self._threads:  # which grows as long as one of them takes on others
                thread.join()
        if self._failure is not None:
            raise self._failure
        return first.settled + self._settled

    @property
    def pace(self) -> float | None:
        """Seconds that the relay last took for a mail on one link, in this process; None: not known."""
        return self._links.pace

    @pace.setter
    def pace(self, seconds: float | None) -> None:
        self._links.pace = seconds

    @property
    def links(self) -> int:
        """How many are at work."""
        return 1 + self._helpers

    def left_seconds(self) -> float:
        """How long the slice lasts; it goes on where several links are at work and nobody waits for the process."""
        with self._lock:
            left = self._until - time.monotonic()
            if left < _AHEAD_SECONDS and self._helpers and self._slices < MOST_SLICES and not self._is_wanted_now():
                self._slices += 1
                self._until += self._slice_seconds
                left += self._slice_seconds
            return left

    def needed(self, mails: int, pace: float) -> None:
        """Take on as many as it needs to carry what waits within a second."""
        missing = math.ceil(mails * pace / _CARRIED_WITHIN_SECONDS) - self._helpers
        # Whoever comes too late leaves at once, and must not be replaced for ever.
        for _ in range(missing if self.left_seconds() > 0 else 0):
            if not self._links.take():
                return
            thread = threading.Thread(target=self._help, name="mailworker-link", daemon=True)
            with self._lock:
                self._helpers += 1
                thread.start()
                self._threads.append(thread)

    def leave(self) -> bool:
        """Do without whoever got no link, while others have one."""
        return self._links.crowded()

    def _help(self) -> None:
        drain = self._hire(self, False)
        try:
            drain.run()
        except LedgerError as error:
            logger.warning("a link is given up: %s", error)
        except BaseException as error:  # noqa: BLE001 - told by `run`, in the thread that Celery watches
            self._failure = error
        finally:
            self._links.leave()
            with self._lock:
                self._helpers -= 1
                self._settled += drain.settled

    def _is_wanted_now(self) -> bool:
        try:
            return self._is_wanted()
        except LedgerError:
            return True
