"""The roll: which workers gave a sign of life lately. It stands in the ledger, so no broker is asked for it.

Law: one hash tag for all of it, one that no lane can have.
"""

from redis import Redis

from mailworker.health import Seen, Sign
from mailworker.ledger.server import Server

# Silent workers are shown for so long.
_KEEP_MS = 3_600_000


class Roll:
    """The roll in one Redis. Every method raises LedgerError."""

    def __init__(self, redis: Redis, prefix: str = "mw") -> None:
        self._server = Server(redis)
        self._keys = (f"{prefix}:{{@workers}}:seen", f"{prefix}:{{@workers}}:signs")

    def sign(self, name: str, sign: Sign) -> None:
        """Write a worker's sign of life; refused by no memory limit."""
        self._server.run("sign", self._keys, [name, sign.to_json(), _KEEP_MS])

    def leave(self, name: str) -> None:
        """Take a worker off the roll."""
        self._server.run("sign", self._keys, [name, "", _KEEP_MS])

    def read(self) -> tuple[Seen, ...]:
        """Read the whole roll, in the order of the names."""
        answer = self._server.run("roll", self._keys, [])
        entries = zip(answer[::3], answer[1::3], answer[2::3], strict=True)
        seen = (_seen(name.decode("utf-8", "replace"), int(age), sign) for name, age, sign in entries)
        return tuple(sorted((one for one in seen if one is not None), key=lambda one: one.name))


def _seen(name: str, age_ms: int, sign: bytes) -> Seen | None:
    """Pass over what cannot be read: it is rewritten at the next round, or forgotten."""
    try:
        return Seen(name, age_ms / 1000, Sign.from_json(sign))
    except ValueError:
        return None
