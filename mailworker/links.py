"""How many connections this process may have to each relay: leased from all that the relay stands, for all workers.

Law: no link without a lease, and none is kept that others wait for while nothing is sent. A thread renews them: a dead
process stops renewing, and its share comes free.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from mailworker.fleet import Links
from mailworker.ledger import LedgerError
from mailworker.log import logger

_LEASE_MS = 20_000
_UNUSED_SECONDS = 2.0
_ASK_AGAIN_MS = 500


class Berth:
    """The connections of this process to one relay. `pools` are its own count, and its host's where that is bounded.

    `allow` is told how many links there may be, and 0 when all must be closed; `begin` is called when some are held.
    Raises LedgerError.
    """

    ask_again_ms = _ASK_AGAIN_MS

    def __init__(
        self, pools: Sequence[Links], who: str, want: int, allow: Callable[[int], None], begin: Callable[[], None]
    ) -> None:
        self._pools = pools
        self._begin = begin
        self._who = who
        self._want = want
        self._allow = allow
        self._lock = threading.Lock()
        self._renewed = -float("inf")
        self._used = 0.0
        self._users = 0
        self.held = 0
        self.is_wanted = False

    def take(self) -> bool:
        """Make sure of a link; False: all are taken."""
        with self._lock:
            self._used = time.monotonic()
            if not self.held or self._used - self._renewed > _LEASE_MS / 3000:
                self._lease(self._want)
            return self.held > 0

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """While something is sent: the links are not given away."""
        with self._lock:
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                self._used = time.monotonic()

    def crowded(self) -> int:
        """Tell that the relay stands no more; gives the most from now on."""
        return self._pools[0].crowded()

    def tend(self) -> None:
        """Renew what is held, and give back what others wait for and nobody here uses."""
        with self._lock:
            if not self.held:
                return
            is_idle = not self._users and time.monotonic() - self._used > _UNUSED_SECONDS
            self._lease(0 if is_idle and self.is_wanted else self._want)

    def give_back(self) -> None:
        """Give everything back."""
        with self._lock:
            if self.held:
                self._lease(0)

    def _lease(self, want: int) -> None:
        held, others = want, 0
        for links in self._pools:
            holding = links.lease(self._who, held, _LEASE_MS)
            held, others = min(held, holding.links), others + holding.waiting
        if held < want and len(self._pools) > 1:
            for links in self._pools:  # one bound may be tighter than another: none keeps what the other forbids
                links.lease(self._who, held, _LEASE_MS)
        self._renewed = time.monotonic()
        self.is_wanted = others > 0
        if held != self.held:
            self.held = held
            self._begin()
            self._allow(held)


class Harbour:
    """All berths of a process, and the thread that tends them, started with the first lease: after the fork."""

    def __init__(self) -> None:
        self._berths: list[Berth] = []
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False

    def berth(self, pools: Sequence[Links], who: str, want: int, allow: Callable[[int], None]) -> Berth:
        """Make a berth that is tended from its first lease on."""
        berth = Berth(pools, who, want, allow, self._begin)
        self._berths.append(berth)
        return berth

    def close(self) -> None:
        """Give everything back, and end the thread."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join(timeout=_LEASE_MS / 1000)
        for berth in self._berths:
            with suppress(LedgerError):
                berth.give_back()

    def _begin(self) -> None:
        with self._wake:
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._run, name="mailworker-links", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            with self._wake:
                # As often as somebody who waits for a link asks again, not only as often as a lease needs it.
                self._wake.wait_for(lambda: self._closed, timeout=_UNUSED_SECONDS)
                if self._closed:
                    return
            for berth in self._berths:
                try:
                    berth.tend()
                except LedgerError as error:
                    logger.warning("leases of connections could not be renewed: %s", error)
