"""Hooks of a program around each email, and the events that frame its sending.

Law: before anything is sent an interceptor may change or refuse an email; afterwards it may look, and nothing that it
raises then can make a sent email look unsent.
"""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from smtp_transport.client.results import SendResult, failure
from smtp_transport.errors import SmtpError
from smtp_transport.message import AnyMessage, Email, RawEmail
from smtp_transport.observation import events
from smtp_transport.observation.observers import Observers
from smtp_transport.receipt import Receipt
from smtp_transport.resilience import Again, CircuitState, Progress

_log = logging.getLogger("smtp_transport.client")
_E = TypeVar("_E")
_R = TypeVar("_R")


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

    def after_send(self, email: Email | RawEmail, result: SendResult) -> None:
        """Look at what became of an email that reached someone; `email` is what was sent."""

    def on_error(self, email: AnyMessage, error: SmtpError) -> None:
        """Look at why an email reached nobody; `email` is what was to be sent, or else what was given."""


class Hooks:
    """A client's interceptors and observers."""

    def __init__(self, interceptors: Iterable[Interceptor], observers: Observers) -> None:
        if isinstance(interceptors, Interceptor):
            raise TypeError("interceptors: give a list, even of one")
        self._interceptors = tuple(map(_interceptor, interceptors))
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

    def refused(self, email: AnyMessage, error: SmtpError) -> None:
        """Tell interceptors and observers of an email that could not be made ready."""
        for interceptor in self._interceptors:
            _shown(interceptor, interceptor.on_error, email, error)
        self._tell_done("", error, 0.0)

    def done(self, email: Email | RawEmail, message_id: str, result: SendResult | SmtpError, duration: float) -> None:
        """Tell interceptors and observers what became of an email that was ready."""
        for interceptor in self._interceptors:
            if isinstance(result, SmtpError):
                _shown(interceptor, interceptor.on_error, email, result)
            else:
                _shown(interceptor, interceptor.after_send, email, result)
        self._tell_done(message_id, result, duration)

    def _tell_done(self, message_id: str, result: SendResult | SmtpError, duration: float) -> None:
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


def _interceptor(one: object) -> Interceptor:
    if isinstance(one, Interceptor):
        return one
    told = f"the class {one.__name__}" if isinstance(one, type) else type(one).__name__
    raise TypeError(f"interceptors: each is an object of a class derived from Interceptor, and not {told}")


def _shown(interceptor: Interceptor, look: Callable[[_E, _R], None], email: _E, result: _R) -> None:
    try:
        look(email, result)
    except Exception:  # noqa: BLE001 - foreign code; the email is sent, and must not look unsent
        _log.exception("an interceptor failed behind an email: %s", type(interceptor).__name__)


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
