"""What a pool holds in one process: idle links, places in use, and the queue for places. No bytes are moved here."""

import itertools
import queue
import threading
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from smtp_transport.config import PoolConfig
from smtp_transport.connection import Connection
from smtp_transport.pool import limits as within


@dataclass(slots=True, eq=False)
class Link:
    """An open connection and its times, in seconds of the pool's clock."""

    connection: Connection
    opened_at: float
    lifetime: float
    idle_since: float


@dataclass(slots=True, eq=False)
class Ticket:
    """A turn in the queue, and later the number of the place. Its bell rings when it is worth looking again."""

    number: int
    # Its put() is reentrant: a lease that the garbage collector finds may ring from anywhere, even from under the lock.
    bell: queue.SimpleQueue[None] = field(default_factory=queue.SimpleQueue)


class Books:
    """The counts. `lock` guards what takes more than one step; `forget` alone may be called without it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.idle: list[Link] = []  # the longest idle first
        self.held: dict[int, Link | None] = {}  # by ticket number; None while a link is being opened
        self._waiting: deque[Ticket] = deque()
        self._numbers = itertools.count(1)

    @property
    def pending(self) -> int:
        """How many wait for a place."""
        return len(self._waiting)

    def ticket(self) -> Ticket:
        """Number a lease; it does not queue yet."""
        return Ticket(next(self._numbers))

    def enqueue(self, ticket: Ticket) -> None:
        """Wait in line."""
        self._waiting.append(ticket)

    def grant(self, ticket: Ticket, limits: PoolConfig) -> bool:
        """Give the first in line a place, if there is one, with an idle link, if there is one. Nobody overtakes."""
        if self._waiting[0] is not ticket or not within.has_room(len(self.held), limits):
            return False
        self._waiting.popleft()
        # The newest: it is the likeliest to be alive, and the others may idle out.
        self.held[ticket.number] = self.idle.pop() if self.idle else None
        self.ring()
        return True

    def take_idled_out(self, limits: PoolConfig, now: float) -> tuple[tuple[Ticket, Link], ...]:
        """Take out the links that have been idle for too long."""
        return self._take_out(within.idled_out([now - link.idle_since for link in self.idle], limits))

    def take_surplus(self, limits: PoolConfig) -> tuple[tuple[Ticket, Link], ...]:
        """Take out the idle links that a smaller pool has no place for."""
        return self._take_out(within.surplus(len(self.idle), len(self.held), limits))

    def take_idle(self) -> tuple[tuple[Ticket, Link], ...]:
        """Take out every idle link."""
        return self._take_out(len(self.idle))

    def put_back(self, ticket: Ticket, link: Link) -> None:
        """Let a link idle, and its place go."""
        self.idle.append(link)
        self.forget(ticket)

    def forget(self, ticket: Ticket) -> None:
        """Give up a ticket's turn or place, whichever it has.

        Each step is atomic by itself, so that a finalizer may call this while the lock is held.
        """
        with suppress(ValueError):
            self._waiting.remove(ticket)
        self.held.pop(ticket.number, None)
        self.ring()

    def ring(self) -> None:
        """Have the first in line look again; it rings for the next if there is more."""
        with suppress(IndexError):
            self._waiting[0].bell.put(None)

    def all_links(self) -> Iterable[Link]:
        """Give every link, idle or in use."""
        return (*self.idle, *(link for link in self.held.values() if link is not None))

    def _take_out(self, count: int) -> tuple[tuple[Ticket, Link], ...]:
        """Move the longest idle links into places of their own: until it is closed, a link counts."""
        taken = tuple((self.ticket(), link) for link in self.idle[:count])
        del self.idle[:count]
        self.held.update({ticket.number: link for ticket, link in taken})
        return taken
