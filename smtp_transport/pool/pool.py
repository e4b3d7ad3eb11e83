"""The pool itself: it waits, opens, checks, lends, takes back and closes."""

import os
import random
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from smtp_transport.config import PoolConfig, SmtpConfig
from smtp_transport.connection import FAREWELL, Connection
from smtp_transport.errors import CancelledError, ErrorKind, PoolError, SmtpError
from smtp_transport.pool import limits as within
from smtp_transport.pool.books import Books, Link
from smtp_transport.pool.host_limits import HostLimits
from smtp_transport.pool.housekeeper import Housekeeper
from smtp_transport.pool.lease import PooledConnection
from smtp_transport.pool.opening import Opening
from smtp_transport.pool.turns import Bell, Ticket
from smtp_transport.pool.watch import PoolWatch
from smtp_transport.resilience import RateLimiter
from smtp_transport.tls import TlsSessions

_LONGEST_WAIT: Final = 3_600.0
"""Seconds: a lock waits no longer than a bound of the machine."""
_PARTING: Final = 1.0
"""Seconds to wait for the reply to QUIT where somebody may be waiting for the place."""
_SIGN_OF_LIFE: Final = 10.0
"""Seconds in which NOOP is answered, or a fresh link costs less than to go on waiting: a firewall may have forgotten
the idle one, and then nobody answers at all."""
_SHORTEST_FAREWELL: Final = 0.05
"""Seconds in which QUIT is written, whoever answers."""


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

    `open` makes a new one (None: `Connection.open`, with TLS sessions that this pool keeps). `clock` gives seconds;
    `chance` a number from 0 to 1 that spreads lifetimes. `host_limits` bounds the connections of several pools
    together. `tends_itself=False`: no thread opens ahead what `min_idle` wants, the caller calls `tend`. Safe for
    threads. Nothing is opened until it is used, and after a fork the child opens its own.
    """

    def __init__(
        self,
        config: SmtpConfig,
        open: Callable[[SmtpConfig], Connection] | None = None,  # noqa: A002 - it is what `Connection.open` is called
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
        *,
        host_limits: HostLimits | None = None,
        tends_itself: bool = True,
    ) -> None:
        self._config = config
        self._limits = config.pool
        self._open = open
        self._sessions = TlsSessions()
        self._host_limits = host_limits
        self._tends_itself = tends_itself
        self._clock = clock
        self._chance = chance
        self._is_closed = False
        self._by_process: dict[int, Books] = {}

    @property
    def place(self) -> str:
        """Where the server is: host and port."""
        return self._config.place

    def acquire(self, timeout: float | None = None, *, check: bool = False, fresh: bool = False) -> PooledConnection:
        """Lease a connection; wait up to `timeout` seconds for a place (None: the configured time).

        `check`: an idle connection must answer a NOOP, however fresh it is. `fresh`: no idle one will do. Raises
        `PoolError` (acquire_timeout; pool_exhausted if the timeout is 0), `CancelledError` after `close_all`, and what
        opening a connection raises.
        """
        books = self._books()
        lease = PooledConnection(books, self._take_back)
        watch = PoolWatch.of(self._config)
        patience = self._limits.acquire_timeout if timeout is None else timeout
        deadline = self._clock() + patience
        try:
            link = self._place(books, lease.ticket, patience)
            if link is not None and (fresh or not self._is_sound(link, check=check)):
                self._part(link)
                link = None
            if self._limits.min_idle:
                self._have_tended(books)
            is_reused = link is not None
            link = link or self._new_link(books, lease.ticket, deadline - self._clock())
            lease.fill(link, is_reused=is_reused, now=self._clock())
        except BaseException as error:
            books.drop(lease.ticket)
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
        if books.housekeeper is not None:
            books.housekeeper.ring()

    def close_all(self, timeout: float | None = None) -> bool:
        """Say QUIT on idle connections now and on leased ones when they come back; nothing is lent any more.

        `timeout`: wait up to so many seconds until they are back, and cut off those that are not; whoever uses one
        finds its link gone. None: do not wait. Returns whether all came back.
        """
        books = self._books()
        deadline = time.monotonic() + (timeout or 0.0)
        with books.lock:
            self._is_closed = True
            books.closed.set()
            idle = books.take_idle()
            books.ring()
        if books.housekeeper is not None:
            books.housekeeper.ring()
        self._retire(books, idle, FAREWELL if timeout is None else min(timeout, FAREWELL))
        return not books.held if timeout is None else self._await_leases(books, deadline)

    def tend(self) -> float | None:
        """Do the housekeeping once: close what idled too long, check what is stale, open ahead what is wanted.

        Returns the seconds until the next time, or None if nothing wants it. A failure to open is not told here: the
        next lease finds it.
        """
        books = self._books()
        due = True
        while due:
            with books.lock:
                if self._is_closed or not self._limits.min_idle:
                    return None
                overdue = books.take_idled_out(self._limits, self._clock())
                stale = () if overdue else books.take_if(self._needs_care)
            due = bool(overdue or stale)
            self._retire(books, overdue)
            for ticket, link in stale:
                try:
                    self._settle(books, ticket, link, is_fit=self._is_sound(link, check=False))
                except BaseException:
                    books.drop(ticket)
                    raise
        while self._open_ahead(books):
            pass
        return self._limits.health_check_interval

    def give_up_idle(self) -> bool:
        """Close the connection that has been idle longest, so that others may connect; whether there was one."""
        books = self._books()
        with books.lock:
            given_up = books.take_longest_idle()
        self._retire(books, given_up)
        return bool(given_up)

    def _have_tended(self, books: Books) -> None:
        if not self._tends_itself:
            return
        with books.lock:
            keeper = books.housekeeper
            if keeper is None or not keeper.thread.is_alive():
                # No thread is to be had, as while the interpreter ends: a lease needs no housekeeper.
                with suppress(RuntimeError):
                    books.housekeeper = Housekeeper(self)
                return
        if within.wants_ahead(len(books.idle), len(books.held), self._limits):
            keeper.ring()

    def _needs_care(self, link: Link) -> bool:
        return self._is_spent(link) or within.needs_check(self._clock() - link.heard_at, self._limits)

    def _open_ahead(self, books: Books) -> bool:
        """Open one link that `min_idle` wants; False if none is wanted or can be had."""
        with books.lock:
            ticket = None if self._is_closed else books.reserve(self._limits)
        if ticket is None:
            return False
        try:
            link = self._new_link(books, ticket, 0.0, ahead=True)
            books.held[ticket.number] = link
            self._settle(books, ticket, link, is_fit=True)
        except SmtpError:
            books.forget(ticket)
            return False
        except BaseException:
            books.drop(ticket)
            raise
        return True

    @staticmethod
    def _await_leases(books: Books, deadline: float) -> bool:
        books.on_leaving = came_back = Bell()
        while books.held and came_back.wait(deadline - time.monotonic()):
            pass
        late = tuple(books.held.values())
        for link in late:
            if link is not None:
                link.cut_off()
        return not late

    def _books(self) -> Books:
        """Give this process's books. What a parent opened is closed here without a word: it may be in use there."""
        mine = os.getpid()
        books = self._by_process.get(mine)
        if books is None:
            # setdefault and pop are atomic, so that no lock is needed that a fork could have frozen.
            books = self._by_process.setdefault(mine, Books(self._limiter()))
            for process in tuple(self._by_process):
                inherited = self._by_process.pop(process, None) if process != mine else None
                for each in inherited.all_open() if inherited else ():
                    each.close()
        return books

    def _limiter(self) -> RateLimiter | None:
        limit = self._config.rate_limit
        if limit is None or limit.max_connections is None:
            return None
        return RateLimiter(limit.max_connections, limit.window, self._clock, "new connections")

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
                if not overdue and books.has_room(ticket, self._limits):
                    return books.grant(ticket)
            if overdue:
                self._retire(books, overdue)
                continue
            if not ticket.bell.wait(deadline - self._clock()):
                raise self._no_place(timeout)

    def _no_place(self, timeout: float) -> PoolError:
        busy = f"all {self._limits.max_connections} connections to {self._config.place} are in use"
        if timeout <= 0:
            return PoolError(busy, ErrorKind.POOL_EXHAUSTED)
        return PoolError(
            f"{busy}, and none came back in {timeout:g} s; see pool.max_connections", ErrorKind.ACQUIRE_TIMEOUT
        )

    def _await_turn(self, books: Books, *, ahead: bool) -> None:
        """Wait until one more connection may be opened, as `RateLimitConfig` says; nobody waits ahead of need."""
        limit = self._config.rate_limit
        if books.limiter is None or limit is None:
            return
        turn = books.limiter.reserve(0.0 if ahead else limit.patience)
        while (left := turn - self._clock()) > 0:
            if books.closed.wait(min(left, _LONGEST_WAIT)) or self._is_closed:
                raise CancelledError("the pool has been closed")

    def _new_link(self, books: Books, ticket: Ticket, patience: float, *, ahead: bool = False) -> Link:
        self._await_turn(books, ahead=ahead)
        place = None
        if self._host_limits is not None:
            place = self._host_limits.take(self._config.place, self, max(0.0, patience), politely=ahead)
        opening = Opening()
        books.held[ticket.number] = opening
        try:
            connection = self._opened(opening)
        except BaseException as error:
            if place is not None:
                place.leave()
            if opening.is_cut_off and isinstance(error, SmtpError):
                raise CancelledError("the pool has been closed") from None
            raise
        now = self._clock()
        return Link(connection, now, within.lifetime(self._limits, self._chance()), now, now, place)

    def _opened(self, opening: Opening) -> Connection:
        if self._open is None:
            return Connection.open(self._config, opening.dial, self._sessions)
        connection: Connection | None = self._open(self._config)
        if connection is None:
            raise TypeError("what opens connections gave None; does it return what it opened?")
        if opening.is_cut_off:
            connection.close()
            raise CancelledError("the pool has been closed")
        return connection

    def _is_spent(self, link: Link) -> bool:
        age = self._clock() - link.opened_at
        return within.is_spent(age, link.lifetime, link.connection.delivered, self._limits)

    def _is_sound(self, link: Link, *, check: bool) -> bool:
        if not link.connection.usable or self._is_spent(link):
            return False
        if check or within.needs_check(self._clock() - link.heard_at, self._limits):
            sound = link.connection.noop(_SIGN_OF_LIFE)
            link.heard_at = self._clock()
            return sound
        return True

    def _take_back(self, books: Books, ticket: Ticket) -> None:
        """End a lease: its connection idles if it is fit, or is closed; then its place is free."""
        link = books.held.get(ticket.number)
        if not isinstance(link, Link) or books is not self._books():
            books.forget(ticket)
            return
        link.idle_since = link.heard_at = self._clock()
        self._settle(books, ticket, link, is_fit=link.connection.usable and not self._is_spent(link))

    def _settle(self, books: Books, ticket: Ticket, link: Link, *, is_fit: bool) -> None:
        """Let a link that has a place idle if it is fit and has room, or close it."""
        if is_fit and not (self._host_limits is not None and self._host_limits.is_wanted(self._config.place)):
            with books.lock:
                if not self._is_closed and within.fits(len(books.held), self._limits):
                    books.put_back(ticket, link)
                    return
        self._retire(books, ((ticket, link),))

    def _retire(self, books: Books, links: Iterable[tuple[Ticket, Link]], patience: float = _PARTING) -> None:
        """Part with links; so many seconds for all of them: a server that has gone silent is silent on each."""
        deadline, waiting = self._clock() + patience, iter(links)
        try:
            for ticket, link in waiting:
                try:
                    self._part(link, deadline - self._clock())
                finally:
                    books.drop(ticket)
        except BaseException:
            for ticket, _ in waiting:
                books.drop(ticket)
            raise

    @staticmethod
    def _part(link: Link, patience: float = _PARTING) -> None:
        """Say QUIT where it can be said, and close."""
        link.connection.quit(max(patience, _SHORTEST_FAREWELL))
        link.close()
