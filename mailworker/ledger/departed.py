"""Claims of processes that are known to have ended: freed at once, as they would be when their leases are over.

Law: read first whose a claim is, then find out whether that process is gone, then free it by its fence. So neither a
process that bears the number of a dead one nor a claim that was made since can be meant.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from mailworker.keys import LaneKeys
from mailworker.ledger.errors import translated
from mailworker.ledger.server import Server
from mailworker.record import Sweep

_AT_ONCE = 500


class Departed:
    """The claims of all lanes, seen by who made them. `keep`: for how long ended mails stay, in the scripts' words."""

    def __init__(self, server: Server, prefix: str, bell_ttl_ms: int, keep: str) -> None:
        self._server = server
        self._prefix = prefix
        self._bell_ttl_ms = bell_ttl_ms
        self._keep = keep

    def bury(self, lane: str, is_gone: Callable[[str], bool], *, hold: bool = False) -> Sweep:
        """Free what processes have claimed of whose names `is_gone` says so. `hold` as for a sweep. Raises LedgerError.

        A claim whose call was on its way when its process ended may come to be afterwards: look again a moment later.
        """
        keys = LaneKeys(self._prefix, lane)
        recovered, bell_due = 0, False
        expired: list[bytes] = []
        in_doubt: list[bytes] = []
        for lost in filter(None, self._lost(keys, is_gone)):
            arguments: list[bytes | str | int] = [int(hold), self._bell_ttl_ms, self._keep]
            for mail_id, fence in lost:
                arguments += (mail_id, fence)
            records = [keys.record(mail_id) for mail_id, _ in lost]
            freed, too_old, doubtful, bell = self._server.run("bury", [*keys.every, *records], arguments)
            recovered += freed
            expired += too_old
            in_doubt += doubtful
            bell_due = bell_due or bell == 1
        return Sweep(
            due=0,
            recovered=recovered,
            expired=tuple(mail.decode() for mail in expired),
            in_doubt=tuple(mail.decode() for mail in in_doubt),
            more=False,
            bell_due=bell_due,
        )

    def _lost(self, keys: LaneKeys, is_gone: Callable[[str], bool]) -> Iterator[Sequence[tuple[str, bytes]]]:
        """Give ids and fences, in portions. Whatever is claimed all the while is seen."""
        cursor = -1
        while cursor:
            with translated():
                scanned: Any = self._server.redis.zscan(keys.claims, max(cursor, 0), count=_AT_ONCE)
                cursor, page = scanned
                records = _records(keys, [mail.decode("utf-8", "replace") for mail, _ in page])
                with self._server.redis.pipeline(transaction=False) as pipe:
                    for record in records.values():
                        pipe.hmget(record, "fence", "owner")
                    # What holds no record is the sweep's affair.
                    told = pipe.execute(raise_on_error=False)
            yield [
                (mail_id, answer[0])
                for mail_id, answer in zip(records, told, strict=True)
                if isinstance(answer, list) and is_gone(_owner(*answer))
            ]


def _records(keys: LaneKeys, claimed: Iterable[str]) -> dict[str, str]:
    records = {}
    for mail_id in claimed:
        with contextlib.suppress(ValueError):  # no id of a mail
            records[mail_id] = keys.record(mail_id)
    return records


def _owner(fence: bytes | None, owner: bytes | None) -> str:
    # What bears another fence is of an earlier claim: a worker of an older version leaves it as it was.
    of, _, name = (owner or b"").partition(b":")
    return name.decode("utf-8", "replace") if fence is not None and of == fence else ""
