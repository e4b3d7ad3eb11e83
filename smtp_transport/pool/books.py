"""What a pool holds in one process: idle links, places in use, and the queue for places. No bytes are moved here."""

import bisect
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from smtp_transport.config import PoolConfig
from smtp_transport.connection import Connection
from smtp_transport.pool import limits as within
from smtp_transport.pool.host_limits import HostPlace
from smtp_transport.pool.housekeeper import Housekeeper
from smtp_transport.pool.opening import Opening
from smtp_transport.pool.turns import Ticket, Turns
from smtp_transport.resilience import RateLimiter


@dataclass(slots=True, eq=False)
class Link:
    """An open connection and its times, in seconds of the pool's clock."""

    connection: Connection
    opened_at: float
    lifetime: float
    idle_since: float
    heard_at: float
    host_place: HostPlace | None = None

    def cut_off(self) -> None:
        """Have whoever uses it find it gone. Any thread may call this."""
        self.connection.abort()

    def close(self) -> None:
        """Close without a word, and let others connect to the host."""
        self.connection.close()
        if self.host_place is not None:
            self.host_place.leave()


@dataclass(slots=True, eq=False)
class OwnTicket(Ticket):
    """A ticket that nobody's lease owns: when it is lost, to a signal's exception, its place is given back."""

    books: "Books | None" = None

    def __del__(self) -> None:
        if self.books is not None:
            self.books.drop(self)


class Books(Turns[Link | Opening | None]):
    """The counts. A place holds None until its link is looked for. `limiter` bounds how many links are opened."""

    def __init__(self, limiter: RateLimiter | None = None) -> None:
        super().__init__()
        self.limiter = limiter
        self.closed = threading.Event()
        self.idle: list[Link] = []  # the longest idle first
        self.housekeeper: Housekeeper | None = None

    def has_room(self, ticket: Ticket, limits: PoolConfig) -> bool:
        """Whether this ticket's turn has come, and there is a place. Nobody overtakes."""
        return within.has_room(len(self.held), limits) and self.is_next(ticket)

    def grant(self, ticket: Ticket) -> Link | None:
        """Give the first in line a place, and an idle link, if there is one."""
        # The newest: it is the likeliest to be alive, and the others may idle out.
        link = self.idle.pop() if self.idle else None
        self.admit(ticket, link)
        return link

    def take_idled_out(self, limits: PoolConfig, now: float) -> tuple[tuple[Ticket, Link], ...]:
        """Take out the links that have been idle for too long."""
        return self._take_out(within.idled_out([now - link.idle_since for link in self.idle], limits))

    def take_surplus(self, limits: PoolConfig) -> tuple[tuple[Ticket, Link], ...]:
        """Take out the idle links that a smaller pool has no place for."""
        return self._take_out(within.surplus(len(self.idle), len(self.held), limits))

    def take_idle(self) -> tuple[tuple[Ticket, Link], ...]:
        """Take out every idle link."""
        return self._take_out(len(self.idle))

    def take_longest_idle(self) -> tuple[tuple[Ticket, Link], ...]:
        """Take out one idle link, if there is one."""
        return self._take_out(min(1, len(self.idle)))

    def take_if(self, is_due: Callable[[Link], bool]) -> tuple[tuple[Ticket, Link], ...]:
        """Take out the longest idle link of which this holds, unless somebody waits for a place."""
        link = None if self.pending else next(filter(is_due, self.idle), None)
        if link is None:
            return ()
        ticket = self._own_ticket()
        self.idle.remove(link)
        self.held[ticket.number] = link
        return ((ticket, link),)

    def reserve(self, limits: PoolConfig) -> Ticket | None:
        """Take a place for a link that is to be opened ahead, if one is wanted and nobody waits."""
        if self.pending or not within.wants_ahead(len(self.idle), len(self.held), limits):
            return None
        ticket = self._own_ticket()
        self.held[ticket.number] = None
        return ticket

    def put_back(self, ticket: Ticket, link: Link) -> None:
        """Let a link idle, and its place go."""
        bisect.insort(self.idle, link, key=lambda other: other.idle_since)
        self.forget(ticket)

    def drop(self, ticket: Ticket) -> None:
        """Close what a place holds without a word, for nobody knows what was said last; then the place is free."""
        link = self.held.get(ticket.number)
        if link is not None:
            link.close()
        self.forget(ticket)

    def all_open(self) -> Iterable[Connection | Opening]:
        """Give every connection, idle, in use or being opened."""
        places = (*self.idle, *(each for each in self.held.values() if each is not None))
        return [each.connection if isinstance(each, Link) else each for each in places]

    def _take_out(self, count: int) -> tuple[tuple[Ticket, Link], ...]:
        """Move the longest idle links into places of their own: until it is closed, a link counts."""
        taken = tuple((self._own_ticket(), link) for link in self.idle[:count])
        del self.idle[:count]
        self.held.update({ticket.number: link for ticket, link in taken})
        return taken

    def _own_ticket(self) -> OwnTicket:
        return OwnTicket(self.ticket().number, books=self)
