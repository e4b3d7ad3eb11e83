"""One batch on its way over one wire: what may be on it, what is marked, what is told and not yet written down."""

import time
from collections.abc import Callable, Collection, Sequence

from mailworker.record import Claim, Settlement
from mailworker.settlement import Mail

# So many mails are marked and settled together at most, where the wire itself has fewer in flight,
WINDOW = 10
# if it takes less than this for each of them: then a verdict is written down at most so much later.
QUICK_SECONDS = 0.01
_TELL_WITHIN_SECONDS = 0.1
# A link that waits so long for a reply leaves room for another beside it. It may be an accident, for a process that the
# machine keeps from running sees late replies too; not if it happens again, or takes very long.
_LONG_WAIT_SECONDS, _VERY_LONG_SECONDS = 0.025, 0.1
_NO_ACCIDENT = 2
# A mark that is older is renewed, for it is the proof that the claim is ours. Leases last a second at least.
_MARK_HOLDS_SECONDS = 0.25


class Passage:
    """Answers the wire's questions, and keeps what the ledger must be told.

    `pace`: seconds that the relay took for a mail of late, None: not known.

    A window is what is marked and settled together. The wire decides how many mails are in flight; where it carries
    them one by one and quickly, mails are marked some ahead, so that both ways of sending ask the ledger as rarely, and
    a worker that is killed leaves no more mails in doubt than with windows on the wire.
    """

    def __init__(
        self,
        mails: Sequence[Mail],
        settle: Callable[[list[Settlement]], None],
        turn: Callable[[list[Settlement], Sequence[Claim]], Sequence[bool] | None],
        pace: float | None,
    ) -> None:
        self.left = {mail.claim.id: mail.claim for mail in mails}
        self.told: list[Settlement] = []
        self.pace = pace
        self.is_stopped = False
        self._claims = [mail.claim for mail in mails]
        self._settle, self._turn = settle, turn
        self._ahead: set[int] = set()
        self._permitted: set[int] = set()
        self._awaited: set[int] = set()
        self._window: Sequence[int] = ()
        self._turned_at = self._heard_at = 0.0
        self._answered = 0
        self._heard = self._long_waits = 0

    @property
    def is_quick(self) -> bool:
        """Whether mails went quickly of late."""
        return self.pace is not None and self.pace < QUICK_SECONDS

    @property
    def is_waiting(self) -> bool | None:
        """Whether the link mostly waits for replies; None: too little is known."""
        if self._long_waits >= _NO_ACCIDENT:
            return True
        return False if self._heard >= WINDOW and self._long_waits * WINDOW < self._heard else None

    @property
    def unsent(self) -> Collection[str]:
        """Ids of mails of which nothing can have been sent, marked or not."""
        return {claim.id for index, claim in enumerate(self._claims) if index not in self._permitted}

    def permit(self, dots: Sequence[int]) -> Collection[int]:
        """Answer the wire which final dots may be written; whatever is told is written down first."""
        now = time.monotonic()
        if not self._ahead.issuperset(dots) or now - self._turned_at > _MARK_HOLDS_SECONDS:
            self._mark([*dots, *self._following(dots, WINDOW - len(dots) if self.is_quick else 0)])
        allowed = [index for index in dots if index in self._ahead]
        self._ahead.difference_update(allowed)
        self._permitted.update(allowed)
        self._awaited.update(allowed)
        self._window = allowed
        return allowed

    def is_denied(self, index: int) -> bool:
        """Whether a person has stopped it, and all behind it."""
        return self.is_stopped and index not in self._permitted

    def tell(self, index: int, settlement: Settlement) -> bool:
        """Take a verdict. True: no mail is on the wire now, as far as we permitted."""
        self.told.append(settlement)
        del self.left[settlement.claim.id]
        if index in self._awaited:
            self._awaited.discard(index)
            self._hear(time.monotonic())
        if not self._awaited and not (self.is_quick and self._is_young()):
            # A whole window is told at once, and the next one goes at once.
            following = self._following(self._window, len(self._window)) if len(self._window) > 1 else []
            if following:
                self._mark(following)
            else:
                self._settle(self.told)
        return not self._awaited

    def _mark(self, window: Sequence[int]) -> None:
        """Have verdicts written and these mails marked, in one call."""
        ours = self._turn(self.told, [self._claims[index] for index in window])
        self.is_stopped = ours is None
        self._ahead = {index for index, is_ours in zip(window, ours or (), strict=not self.is_stopped) if is_ours}
        self._turned_at = self._heard_at = time.monotonic()
        self._answered = 0

    def _following(self, dots: Sequence[int], most: int) -> list[int]:
        """Name the next mails that are still to be sent."""
        first = max(dots) + 1
        behind = range(first, min(first + most, len(self._claims)))
        return [index for index in behind if self._claims[index].id in self.left]

    def _hear(self, now: float) -> None:
        self._heard += 1
        self._answered += 1
        self.pace = (now - self._turned_at) / self._answered
        waited, self._heard_at = now - self._heard_at, now
        self._long_waits += (waited >= _LONG_WAIT_SECONDS) + (waited >= _VERY_LONG_SECONDS)

    def _is_young(self) -> bool:
        return time.monotonic() - self._turned_at < _TELL_WITHIN_SECONDS
