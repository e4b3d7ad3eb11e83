"""Tells of one lease, from the wait for it to its end. It exists only where somebody observes."""

import time

from smtp_transport.config import SmtpConfig
from smtp_transport.errors import SmtpError
from smtp_transport.observation import events
from smtp_transport.observation.observers import Observers


class PoolWatch:
    """Watches one lease from the moment it is asked for."""

    def __init__(self, observers: Observers) -> None:
        self._tell = observers.tell
        self._since = time.monotonic()
        self._lease = 0
        self._connection = ""

    @classmethod
    def of(cls, config: SmtpConfig) -> "PoolWatch | None":
        """Watch a lease; None if nobody observes."""
        return cls(config.observers) if config.observers else None

    def acquired(self, lease: int, connection: str, *, is_reused: bool) -> None:
        """The wait is over."""
        waited = self._lap()
        self._lease, self._connection = lease, connection
        self._tell(
            events.PoolAcquired(at=time.time(), connection=connection, lease=lease, waited=waited, reused=is_reused)
        )

    def denied(self, error: BaseException) -> None:
        """The wait was in vain."""
        kind = error.kind if isinstance(error, SmtpError) else None
        self._tell(events.PoolDenied(at=time.time(), waited=self._lap(), error=kind))

    def released(self) -> None:
        """The lease is over."""
        self._tell(
            events.PoolReleased(at=time.time(), connection=self._connection, lease=self._lease, held=self._lap())
        )

    def _lap(self) -> float:
        since, self._since = self._since, time.monotonic()
        return self._since - since
