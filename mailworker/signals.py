"""Signals, as Celery has them: connect a function, and it is called when something became of a mail.

    from mailworker.signals import mail_bounced

    @mail_bounced.connect
    def note(mail_id, recipients, **_): ...

`mail_accepted` is sent in the process that called `send_email`, before the call returns. The others are sent in the
worker, by a thread of their own: a receiver that is slow or raises holds up nobody but other receivers, and when more
than ten thousand signals wait, new ones are dropped and counted in the log. They tell of what happened while nobody was
killed; what must not be missed is a matter for `link` and `link_error`.

Every receiver gets `mail_id`, `lane`, `state` and `attempts`, those in the worker also `recipients`, a tuple of masked
`RecipientReport`s: just those to whom it happened. The sender is the lane: `mail_bounced.connect(f, sender="bulk")`.
"""

from collections.abc import Callable

from celery.utils.dispatch import Signal

from mailworker.courier import Courier
from mailworker.report import MailReport
from mailworker.sealing import KeyRing
from mailworker.sights import Sight

_GIVEN = ("mail_id", "lane", "state", "attempts")
_TO_RECIPIENTS = (*_GIVEN, "recipients")

mail_accepted = Signal(name="mail_accepted", providing_args=_GIVEN)
mail_delivered = Signal(name="mail_delivered", providing_args=_TO_RECIPIENTS)
mail_deferred = Signal(name="mail_deferred", providing_args=_TO_RECIPIENTS)
mail_bounced = Signal(name="mail_bounced", providing_args=_TO_RECIPIENTS)
mail_in_doubt = Signal(name="mail_in_doubt", providing_args=_TO_RECIPIENTS)

_OF_LETTER = (("d", mail_delivered), ("p", mail_deferred), ("b", mail_bounced), ("i", mail_in_doubt))
_CLOSE_SECONDS = 2.0


class Herald:
    """Sends a worker's signals, from a thread of its own."""

    def __init__(self, keys: KeyRing, report: Callable[[str], MailReport | None]) -> None:
        self._keys = keys
        self._report = report
        self._courier = Courier("signals")

    @property
    def is_heard(self) -> bool:
        """Whether anybody has connected."""
        return any(signal.receivers for _, signal in _OF_LETTER)

    def settled(self, sight: Sight) -> None:
        """Tell what became of each recipient in an attempt."""
        self._courier.hand(lambda: self._send(sight))

    def ended(self, mail_id: str) -> None:
        """Tell of a mail that ended without an attempt: expired, given up, or found in doubt."""
        self._courier.hand(lambda: self._send_end(mail_id))

    def close(self) -> None:
        """Send what waits, within a moment."""
        self._courier.close(_CLOSE_SECONDS)

    def _send(self, sight: Sight) -> None:
        for letter, signal in _OF_LETTER:
            if letter in sight.letters and signal.receivers:
                signal.send(
                    sender=sight.lane,
                    mail_id=sight.id,
                    lane=sight.lane,
                    state=sight.state,
                    attempts=sight.attempts,
                    recipients=sight.reports(letter, self._keys),
                )

    def _send_end(self, mail_id: str) -> None:
        report = self._report(mail_id)
        if report is None:
            return
        is_in_doubt = report.state == "in_doubt"
        wanted = {"in_doubt"} if is_in_doubt else {"pending", "bounced"}
        (mail_in_doubt if is_in_doubt else mail_bounced).send(
            sender=report.lane,
            mail_id=report.id,
            lane=report.lane,
            state=report.state,
            attempts=report.attempts,
            recipients=tuple(one for one in report.recipients if one.state in wanted),
        )
