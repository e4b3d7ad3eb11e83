"""Hooks of a program around each email, and the events that frame its sending.

Law: before anything is sent an interceptor may change or refuse an email; afterwards it may look, and nothing that it
raises then can make a sent email look unsent.
"""

import logging
import time
from collections.abc import Iterable, Sequence

from smtp_transport.client.results import SendResult, failure
from smtp_transport.errors import SmtpError
from smtp_transport.message import Email, RawEmail
from smtp_transport.observation import events
from smtp_transport.observation.observers import Observers
from smtp_transport.receipt import Receipt
from smtp_transport.resilience import Again, CircuitState, Progress

_log = logging.getLogger("smtp_transport.client")


class Interceptor:
    """Override what you need. The methods are called in the thread that sends, in the order of the interceptors."""

    def before_send(self, email: Email) -> Email:
        """Give the email to send, this one or another. A Message-ID that it lacks is given to it afterwards.

        An `SmtpError` raised here refuses this email alone; anything else goes to the caller before anything is sent.
        """
        return email

    def before_send_raw(self, message: RawEmail) -> RawEmail:
        """Do the same for a message that another program made, of the standard library or bytes."""
        return message

    def after_send(self, result: SendResult) -> None:
        """Look at what became of an email that reached someone."""

    def on_error(self, error: SmtpError) -> None:
        """Look at why an email reached nobody."""


class Hooks:
    """A client's interceptors and observers."""

    def __init__(self, interceptors: Iterable[Interceptor], observers: Observers) -> None:
        self._interceptors = tuple(interceptors)
        self._observers = observers

    def admit(self, email: Email | RawEmail) -> Email | RawEmail:
        """Give what is to be sent in an email's place. Raises the `SmtpError` of an interceptor that refuses it."""
        for interceptor in self._interceptors:
            email = interceptor.before_send(email) if isinstance(email, Email) else interceptor.before_send_raw(email)
            _check(interceptor, email)
        return email

    def started(self, message_id: str, recipients: int, has_attachments: bool) -> None:  # noqa: FBT001 - the event's
        """Tell observers of an email that is ready to be sent."""
        if self._observers:
            self._observers.tell(
                events.SendStarted(
                    at=time.time(), message_id=message_id, recipients=recipients, has_attachments=has_attachments
                )
            )

    def progress(self, message_ids: Sequence[str]) -> Progress:
        """Give what tells observers how these emails fare before they are done."""
        return _Told(self._observers, message_ids)

    def circuit_changed(self, state: CircuitState) -> None:
        """Tell observers and the log that the server is left alone, or not any longer."""
        _log.log(
            logging.INFO if state is CircuitState.CLOSED else logging.WARNING,
            "the circuit to the server is %s",
            state.value.replace("_", " "),
        )
        if self._observers:
            self._observers.tell(events.CircuitChanged(at=time.time(), state=state.value))

    def done(self, message_id: str, result: SendResult | SmtpError, duration: float = 0.0) -> None:
        """Tell interceptors and observers what became of an email."""
        for interceptor in self._interceptors:
            try:
                if isinstance(result, SmtpError):
                    interceptor.on_error(result)
                else:
                    interceptor.after_send(result)
            except Exception:  # noqa: BLE001 - foreign code; the email is sent, and must not look unsent
                _log.exception("an interceptor failed behind an email: %s", type(interceptor).__name__)
        if not self._observers:
            return
        error = result if isinstance(result, SmtpError) else None
        self._observers.tell(
            events.SendDone(
                at=time.time(),
                message_id=message_id,
                accepted=0 if isinstance(result, SmtpError) else len(result.accepted),
                rejected=0 if isinstance(result, SmtpError) else len(result.rejected),
                duration=duration,
                error=error.kind if error else None,
                code=error.code if error else None,
                retryable=error.is_retryable if error else False,
            )
        )


class _Told:
    """Makes events of what goes on with emails of these Message-IDs."""

    def __init__(self, observers: Observers, message_ids: Sequence[str]) -> None:
        self._observers = observers
        self._message_ids = message_ids

    def retrying(self, again: Again, delay: float) -> None:
        """An email will be tried again."""
        if not self._observers:
            return
        why = failure(again.why) if isinstance(again.why, Receipt) else again.why
        self._observers.tell(
            events.SendRetrying(
                at=time.time(),
                message_id=self._message_ids[again.position],
                attempt=again.attempt,
                delay=delay,
                recipients=again.recipients,
                error=why.kind,
                code=why.code,
            )
        )

    def limited(self, wait: float, *, rejected: bool) -> None:
        """The limit is reached."""
        if self._observers:
            self._observers.tell(events.RateLimitReached(at=time.time(), wait=wait, rejected=rejected))


def _check(interceptor: Interceptor, given: object) -> None:
    if not isinstance(given, Email | RawEmail):
        told = f"{type(interceptor).__name__} must give back the email that is to be sent"
        raise TypeError(f"{told}, not {type(given).__name__}")
