"""Celery's consumer, with patience for its broker, haste at the end, and a safe place for what it cannot run.

Law: while nothing can be consumed the watch goes on turning: due mails get ready, dead claims come free, the worker
shows that it lives, and mails are sent without bells. A message that is not ours is never executed, dropped or printed.
"""

import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from celery.exceptions import InvalidTaskError
from celery.worker import loops
from celery.worker.consumer import Consumer
from celery.worker.request import Request
from celery.worker.state import maybe_shutdown
from kombu.exceptions import ChannelError

from mailworker import foreign
from mailworker.celery import MailApp
from mailworker.ledger import LedgerError
from mailworker.log import logger

# A broker that comes back is noticed within this.
_LONGEST_WAIT_SECONDS = 10
_REFUSED_WAIT_SECONDS = 3
_LEDGER_WAIT_SECONDS = 3
_HIDDEN = "***"
# What comes of reading something that is not what it should be.
_FAULTS = (ValueError, LookupError, TypeError, AttributeError)


class MisshapenError(InvalidTaskError):
    """A task message whose body no task can be called with. The text is ours, and quotes nothing."""


class DiscreetRequest(Request):
    """A message that is a mail. Whoever asks what a worker does, `celery inspect` or Flower, learns its id alone."""

    def __init__(self, message: Any, **options: Any) -> None:
        """Refuse, before it is acknowledged, what could not be run. Raises MisshapenError."""
        # A message of Celery's first protocol comes decoded, its parts already in their places.
        _check_shape(options["body"] if options.get("decoded") else message.payload)
        super().__init__(message, **options)

    def info(self, safe: bool = False) -> Any:  # noqa: FBT001, FBT002 - as Celery calls it
        """Describe it."""
        return {**super().info(safe), "args": _HIDDEN, "kwargs": _HIDDEN}


class UnreadableItemError(ChannelError):
    """A list held what is no message. Celery sets up its connection anew, and goes on."""


class PatientConsumer(Consumer):
    """What `worker_consumer` means here. The worker's `Watch` is told whenever consuming has to wait."""

    app: MailApp
    controller: Any
    hub: Any
    connection_errors: tuple[type[Exception], ...]

    def ensure_connected(self, conn: Any) -> Any:
        """Wait for the broker, longer after each vain attempt."""

        def tell(exc: Exception, interval: float) -> None:
            logger.error(
                "cannot reach the broker %s (%s); trying again in %.0f s", conn.as_uri(), type(exc).__name__, interval
            )

        with self._waiting():
            connected = conn.ensure_connection(tell, callback=self._between, interval_max=_LONGEST_WAIT_SECONDS)
        self.first_connection_attempt = False
        return connected

    def loop(self, *arguments: Any) -> None:
        """Run Celery's loop; where kombu fails on what it took from a list of Redis, keep that, and do not end."""
        try:
            (loops.asynloop if self.hub else loops.synloop)(*arguments)
        except _FAULTS as error:
            taken = _taken(error)
            if taken is None:
                raise
            self._put_raw_aside(*taken)
            raise UnreadableItemError from None

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Connect again at once; but give time to a broker that answers and refuses, as one without memory does."""
        super().on_connection_error_after_connected(exc)
        if isinstance(exc, (*self.connection_errors, UnreadableItemError)):
            return
        logger.error(
            "the broker refuses to set up our queues (%s: %s); trying again every %d s until it does",
            type(exc).__name__,
            _ADVICE.get(type(exc).__name__, "see its log"),
            _REFUSED_WAIT_SECONDS,
        )
        with self._waiting():
            for _ in range(_REFUSED_WAIT_SECONDS):
                self._between()
                time.sleep(1)

    def cancel_active_requests(self) -> None:
        """Cut short what is left when a cold shutdown's time is over."""
        self.app.cut_drains()
        super().cancel_active_requests()

    def create_task_handler(self, *arguments: Any, **options: Any) -> Callable[[Any], None]:
        """Keep a message that Celery fails on, for its headers make no sense, where that would end the worker."""
        handle = super().create_task_handler(*arguments, **options)

        def handle_or_keep(message: Any) -> None:
            try:
                handle(message)
            except _FAULTS as error:
                self._put_aside(message, f"an unreadable task message ({type(error).__name__})")

        return handle_or_keep

    def on_unknown_message(self, body: Any, message: Any) -> None:
        """Keep a message that is no task message."""
        del body
        self._put_aside(message, "not a task message")

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """Keep a message that no serializer we accept can read; Celery would print and drop it."""
        self._put_aside(message, f"an unreadable message ({type(exc).__name__})")

    def on_unknown_task(self, body: Any, message: Any, exc: Exception) -> None:
        """Keep a message for a task that is not registered here."""
        del body, exc
        self._put_aside(message, "a task not known here")

    def on_invalid_task(self, body: Any, message: Any, exc: Exception) -> None:
        """Keep a task message that cannot be read."""
        del body
        why = str(exc) if isinstance(exc, MisshapenError) else type(exc).__name__
        self._put_aside(message, f"an unreadable task message ({why})")

    def _put_aside(self, message: Any, reason: str) -> None:
        try:
            foreign.keep(message, reason)
        except LedgerError as error:
            # It stays unacknowledged: the broker has it again when this worker's connection ends.
            logger.warning("a message that is not ours waits for the ledger: %s", error)
            self.timer.call_after(_LEDGER_WAIT_SECONDS, self._put_aside, (message, reason))
            return
        message.ack_log_error(logger, self.connection_errors)

    def _put_raw_aside(self, queue: str, item: bytes) -> None:
        try:
            foreign.keep_raw(queue, item)
        except LedgerError as error:
            logger.warning("an item that is no message waits for the ledger: %s", error)
            self.timer.call_after(_LEDGER_WAIT_SECONDS, self._put_raw_aside, (queue, item))

    def _between(self) -> None:
        """What is due each second while nothing can be consumed."""
        maybe_shutdown()
        watch = getattr(self.controller, "mail_watch", None)
        if watch is not None:
            watch.turn()

    @contextmanager
    def _waiting(self) -> Iterator[None]:
        watch = getattr(self.controller, "mail_watch", None)
        if watch is None:
            yield
            return
        watch.is_waiting = True
        try:
            yield
        finally:
            watch.is_waiting = False


def _check_shape(body: Any) -> None:
    """Raise MisshapenError for what is no arguments, keywords and embedded parts: Celery would drop it at the call."""
    if not isinstance(body, list | tuple) or len(body) != 3:
        raise MisshapenError("its body is not a list of args, kwargs and embed")
    args, kwargs, embed = body
    if not isinstance(args, list | tuple):
        raise MisshapenError("its args are no list")
    if not isinstance(kwargs, dict):
        raise MisshapenError("its kwargs are no object")
    if not isinstance(embed, dict | None):
        raise MisshapenError("its embed is no object")


def _taken(error: Exception) -> tuple[str, bytes] | None:
    """Find the queue and the item that kombu had just taken from Redis when it failed; nobody else has it any more."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_name == "_brpop_read" and "item" in frame.f_locals:
            return str(frame.f_locals["dest"]), bytes(frame.f_locals["item"])
    return None


_ADVICE = {
    "OutOfMemoryError": "it is at its memory limit; the worker sends mail meanwhile, which makes room",
    "NoPermissionError": "its user may not do what a broker needs; docs/operations.md lists it",
}
