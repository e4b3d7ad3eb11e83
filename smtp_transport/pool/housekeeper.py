"""A thread that looks after a pool when nobody asks it for anything. It exists only where `min_idle` wants it."""

import logging
import threading
import weakref
from typing import Protocol

from smtp_transport.pool.turns import Bell

_log = logging.getLogger(__name__)


class Tended(Protocol):
    """What a housekeeper needs of a pool."""

    def tend(self) -> float | None:
        """Do the housekeeping once; give the seconds until the next time, or None if there will be none."""
        ...


class Housekeeper:
    """Tends a pool now, whenever it is rung for, and as often as the pool says. It ends with the pool."""

    def __init__(self, pool: Tended) -> None:
        self._bell = Bell()
        self._pool = weakref.ref(pool, lambda _: self._bell.ring())
        self.thread = threading.Thread(target=self._run, name="smtp pool", daemon=True)
        self.thread.start()

    def ring(self) -> None:
        """Have the pool tended soon."""
        self._bell.ring()

    def _run(self) -> None:
        while (patience := self._tend()) is not None:
            self._bell.wait(patience)

    def _tend(self) -> float | None:
        # No reference to the pool is kept while it waits.
        pool = self._pool()
        try:
            return pool.tend() if pool is not None else None
        except Exception as error:  # noqa: BLE001 - a caller's own way to open; whoever needs a connection is told
            _log.warning("connections are not opened ahead any more: %s", type(error).__name__)
            return None
