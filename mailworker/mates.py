"""Those who drain one lane of one relay side by side, as each of them sees the others.

Law: they share one slice of time, and what they learn of the relay's pace.
"""

from typing import Protocol

from mailworker.passage import QUICK_SECONDS, Passage

_BATCHES_AHEAD = 5
_SOON_SECONDS = 0.2


class Mates(Protocol):
    """What a drain tells the others and hears from them.

    `pace`: seconds that the relay last took for a mail on one link; None: not known.
    """

    pace: float | None

    @property
    def links(self) -> int:
        """How many there are."""

    def left_seconds(self) -> float:
        """How long this slice still lasts."""

    def needed(self, mails: int, pace: float) -> None:
        """Hear that so many mails wait, and that one link takes so long for each."""

    def leave(self) -> bool:
        """Hear that somebody got no link. True: others have one, and he need not be missed."""


def share(limit: int, ready_left: int, mates: Mates) -> int:
    """How many mails one of them should take: of a slow relay's line no more than it can carry before the others."""
    if mates.pace is None:
        return 1  # which tells whether more links are needed, before a slow one is handed a whole batch
    if mates.pace < QUICK_SECONDS:
        return limit
    return max(1, min(limit, int(mates.left_seconds() / mates.pace), ready_left // (2 * mates.links)))


def ahead(mails: int, mates: Mates) -> int:
    """How many mails one of them will soon want that wants so many now: where it goes quickly, several batches."""
    if mates.pace is None or mates.pace >= QUICK_SECONDS:
        return mails
    return min(_BATCHES_AHEAD * mails, int(_SOON_SECONDS / mates.pace))


def shared(passage: Passage, limit: int, ready_left: int, mates: Mates) -> bool:
    """Tell the others how it goes with a batch; whether what is left of it is too much for one link."""
    if passage.pace is None:
        return False
    mates.pace = passage.pace
    if not passage.is_waiting:
        return False
    mates.needed(ready_left + len(passage.left), passage.pace)
    return len(passage.left) > share(limit, ready_left, mates)
