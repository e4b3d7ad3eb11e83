"""One batch on its way over one wire: what may be on it, what is marked, what is told and not yet written down."""

import time
from collections.abc import Callable, Collection, Sequence

from mailworker.record import Claim, Settlement
from mailworker.settlement import Mail

# So many mails are marked and settled together at most, where the wire itself has fewer in flight,
_WINDOW = 10
# if it takes less than this for each of them: then a verdict is written down at most so much later.
_QUICK_SECONDS = 0.01
_TELL_WITHIN_SECONDS = 0.1
# A mark that is older is renewed, for it is the proof that the claim is ours. Leases last a second at least.
_MARK_HOLDS_SECONDS = 0.25


class Passage:
    """Answers the wire's questions, and keeps what the ledger must be told.

    A window is what is marked and settled together. The wire decides how many mails are in flight; where it carries
    them one by one and quickly, mails are marked some ahead, so that both ways of sending ask the ledger as rarely, and
    a worker that is killed leaves no more mails in doubt than with windows on the wire.
    """

    def __init__(
        self,
        mails: Sequence[Mail],
        settle: Callable[[list[Settlement]], None],
        turn: Callable[[list[Settlement], Sequence[Claim]], Sequence[bool]],
        *,
        is_quick: bool,
    ) -> None:
        self.left = {mail.claim.id: mail.claim for mail in mails}
        self.told: list[Settlement] = []
        self.is_quick = is_quick
        self._claims = [mail.claim for mail in mails]
        self._settle, self._turn = settle, turn
        self._ahead: set[int] = set()
        self._permitted: set[int] = set()
        self._awaited: set[int] = set()
        self._turned_at = 0.0
        self._in_window = 0

    @property
    def unsent(self) -> Collection[str]:
        """Ids of mails of which nothing can have been sent, marked or not."""
        return {claim.id for index, claim in enumerate(self._claims) if index not in self._permitted}

    def permit(self, dots: Sequence[int]) -> Collection[int]:
        """Answer the wire which final dots may be written; whatever is told is written down first."""
        now = time.monotonic()
        if not self._ahead.issuperset(dots) or now - self._turned_at > _MARK_HOLDS_SECONDS:
            self._look_at_pace(now)
            window = [*dots, *self._following(dots)] if self.is_quick else list(dots)
            ours = self._turn(self.told, [self._claims[index] for index in window])
            self._ahead = {index for index, is_ours in zip(window, ours, strict=True) if is_ours}
            self._turned_at, self._in_window = time.monotonic(), 0
        allowed = [index for index in dots if index in self._ahead]
        self._ahead.difference_update(allowed)
        self._permitted.update(allowed)
        self._awaited.update(allowed)
        self._in_window += len(dots)
        return allowed

    def tell(self, index: int, settlement: Settlement) -> bool:
        """Take a verdict. True: no mail is on the wire now, as far as we permitted."""
        self.told.append(settlement)
        del self.left[settlement.claim.id]
        self._awaited.discard(index)
        if not self._awaited and not (self.is_quick and self._is_young()):
            self._settle(self.told)
        return not self._awaited

    def _following(self, dots: Sequence[int]) -> Sequence[int]:
        first = max(dots) + 1
        return range(first, min(first + _WINDOW - len(dots), len(self._claims)))

    def _look_at_pace(self, now: float) -> None:
        if self._in_window:
            self.is_quick = now - self._turned_at < _QUICK_SECONDS * self._in_window

    def _is_young(self) -> bool:
        return time.monotonic() - self._turned_at < _TELL_WITHIN_SECONDS
