"""Whoever watches the mails of a worker's process: Celery's events, and signals.

Law: called in a drain's way, so it neither waits nor raises, and costs next to nothing while nobody watches.
"""

import time
from collections.abc import Sequence

from mailworker.events import EventStream
from mailworker.record import Batch, Settlement
from mailworker.sights import Sight
from mailworker.signals import Herald


class Witness:
    """Sees what a drain or the watch does, and passes it on to those who asked."""

    def __init__(self, events: EventStream, herald: Herald) -> None:
        self._events = events
        self._herald = herald

    def claimed(self, batch: Batch) -> None:
        """See a batch begin."""
        if batch.mails and self._events.is_watched:
            at = time.time()
            self._events.claimed([Sight.of_claim(claim, at) for claim in batch.mails])
        if batch.ended:
            self.ended([(mail.id, mail.state.value) for mail in batch.ended])

    def settled(self, settlements: Sequence[Settlement], states: Sequence[str]) -> None:
        """See verdicts that are written."""
        is_watched, is_heard = self._events.is_watched, self._herald.is_heard
        if not (is_watched or is_heard):
            return
        at = time.time()
        sights = [Sight.of_settlement(verdict, state, at) for verdict, state in zip(settlements, states, strict=True)]
        if is_watched:
            self._events.settled(sights)
        if is_heard:
            for sight in sights:
                self._herald.settled(sight)

    def ended(self, mails: Sequence[tuple[str, str]]) -> None:
        """See mails, each an id and a state, that ended without an attempt."""
        if not mails:
            return
        if self._events.is_watched:
            self._events.ended(mails)
        if self._herald.is_heard:
            for mail_id, _ in mails:
                self._herald.ended(mail_id)

    def close(self) -> None:
        """Pass on what waits, within a moment."""
        self._events.close()
        self._herald.close()
