"""The pool itself: it waits, opens, checks, lends, takes back and closes."""

import os
import queue
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from smtp_transport.config import PoolConfig, SmtpConfig
from smtp_transport.connection import Connection
from smtp_transport.errors import CancelledError, ErrorKind, PoolError
from smtp_transport.pool import limits as within
from smtp_transport.pool.books import Books, Link, Ticket
from smtp_transport.pool.watch import PoolWatch


@dataclass(frozen=True, slots=True)
class PoolStatus:
    """Connections of this process: `total` is `idle` + `in_use`; `pending` leases wait; `max_size` is the bound.

    A connection that is being opened or closed is in use.
    """

    total: int
    idle: int
    in_use: int
    pending: int
    max_size: int


class ConnectionPool:
    """Lends connections to one server, first come first served.

    `open` makes a new one. `clock` gives seconds; `chance` a number from 0 to 1 that spreads lifetimes. Safe for
    threads. Nothing is opened until it is asked for, and after a fork the child opens its own.
    """

    def __init__(
        self,
        config: SmtpConfig,
        open: Callable[[SmtpConfig], Connection] = Connection.open,  # noqa: A002 - it is what `Connection.open` is called
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._config = config
        self._limits = config.pool
        self._open = open
        self._clock = clock
        self._chance = chance
        self._is_closed = False
        self._by_process: dict[int, Books] = {}

    def acquire(self, timeout: float | None = None, *, check: bool = False, fresh: bool = False) -> "PooledConnection":
        """Lease a connection; wait up to `timeout` seconds for a place (None: the configured time).

        `check`: an idle connection must answer a NOOP, however fresh it is. `fresh`: no idle one will do. Raises
        `PoolError` (acquire_timeout; pool_exhausted if the timeout is 0), `CancelledError` after `close_all`, and what
        opening a connection raises.
        """
        books = self._books()
        lease = PooledConnection(self, books)
        watch = PoolWatch.of(self._config)
        try:
            link = self._place(books, lease.ticket, self._limits.acquire_timeout if timeout is None else timeout)
            if link is not None and (fresh or not self._is_sound(link, check=check)):
                self._part(link)
                link = None
            lease.fill(link or self._new_link(), is_reused=link is not None, now=self._clock())
        except BaseException as error:
            _drop(books, lease.ticket)
            if watch is not None:
                watch.denied(error)
            raise
        if watch is not None:
            lease.watch = watch
            watch.acquired(lease.id, lease.connection.id, is_reused=lease.is_reused)
        return lease

    def status(self) -> PoolStatus:
        """Count, at one moment."""
        books = self._books()
        with books.lock:
            idle, in_use, pending = len(books.idle), len(books.held), books.pending
        return PoolStatus(idle + in_use, idle, in_use, pending, self._limits.max_connections)

    def configure(self, limits: PoolConfig) -> None:
        """Take new limits: idle connections over them are closed now, leased ones when they come back."""
        books = self._books()
        with books.lock:
            self._limits = limits
            surplus = books.take_surplus(limits)
            books.ring()
        self._retire(books, surplus)

    def close_all(self) -> None:
        """Say QUIT on idle connections now and on leased ones when they come back; nothing is lent any more."""
        books = self._books()
        with books.lock:
            self._is_closed = True
            idle = books.take_idle()
            books.ring()
        self._retire(books, idle)

    def _books(self) -> Books:
        """Give this process's books. What a parent opened is closed here without a word: it may be in use there."""
        mine = os.getpid()
        books = self._by_process.get(mine)
        if books is None:
            # setdefault and pop are atomic, so that no lock is needed that a fork could have frozen.
            books = self._by_process.setdefault(mine, Books())
            for process in tuple(self._by_process):
                inherited = self._by_process.pop(process, None) if process != mine else None
                for link in inherited.all_links() if inherited else ():
                    link.connection.close()
        return books

    def _place(self, books: Books, ticket: Ticket, timeout: float) -> Link | None:
        """Wait for a place; give the idle link that stands there, if one does."""
        deadline = self._clock() + timeout
        with books.lock:
            books.enqueue(ticket)
        while True:
            with books.lock:
                if self._is_closed:
                    raise CancelledError("the pool has been closed")
                overdue = books.take_idled_out(self._limits, self._clock())
                if not overdue and books.grant(ticket, self._limits):
                    return books.held[ticket.number]
            if overdue:
                self._retire(books, overdue)
                continue
            try:
                ticket.bell.get(timeout=max(0.0, deadline - self._clock()))
            except queue.Empty:
                raise self._no_place(timeout) from None

    def _no_place(self, timeout: float) -> PoolError:
        where = f"{self._config.host}:{self._config.port}"
        busy = f"all {self._limits.max_connections} connections to {where} are in use"
        if timeout <= 0:
            return PoolError(busy, ErrorKind.POOL_EXHAUSTED)
        return PoolError(
            f"{busy}, and none came back in {timeout:g} s; see pool.max_connections", ErrorKind.ACQUIRE_TIMEOUT
        )

    def _new_link(self) -> Link:
        connection = self._open(self._config)
        now = self._clock()
        return Link(connection, now, within.lifetime(self._limits, self._chance()), now)

    def _is_spent(self, link: Link) -> bool:
        age = self._clock() - link.opened_at
        return within.is_spent(age, link.lifetime, link.connection.delivered, self._limits)

    def _is_sound(self, link: Link, *, check: bool) -> bool:
        if not link.connection.usable or self._is_spent(link):
            return False
        stale = within.needs_check(self._clock() - link.idle_since, self._limits)
        return link.connection.noop() if stale or check else True

    def take_back(self, books: Books, ticket: Ticket) -> None:
        """End a lease: its connection idles if it is fit, or is closed; then its place is free."""
        link = books.held.get(ticket.number)
        if link is None or books is not self._books():
            books.forget(ticket)
            return
        if link.connection.usable and not self._is_spent(link):
            link.idle_since = self._clock()
            with books.lock:
                if not self._is_closed and within.fits(len(books.held), self._limits):
                    books.put_back(ticket, link)
                    return
        self._retire(books, ((ticket, link),))

    def _retire(self, books: Books, links: Iterable[tuple[Ticket, Link]]) -> None:
        for ticket, link in links:
            try:
                self._part(link)
            finally:
                books.forget(ticket)

    @staticmethod
    def _part(link: Link) -> None:
        """Say QUIT where it can be said, and close."""
        link.connection.quit()


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

    def __init__(self, pool: ConnectionPool, books: Books) -> None:
        self._pool = pool
        self._books = books
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
            self._pool.take_back(self._books, self.ticket)
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
            _drop(self._books, self.ticket)


def _drop(books: Books, ticket: Ticket) -> None:
    """Close what a lease held without a word, for nobody knows what was said last; then its place is free."""
    link = books.held.get(ticket.number)
    if link is not None:
        link.connection.close()
    books.forget(ticket)
