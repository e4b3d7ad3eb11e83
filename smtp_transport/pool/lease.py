"""One connection, lent out, and the end of its lease, however that comes."""

from collections.abc import Callable
from types import TracebackType
from typing import Self

from smtp_transport.connection import Connection
from smtp_transport.errors import ErrorKind, PoolError
from smtp_transport.pool.books import Books, Link
from smtp_transport.pool.turns import Ticket
from smtp_transport.pool.watch import PoolWatch


class PooledConnection:
    """One connection, lent out: use it in a `with` block, from one thread at a time.

    `is_reused`: it was idle before, so the server may have hung up on it meanwhile. `acquired_at` is on the pool's
    clock.
    """

    # Here, so that a finalizer finds them even if a signal's exception fell into __init__.
    _connection: Connection | None = None
    _is_over = True
    is_reused = False
    acquired_at = 0.0
    watch: PoolWatch | None = None

    def __init__(self, books: Books, take_back: Callable[[Books, Ticket], None]) -> None:
        self._books = books
        self._take_back = take_back
        self.ticket = books.ticket()
        self._is_over = False

    @property
    def id(self) -> int:
        """The number of this lease, unique in its pool and process."""
        return self.ticket.number

    @property
    def connection(self) -> Connection:
        """The connection; `PoolError` (connection_unhealthy) once the lease is over."""
        if self._connection is None:
            raise PoolError("this lease is over", ErrorKind.CONNECTION_UNHEALTHY)
        return self._connection

    def fill(self, link: Link, *, is_reused: bool, now: float) -> None:
        """Put a link into this lease's place; only the pool does."""
        self._books.held[self.ticket.number] = link
        self._connection, self.is_reused, self.acquired_at = link.connection, is_reused, now

    def release(self) -> None:
        """Give the connection back; may be repeated."""
        if self._connection is not None:
            self._connection = None
            self._take_back(self._books, self.ticket)
            self._is_over = True
            if self.watch is not None:
                self.watch.released()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def __del__(self) -> None:
        # Dropped without release: by a signal's exception between two bytecodes, or by a caller without `with`.
        if not self._is_over:
            self._books.drop(self.ticket)
