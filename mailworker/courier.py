"""Errands that must not hold up a drain: done one after the other by a thread of their own.

Law: whoever hands over an errand neither waits nor hears of its failure. When too many wait, new ones are dropped, and
counted.
"""

import queue
import threading
from collections.abc import Callable

from mailworker.log import logger

_MOST = 10_000


class Courier:
    """One thread, started at the first errand: make it after the fork."""

    def __init__(self, name: str, most: int = _MOST) -> None:
        self.dropped = 0
        self._name = name
        self._errands: queue.Queue[Callable[[], object] | None] = queue.Queue(most)
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def hand(self, errand: Callable[[], object]) -> None:
        """Have it done soon, or not at all if too much is waiting."""
        try:
            self._errands.put_nowait(errand)
        except queue.Full:
            self.dropped += 1
            return
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name=f"mailworker-{self._name}", daemon=True)
                    self._thread.start()

    def close(self, seconds: float) -> None:
        """Do what waits, for so long at most."""
        if self._thread is None:
            return
        try:
            self._errands.put(None, timeout=seconds)
        except queue.Full:
            return
        self._thread.join(seconds)

    def _run(self) -> None:
        reported = 0
        while (errand := self._errands.get()) is not None:
            try:
                errand()
            except Exception as error:  # noqa: BLE001 - an errand of whatever kind must not end the others
                logger.warning("%s: an errand failed (%s)", self._name, type(error).__name__)
            if self.dropped > reported:
                logger.warning("%s: %d errands were dropped, for more came than are done", self._name, self.dropped)
                reported = self.dropped
