"""Bells: who is told that a lane has work, and who waits for the others until it may be done.

Law: losing a bell costs a moment, for the watch rings; ringing twice costs nothing but the way.
"""

from mailworker.keys import LaneKeys
from mailworker.ledger.errors import translated
from mailworker.ledger.server import Server


class Bells:
    """The bells of all lanes. Methods raise LedgerError."""

    def __init__(self, server: Server, prefix: str, ttl_ms: int) -> None:
        self._server = server
        self._prefix = prefix
        self._ttl_ms = ttl_ms

    def ring(self, lane: str) -> bool:
        """Try to take the bell. True: the caller must publish one. False: one is outstanding already."""
        return bool(self._server.run("ring", self._keys(lane).every, [self._ttl_ms]))

    def is_rung(self, lane: str) -> bool:
        """Whether a bell is outstanding, so that somebody has yet to come for this lane."""
        with translated():
            return bool(self._server.redis.exists(self._keys(lane).bell))

    def wait(self, lane: str, who: str, ms: int, *, answering: bool) -> bool:
        """Be the one who waits so long until mails may be sent. False: another does, or there are none.

        `answering`: the bell that was heard is no longer outstanding.
        """
        return bool(self._server.run("wait", self._keys(lane).every, [who, ms, int(answering)]))

    def hand_on(self, lane: str, who: str = "") -> bool:
        """End without a claim after a bell, or after waiting as `who`. True: the caller must publish one."""
        return bool(self._server.run("hand_on", self._keys(lane).every, [who, self._ttl_ms]))

    def _keys(self, lane: str) -> LaneKeys:
        return LaneKeys(self._prefix, lane)
