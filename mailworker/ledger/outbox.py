"""The ends of mails that somebody asked to be told of.

Law: at least once. What was taken and not reported as told is due again later, so a crash between the telling and the
report tells twice; one between the end and the telling tells late.
"""

from collections.abc import Sequence

from mailworker.keys import LaneKeys
from mailworker.ledger.errors import translated
from mailworker.ledger.server import Server
from mailworker.record import MailState, Untold

# Whoever was asked to tell has begun by then, or is dead.
_ASKED_MS = 5000


class Outbox:
    """Mails that have ended and have callbacks. Every method raises LedgerError."""

    def __init__(self, server: Server, prefix: str, keep: str) -> None:
        self._server = server
        self._prefix = prefix
        self._keep = keep

    def take(self, lane: str, limit: int, lease_ms: int) -> tuple[Untold, ...]:
        """Take up to `limit` mails that are due; they are due again after `lease_ms` unless they were told."""
        answers = self._server.run("untold", self._keys(lane).every, [limit, lease_ms])
        return tuple(
            Untold(mail.decode(), MailState(state.decode()), blob, int(ended)) for mail, state, blob, ended in answers
        )

    def told(self, lane: str, mails: Sequence[Untold]) -> None:
        """Report that these ends were told."""
        if not mails:
            return
        keys = self._keys(lane)
        each = [word for mail in mails for word in (mail.id, mail.state.value, mail.ended_ms)]
        self._server.run("told", [*keys.every, *(keys.record(mail.id) for mail in mails)], [self._keep, *each])

    def ring(self, lane: str) -> bool:
        """Whether the caller must have ends told: some are due, and nobody else was asked of late."""
        return bool(self._server.run("ring_untold", self._keys(lane).every, [_ASKED_MS]))

    def gather(self, group: str, place: int, mail_id: str, ttl_ms: int) -> dict[int, str]:
        """Note a mail of a group as ended, for `ttl_ms`; answers all that have, by their places."""
        key = f"{self._prefix}:chord:{group}"
        with translated(), self._server.redis.pipeline(transaction=True) as pipe:
            pipe.hset(key, str(place), mail_id)
            pipe.pexpire(key, ttl_ms)
            pipe.hgetall(key)
            *_, ended = pipe.execute()
        return {int(at): mail.decode() for at, mail in ended.items()}

    def forget(self, group: str) -> None:
        """Forget a group that was told of."""
        with translated():
            self._server.redis.delete(f"{self._prefix}:chord:{group}")

    def _keys(self, lane: str) -> LaneKeys:
        return LaneKeys(self._prefix, lane)
