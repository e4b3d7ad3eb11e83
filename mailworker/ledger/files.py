"""Files that mails of a lane share, as the ledger holds them: by name, sealed, with a count of who needs them.

Law: a file is there before the first mail that needs it is accepted, and until the last one is done with it. Stored for
a mail that was then not accepted, it goes by itself after an hour.
"""

from mailworker.keys import LaneKeys
from mailworker.ledger.errors import translated
from mailworker.ledger.server import Server

_UNUSED_MS = 3_600_000


class Files:
    """The shared files of a ledger. Every method raises LedgerError, and ValueError for what is no name of a file."""

    def __init__(self, server: Server, prefix: str) -> None:
        self._server = server
        self._prefix = prefix

    def store(self, lane: str, name: str, sealed: bytes) -> None:
        """Put a file there for mails that are about to be accepted, unless it is there."""
        keys = LaneKeys(self._prefix, lane)
        self._server.run("store_file", [*keys.every, keys.file(name)], [sealed, _UNUSED_MS])

    def read(self, lane: str, name: str) -> bytes | None:
        """Read a file, sealed; None if it is not there."""
        key = LaneKeys(self._prefix, lane).file(name)
        with translated():
            sealed: bytes | None = self._server.redis.hget(key, "data")  # type: ignore[assignment] # in bytes
        return sealed
