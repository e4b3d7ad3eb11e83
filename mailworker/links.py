"""How many connections this process may have to each relay: leased from all that the relay stands, for all workers.

Law: no link without a lease, and none is given away before it is closed. No more are leased than there are threads that
send; what nobody uses and others wait for is given back. A thread renews them: a dead process stops renewing, and its
share comes free; one that cannot renew closes its links before others may have them.
"""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from mailworker.fleet import Links
from mailworker.ledger import LedgerError, LedgerUnavailableError
from mailworker.log import logger

_LEASE_MS = 20_000
# Renewing may have been tried in vain for as long as a call to Redis takes, and must be given up before the lease ends.
_LAPSE_SECONDS = 10.0
_TEND_SECONDS, _TEND_WANTED_SECONDS = 2.0, 0.5
_UNUSED_SECONDS = 0.5
_ASK_AGAIN_MS = 500
# A relay that refuses a link is not asked for one again so soon, twice as long each time.
_CROWDED_SECONDS, _LONGEST_CROWDED_SECONDS = 0.5, 30.0

Allow = Callable[[int], int]
"""Is told how many links there may be, closes those beyond, and gives how many are still open: in use, it may be."""


class Berth:
    """The connections of this process to one relay. `pools` are its own count, and its host's where that is bounded.

    `most` links at most; `begin` is called when some are held, so that they are tended. Raises LedgerError.
    """

    def __init__(
        self, pools: Sequence[Links], who: str, most: int, allow: Allow, begin: Callable[[], None] = lambda: None
    ) -> None:
        self._pools = pools
        self._begin = begin
        self._who = who
        self._most = most
        self._allow = allow
        self._lock = threading.Lock()
        self._renewed = -float("inf")
        self._used = self._again_at = 0.0
        self._patience = _CROWDED_SECONDS
        self._users = 0
        self._is_short = False
        # How many count as open, although they may not be held any more.
        self._counted = 0
        self.held = 0
        self.is_wanted = False

    def take(self) -> bool:
        """Make sure of a link for the caller, until he leaves; False: all are taken."""
        with self._lock:
            self._used = now = time.monotonic()
            if now < self._again_at and self._users >= self._allow(self.held):
                return False
            if self._users >= self.held or now - self._renewed > _LEASE_MS / 3000:
                self._lease(max(self.held, min(self._most, self._users + 1)))
            if self._users >= self.held:
                return False
            self._users += 1
            return True

    def leave(self) -> None:
        """End what `take` began."""
        with self._lock:
            self._users -= 1
            self._used = time.monotonic()
            if self._used >= self._again_at:
                self._patience = _CROWDED_SECONDS
            if not self.held:
                self._allow(0)

    def rest(self) -> None:
        """Give the links to those who wait, unless other threads use them: nothing will be sent for a while."""
        with self._lock:
            if self.is_wanted and self.held and not self._users:
                self._lease(0)

    @property
    def room(self) -> int:
        """How many threads may hope for a link."""
        return max(1, self.held) if self._is_short or time.monotonic() < self._again_at else self._most

    @property
    def ask_again_ms(self) -> int:
        """When to ask again after all were taken."""
        return max(_ASK_AGAIN_MS, round((self._again_at - time.monotonic()) * 1000))

    def crowded(self) -> tuple[int, bool]:
        """Tell that the relay stands no more; gives the most from now on, and whether that is news."""
        most, is_news = self._pools[0].crowded(self._who)
        with self._lock:
            self._again_at = time.monotonic() + self._patience
            self._patience = min(2 * self._patience, _LONGEST_CROWDED_SECONDS)
            self._lease(max(self._users, 1))
        return most, is_news

    def tend(self) -> None:
        """Renew what is held, and give back what others wait for and nobody here uses."""
        with self._lock:
            if not self.held and not self._counted:
                return
            is_idle = not self._users and time.monotonic() - self._used > _UNUSED_SECONDS
            needed = self._users or int(not is_idle)
            is_spare = self.is_wanted or (is_idle and not self._allow(self.held))
            self._lease(needed if is_spare else self.held)

    def lapse(self) -> None:
        """Give up what could not be renewed in time, for others will have it."""
        with self._lock:
            if self.held and time.monotonic() - self._renewed > _LAPSE_SECONDS:
                self.held = 0
                self._allow(0)

    def give_back(self) -> None:
        """Give everything back."""
        with self._lock:
            if self.held or self._counted:
                self._lease(0)

    def _lease(self, want: int) -> None:
        still_open = self._open(min(want, self.held))
        may = self._ask(want, still_open)
        self._renewed = time.monotonic()
        self._is_short = may < want
        if may != self.held:
            self.held = may
            self._begin()
        left_open = self._counted = self._open(may)
        if left_open < still_open:
            self._ask(want, left_open, may)

    def _open(self, links: int) -> int:
        """Close what is beyond so many; whoever was promised a link may open it at any moment, so his counts."""
        return max(self._allow(links), self._users)

    def _ask(self, want: int, still_open: int, allowed: int | None = None) -> int:
        """Ask each pool; none keeps what another forbids."""
        may, others, answers = want if allowed is None else allowed, 0, []
        for links in self._pools:
            holding = links.lease(self._who, want, _LEASE_MS, allowed=may, still_open=still_open)
            answers.append(holding.links)
            may, others = min(may, holding.links), others + holding.waiting
        self.is_wanted = others > 0
        return self._ask(want, still_open, may) if max(answers) > may else may


class Harbour:
    """All berths of a process, and the thread that tends them, started with the first lease: after the fork."""

    def __init__(self) -> None:
        self._berths: list[Berth] = []
        self._kept: dict[object, Callable[[], object]] = {}
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._is_cut_off = False

    def berth(self, pools: Sequence[Links], who: str, most: int, allow: Allow) -> Berth:
        """Make a berth that is tended from its first lease on."""
        berth = Berth(pools, who, most, allow, self._begin)
        self._berths.append(berth)
        return berth

    def keep(self, renew: Callable[[], object]) -> Callable[[], None]:
        """Renew something else along with the leases, until what this gives is called."""
        name = object()
        self._kept[name] = renew
        self._begin()
        return lambda: self._kept.pop(name, None) and None

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
                is_wanted = any(berth.is_wanted for berth in self._berths)
                pause = _TEND_WANTED_SECONDS if is_wanted else _TEND_SECONDS
                self._wake.wait_for(lambda: self._closed, timeout=pause)
                if self._closed:
                    return
            self._tend()

    def _tend(self) -> None:
        has_failed = False
        for tend in [*(berth.tend for berth in self._berths), *tuple(self._kept.values())]:
            try:
                tend()
            except LedgerError as error:
                has_failed = True
                if not self._is_cut_off:
                    logger.warning("leases of connections could not be renewed: %s", error)
                self._is_cut_off = True
                for berth in self._berths:
                    berth.lapse()
                if isinstance(error, LedgerUnavailableError):
                    return  # each further call may take as long
        self._is_cut_off = has_failed
