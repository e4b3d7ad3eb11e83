"""The fleet's door to Redis: what makes no sense there begins anew, and stops no lane.

Law: a script that fails is asked again once, after its own keys were mended. Where one held what it should not, a
breaker is closed, what was taken of a limit is all of it, and the rest is not known. Who only looks mends nothing.
"""

from collections.abc import Sequence
from typing import Any

from mailworker.fleet import UnreadableKeyError
from mailworker.ledger import LedgerRefusedError, Server
from mailworker.log import logger


class Mender:
    """Runs the fleet's scripts and reads its hashes, over a server. Raises LedgerError."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def run(self, name: str, keys: Sequence[str], arguments: Sequence[bytes | str | int]) -> Any:
        """Run a script; where it fails on its keys, mend those, tell of it, and run it again."""
        try:
            return self._server.run(name, keys, arguments)
        except LedgerRefusedError:
            mended = self._server.run("relay/mend", keys, [])
            if not mended:
                raise
        for key in mended:
            logger.error("%s", _told(key.decode()))
        return self._server.run(name, keys, arguments)

    def read(self, key: str) -> dict[str, str]:
        """Read a whole hash, as text. Raises UnreadableKeyError for a key of another type."""
        try:
            return self._server.read(key)
        except LedgerRefusedError:
            raise UnreadableKeyError(key) from None


def _told(key: str) -> str:
    if "}:bucket:" in key:
        return (
            f"{key} made no sense; the limit counts as used up, so its mails wait for up to one window: "
            f"if less was sent, end that with redis-cli DEL '{key}'"
        )
    return f"{key} made no sense, and begins anew: see who else writes to the ledger's server"
