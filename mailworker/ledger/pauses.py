"""Lanes that are left alone for a while: because something else has to happen first, or because a person wants it so.

Law: what a person has paused only a person resumes, until its time is over.
"""

from mailworker.keys import LaneKeys
from mailworker.ledger.server import Server

_MOST_REASON = 500
# No mail is on the wire for longer without asking.
_RECALLED_MS = 3_600_000


class Pauses:
    """The pauses of all lanes. Methods raise LedgerError."""

    def __init__(self, server: Server, prefix: str) -> None:
        self._server = server
        self._prefix = prefix

    def rest(self, lane: str, ms: int, reason: str, ends_ms: int | None = None, *, by_hand: bool = False) -> bool:
        """Leave the lane alone for so long. False: a person has paused it, and only a person may say otherwise.

        `ends_ms`: in which the reason ends, where that is known; the lane may be looked at before.
        """
        arguments: list[bytes | str | int] = [ms, reason[:_MOST_REASON].encode("utf-8", "replace"), int(by_hand)]
        arguments.append("" if ends_ms is None else ends_ms)
        return bool(self._server.run("rest", self._keys(lane), arguments))

    def resume(self, lane: str, *, by_hand: bool = False) -> bool:
        """Leave the lane alone no longer. False: it was not paused, or by a person, and this is not by hand."""
        return bool(self._server.run("resume", self._keys(lane), [int(by_hand)]))

    def by_hand_ms(self, lane: str) -> int:
        """Tell for how long a person wants the lane left alone; 0: not at all."""
        ms: int = self._server.run("paused_by_hand", self._keys(lane), [])
        return ms

    def recall(self, lane: str, relay: str, epoch: int | None) -> None:
        """Have no more mails of the lane go by leave of the relay's breaker from before this epoch; None: let them."""
        words: list[bytes | str | int] = [relay, "" if epoch is None else epoch, _RECALLED_MS]
        self._server.run("recall", self._keys(lane), words)

    def _keys(self, lane: str) -> tuple[str, ...]:
        return LaneKeys(self._prefix, lane).every
