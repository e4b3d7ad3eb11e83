"""A worker's own look at itself: the sign of life that its parent writes at each round of the watch.

Law: everything here is known in the parent already; no task and no message is spent on it.
"""

import os
import time
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from celery.worker import state

from mailworker.board import Board
from mailworker.health import Sign
from mailworker.ledger import LedgerError, Roll
from mailworker.log import logger

# An unheard bell is rung again when it has run out, a few seconds later; after a longer silence the next one is news.
_NEXT_BELL_SECONDS = 15.0
# Beyond a missed round or two, and a ledger that answers late.
_PATIENCE_SECONDS = 15.0
# In the solo pool a drain and the watch take turns, and a drain may have met a slow relay.
_SOLO_PATIENCE_SECONDS = 600.0


class Pulse:
    """Takes a worker's pulse. `worker`: Celery's; `watch_seconds`: how often it is taken."""

    def __init__(self, worker: Any, board: Board, roll: Roll, lanes: Sequence[str], watch_seconds: float) -> None:
        self._worker = worker
        self._board = board
        self.roll = roll
        self._lanes = tuple(lanes)
        self._pool = worker.pool_cls.__module__.rpartition(".")[2]
        patience = _SOLO_PATIENCE_SECONDS if self._pool == "solo" else _PATIENCE_SECONDS
        self._patience = patience + 3 * watch_seconds
        self._stuck_since: float | None = None
        self._rung: dict[str, tuple[float, float]] = {}
        self._refused_at: float | None = None

    def rung(self, lane: str, *, is_heard: bool) -> None:
        """Note that the watch has rung for a lane, and whether the broker took the bell."""
        now = time.monotonic()
        self._refused_at = None if is_heard else now
        if is_heard:
            first, last = self._rung.get(lane, (now, now))
            self._rung[lane] = (first if now - last <= _NEXT_BELL_SECONDS else now, now)

    def give(self) -> None:
        """Write the sign; a ledger out of reach gets the next one."""
        try:
            self.roll.sign(self._worker.hostname, self.take())
        except LedgerError as error:
            logger.debug("no sign of life was written: %s", error)

    def leave(self) -> None:
        """Take this worker off the roll."""
        try:
            self.roll.leave(self._worker.hostname)
        except LedgerError as error:
            logger.debug("the roll was not told that this worker ends: %s", error)

    def take(self) -> Sign:
        """Look at the worker as it is now."""
        now = time.monotonic()
        pool = self._worker.pool
        processes, active = pool.num_processes, len(state.active_requests)
        is_free = active < processes
        if is_free and len(state.reserved_requests) > active:
            self._stuck_since = self._stuck_since or now
        else:
            self._stuck_since = None
        if not is_free:
            self._rung.clear()
        return Sign(
            pid=os.getpid(),
            version=version("mailworker"),
            pool=self._pool,
            lanes=self._lanes,
            processes=processes,
            active=active,
            patience_seconds=self._patience,
            stuck_seconds=now - self._stuck_since if self._stuck_since else 0.0,
            unanswered_seconds=max((self._unanswered(*times) for times in self._rung.values()), default=0.0),
            drained_seconds=self._board.drained_seconds,
            takes_bells=self._refused_at is None or now - self._refused_at > _NEXT_BELL_SECONDS,
        )

    def _unanswered(self, first: float, last: float) -> float:
        return last - first if self._board.last_began < first else 0.0
