"""Places, and the queue for them: first come, first served."""

import itertools
import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Held = TypeVar("Held")


class Bell:
    """Whoever waits for it is woken once, however often it was rung. Anyone may ring, from anywhere.

    It is a bare lock, whose release is atomic: a lease that the garbage collector finds may ring from under any lock,
    and so may a signal handler. `queue.SimpleQueue` is as good at that, but before CPython 3.13 its `get` waits for
    ever if a signal comes when its time is just up.
    """

    def __init__(self) -> None:
        self._silence = threading.Lock()
        self._silence.acquire()

    def ring(self) -> None:
        """Wake who waits, now or next."""
        with suppress(RuntimeError):  # it has been rung before
            self._silence.release()

    def wait(self, seconds: float) -> bool:
        """Wait for so many seconds at most; whether it was rung."""
        return self._silence.acquire(timeout=min(max(0.0, seconds), threading.TIMEOUT_MAX))


@dataclass(slots=True, eq=False)
class Ticket:
    """A turn in the queue, and later the number of the place. Its bell rings when it is worth looking again."""

    number: int
    bell: Bell = field(default_factory=Bell)


class Turns(Generic[Held]):
    """Who holds a place, and who waits for one.

    `lock` guards what takes more than one step; `forget` and `ring` alone may be called without it.
    """

    def __init__(self) -> None:
        # Reentrant: a signal handler may ask a pool, or end it, while its thread is in here.
        self.lock = threading.RLock()
        self.held: dict[int, Held] = {}  # by ticket number
        self.on_leaving: Bell | None = None
        self._waiting: deque[Ticket] = deque()
        self._numbers = itertools.count(1)

    @property
    def pending(self) -> int:
        """How many wait for a place."""
        return len(self._waiting)

    def ticket(self) -> Ticket:
        """Number a turn; it does not queue yet."""
        return Ticket(next(self._numbers))

    def enqueue(self, ticket: Ticket) -> None:
        """Wait in line."""
        self._waiting.append(ticket)

    def is_next(self, ticket: Ticket) -> bool:
        """Whether this ticket is the first in line: nobody overtakes."""
        return self._waiting[0] is ticket

    def admit(self, ticket: Ticket, what: Held) -> None:
        """Give the first in line a place, and have the next look whether there is one more."""
        self._waiting.popleft()
        self.held[ticket.number] = what
        self.ring()

    def forget(self, ticket: Ticket) -> None:
        """Give up a ticket's turn or place, whichever it has.

        Each step is atomic by itself, so that a finalizer may call this while the lock is held.
        """
        with suppress(ValueError):
            self._waiting.remove(ticket)
        self.held.pop(ticket.number, None)
        self.ring()
        if self.on_leaving is not None:
            self.on_leaving.ring()

    def ring(self) -> None:
        """Have the first in line look again; it rings for the next if there is more."""
        with suppress(IndexError):
            self._waiting[0].bell.ring()
