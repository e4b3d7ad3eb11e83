"""Keeping claims alive while their mails are being delivered.

Law: a claim is renewed by the process that works on it and by nobody else, so that a killed process stops renewing and
its mails come free one lease later. One thread a process, started at the first claim, asleep while nothing is held.
"""

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from mailworker.ledger import MOST_AT_ONCE, Ledger, LedgerError
from mailworker.log import logger
from mailworker.record import Claim


class Renewer:
    """Renews what is held, three times a lease. Make it after the fork."""

    def __init__(self, ledger: Ledger, lease_ms: int) -> None:
        self._ledger = ledger
        self._lease_ms = lease_ms
        self._held: dict[str, tuple[str, Claim]] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False

    @contextmanager
    def holding(self, lane: str, claims: Sequence[Claim]) -> Iterator["Renewer"]:
        """Renew these claims until the block ends, or until each is let go."""
        with self._changed:
            self._held.update((claim.id, (lane, claim)) for claim in claims)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="mailworker-renewer", daemon=True)
                self._thread.start()
            self._changed.notify()
        try:
            yield self
        finally:
            self.let_go(claims)

    def let_go(self, claims: Iterable[Claim]) -> None:
        """Stop renewing claims: they are settled or given back. Another thread may hold a mail by a newer fence."""
        with self._changed:
            for claim in claims:
                _, held = self._held.get(claim.id, ("", None))
                if held is not None and held.fence == claim.fence:
                    del self._held[claim.id]

    def close(self) -> None:
        """End the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(timeout=self._lease_ms / 1000)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._held or self._closed)
                self._changed.wait_for(lambda: self._closed, timeout=self._lease_ms / 3000)
                if self._closed:
                    return
                by_lane: dict[str, list[Claim]] = {}
                for lane, claim in self._held.values():
                    by_lane.setdefault(lane, []).append(claim)
            for lane, claims in by_lane.items():
                for first in range(0, len(claims), MOST_AT_ONCE):
                    self._renew(lane, claims[first : first + MOST_AT_ONCE])

    def _renew(self, lane: str, claims: list[Claim]) -> None:
        try:
            ours = self._ledger.renew(lane, claims, self._lease_ms)
        except LedgerError as error:
            # The next round tries again; if the lease is over by then, mark_dot will refuse to send.
            logger.warning("claims could not be renewed: %s", error)
            return
        lost = len(claims) - sum(ours)
        if lost:
            logger.info("%d claims of lane %s were settled or lost while being renewed", lost, lane)
