"""The file in which the server keeps everything, after there was no room for it.

A server that could not write a whole command cuts its append-only file back to the last whole one. If it has rewritten
that file since it was started, it goes on at the old place: the gap is zeros (Valkey 9.1, and Redis from 7.0 on, which
open a rewritten file without O_APPEND), and the next start finds a file that it does not read. Another rewrite makes
the file from memory, where nothing is missing.

Law: nothing here is needed for a mail to go its way; whoever cannot do it says so and goes on.
"""

from typing import Any

from redis import Redis
from redis.exceptions import ResponseError

from mailworker.ledger.errors import translated

_KEEP_MS = 86_400_000


class Upkeep:
    """What several workers may do at once, and one of them does."""

    def __init__(self, redis: Redis, prefix: str) -> None:
        self._redis = redis
        self._mark = f"{prefix}:rewritten"

    def rewrite(self) -> bool:
        """Have the file made anew if the server has refused writes for want of room since it was last done.

        Whether it was begun. Raises LedgerError if the server cannot be asked, or still refuses.
        """
        with translated():
            try:
                told: Any = self._redis.info("errorstats", "server", "persistence")
            except ResponseError:  # before 7.0 INFO takes one section, and files were opened for appending
                return False
            refused = told.get("errorstat_MISCONF", {}).get("count", 0)
            if not refused or not told.get("aof_enabled"):
                return False
            mark = f"{told['run_id']} {refused}"
            held: Any = self._redis.set(self._mark, mark, px=_KEEP_MS, get=True)
            if held == mark.encode():
                return False
            return self._begin()

    def _begin(self) -> bool:
        try:
            self._redis.bgrewriteaof()
        except ResponseError as error:
            if "in progress" in str(error):
                # It may have begun before; the next look finds no mark and asks again.
                self._redis.delete(self._mark)
                return False
            raise
        return True
