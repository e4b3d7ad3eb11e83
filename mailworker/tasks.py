"""What callers call and what workers run: `send_email`, whose every door leads to the ledger, and `drain`.

Law: no Celery message of ours carries an email. The one exception is a foreign app's, which has only Celery to speak
with.
"""

import dataclasses
import time
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from itertools import islice
from typing import Any

from celery import Task
from celery.exceptions import Ignore
from pydantic import ValidationError

from mailworker.callbacks import OF_CANVAS, OF_GROUPS, kept, tell
from mailworker.canvas import TELLING, EmailArgument, MailSignature
from mailworker.celery import DRAIN, SEND_EMAIL, TELL, app
from mailworker.events import publish_sent
from mailworker.foreign import keep_task
from mailworker.ledger import LedgerError
from mailworker.log import described, logger
from mailworker.options import Options, RefusedError
from mailworker.record import Accepted
from mailworker.results import MailResult
from mailworker.signals import mail_accepted
from smtp_transport.message import AnyMessage, Email

_OPTIONS = tuple(option.name for option in dataclasses.fields(Options) if option.name != "callbacks")
# One script call must not keep the ledger from others for long.
_CHUNK = 100
_INSIST_SECONDS = 10.0
_NOT_ITS_ARGUMENTS = "it takes an email, as a dict, and lane, idempotency_key and tenant"
# Whoever tells of many ends keeps its process from sending; the watch asks for the rest.
_TELL_SECONDS = 5.0


class SendEmail(Task[Any, Any]):
    """`send_email`: records an email in the ledger and returns at once.

    When a call has returned, the mail is in the ledger and will be delivered, or its failure recorded. When it has
    raised LedgerError, the mail may or may not be there: repeat the call with the same `idempotency_key`.
    """

    # Celery's events would show the arguments of foreign messages, which are mails.
    send_events = False
    # So would remote control.
    Request = "mailworker.consumer:DiscreetRequest"

    def delay(self, email: AnyMessage | Mapping[str, Any], **options: Any) -> MailResult:
        """Accept one email: an Email, a dict of its fields, a message of the standard library, or a message's bytes.

        `options` are those of `apply_async`.
        """
        return self.apply_async((email,), **options)

    def apply_async(  # type: ignore[override]
        self,
        args: Sequence[AnyMessage | Mapping[str, Any]] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> MailResult:
        """Accept one email, with `countdown`, `eta`, `expires`, `priority`, `idempotency_key`, `lane` and `tenant`.

        `max_attempts`, `max_age` and `in_doubt` replace the lane's; `mailworker.options.Options` tells of all. `link`
        and `link_error` are called when the mail has ended: see docs/api.md.

        Raises RefusedError or ValidationError for what cannot be accepted, LedgerError when the ledger did not answer.
        """
        if isinstance(args, Email | Mapping | str | bytes):
            raise RefusedError("apply_async takes a tuple of arguments: send_email.apply_async((email,), ...)")
        emails = [*(args or ()), *(kwargs or {}).values()]
        if len(emails) != 1:
            raise RefusedError(f"send_email takes one email, not {len(emails)}; send_email.many takes several")
        return self.accept(emails[0], options, kept(options))

    def accept(
        self,
        email: AnyMessage | Mapping[str, Any] | EmailArgument,
        options: Mapping[str, Any],
        callbacks: bytes = b"",
    ) -> MailResult:
        """Accept one email, with the options of `apply_async` and callbacks that were kept."""
        (outcome,) = _post([_unwrapped(email)], [_options(options, callbacks)])
        return MailResult(outcome.id, app=app)

    def many(
        self,
        emails: Iterable[AnyMessage | Mapping[str, Any]],
        *,
        progress: Callable[[int, int | None], object] | None = None,
        **options: Any,
    ) -> list[MailResult]:
        """Accept many emails, a script call for each hundred, with the options of `apply_async` for all of them.

        `progress(done, total)` is called after each hundred; `total` is None where `emails` does not tell its length.
        An `idempotency_key` is completed by each email's place (`key:0`, `key:1`, …), so a repeated call makes no
        second mails. Raises BulkError, whose `results` tell which were accepted before the one that could not be.
        """
        if options.get("task_id") is not None:
            raise RefusedError("task_id: many mails have many ids; give many an idempotency_key")
        common = _options(options)
        total = len(emails) if isinstance(emails, Sized) else None
        results: list[MailResult] = []
        source = iter(emails)
        chunk: list[Any] = []
        try:
            while chunk := list(islice(source, _CHUNK)):
                each = [_numbered(_told(common, options), len(results) + at) for at in range(len(chunk))]
                results += [MailResult(outcome.id, app=app) for outcome in _post(chunk, each)]
                if progress is not None:
                    progress(len(results), total)
        except Exception as error:
            place = _culprit(chunk, options) if isinstance(error, ValueError) else None
            at = None if place is None else len(results) + place
            raise BulkError(results, at, _tell(error)) from error
        return results

    def signature(self, args: Any = None, *starargs: Any, **starkwargs: Any) -> MailSignature:
        """Make a signature for a chain, a group, a chord, `link` or `link_error`; see docs/api.md.

        `kwargs` may hold options too: `send_email.s(email, lane="bulk")`.
        """
        named = dict(zip(("kwargs", "options"), starargs, strict=False)) | starkwargs
        given = dict(named.pop("kwargs", None) or {})
        options = {**(named.pop("options", None) or {}), **{k: given.pop(k) for k in list(given) if k in _OPTIONS}}
        immutable = bool(named.pop("immutable", False))
        named.pop("app", None)
        return MailSignature.of(self, args, given, immutable, {**options, **named})

    subtask = signature


class BulkError(Exception):
    """`many` could not accept all emails.

    `results`: those accepted, in their order. `place`: the email that was refused, counted from 0; None where that
    is not it: the ledger did not answer, the source of the emails or the callback failed. The cause tells more.
    Call `many` again with the same `idempotency_key` and all emails to go on.
    """

    def __init__(self, results: Sequence[MailResult], place: int | None, reason: str) -> None:
        """Keep plain values in args, for pickle."""
        super().__init__(list(results), place, reason)
        self.results = list(results)
        self.place = place
        self.reason = reason

    def __str__(self) -> str:
        at = "" if self.place is None else f" email {self.place}:"
        return f"{len(self.results)} emails were accepted, then:{at} {self.reason}"


def _post(emails: Sequence[Any], options: Sequence[Options]) -> Sequence[Accepted]:
    """Accept emails, and let those who watch see it."""
    outcomes = app.runtime.post(emails, options)
    settings = app.runtime.settings.events
    if settings.sent or mail_accepted.receivers:
        new = [(accepted.id, said) for accepted, said in zip(outcomes, options, strict=True) if accepted.is_new]
        if settings.sent:
            publish_sent(app, [mail_id for mail_id, _ in new], settings.per_second)
        for mail_id, said in new:
            state = "scheduled" if said.is_for_later else "ready"
            mail_accepted.send(sender=said.lane, mail_id=mail_id, lane=said.lane, state=state, attempts=0)
    return outcomes


def _culprit(emails: Sequence[Any], options: Mapping[str, Any]) -> int | None:
    """Find the email that is refused; the others were refused with it."""
    for place, email in enumerate(emails):
        try:
            app.runtime.intake.admit([email], [_options(options)])
        except ValueError:
            return place
    return None


def _unwrapped(email: Any) -> Any:
    return email.email if isinstance(email, EmailArgument) else email


def _options(options: Mapping[str, Any], callbacks: bytes = b"") -> Options:
    known = {*_OPTIONS, *TELLING, *OF_CANVAS, *OF_GROUPS}
    unknown = [name for name, value in options.items() if name not in known and value is not None]
    if unknown:
        takes = ", ".join((*_OPTIONS, "link", "link_error"))
        raise RefusedError(f"send_email does not take {', '.join(sorted(unknown))}; it takes {takes}")
    given = {name: options[name] for name in _OPTIONS if options.get(name) is not None}
    return Options(**given, callbacks=callbacks)


def _told(common: Options, options: Mapping[str, Any]) -> Options:
    """Give each mail callbacks with ids of their own."""
    callbacks = kept(options)
    return dataclasses.replace(common, callbacks=callbacks) if callbacks else common


def _numbered(common: Options, place: int) -> Options:
    if common.idempotency_key is None:
        return common
    return dataclasses.replace(common, idempotency_key=f"{common.idempotency_key}:{place}")


def _accept_foreign(self: SendEmail, *args: Any, **kwargs: Any) -> str:
    """Accept an email that a foreign app sent as a dict by `send_task`, once for each Celery message id.

    Takes the email, and `lane`, `idempotency_key` and `tenant` as keywords. What cannot be accepted is kept as a stray,
    and what the ledger cannot take now goes back into the queue: the message is all there is of the mail. Its callbacks
    are called when the mail has ended.
    """
    request = self.request
    queue = (request.delivery_info or {}).get("routing_key") or ""
    carried: dict[str, Any] = {"link": request.callbacks, "link_error": request.errbacks, "chain": request.chain}
    carried |= {"chord": request.chord, "group_id": request.group, "group_index": request.group_index}
    try:
        try:
            mail_id = _insist(*args, default_key=f"celery:{request.id}", callbacks=kept(carried), **kwargs)
        except (ValueError, TypeError, LookupError) as error:
            reason = _NOT_ITS_ARGUMENTS if isinstance(error, TypeError) else _tell(error)
            keep_task(queue, str(request.id), (args, kwargs), carried, reason)
            raise Ignore from None
    except LedgerError:
        app.send_task(SEND_EMAIL, args, kwargs, queue=queue, task_id=request.id, **carried)
        logger.warning("message %s waits in its queue for the ledger", request.id)
        raise Ignore from None
    if any(carried[name] for name in TELLING):
        # Celery would call them now.
        raise Ignore
    return mail_id


def _insist(
    email: Mapping[str, Any],
    lane: str = "default",
    idempotency_key: str | None = None,
    *,
    tenant: str | None = None,
    default_key: str,
    callbacks: bytes,
) -> str:
    until = time.monotonic() + _INSIST_SECONDS
    key = idempotency_key or default_key
    options = Options(lane=lane, idempotency_key=key, tenant=tenant, callbacks=callbacks)
    while True:
        try:
            (outcome,) = _post([_unwrapped(email)], [options])
        except LedgerError:
            if time.monotonic() > until:
                raise
            time.sleep(1)
        else:
            return outcome.id


def _tell(error: Exception) -> str:
    """Name the fields that pydantic refuses; its own text could quote them."""
    if isinstance(error, ValidationError):
        places = (e["loc"][0] if e["loc"] else "email" for e in error.errors(include_input=False))
        return "not an Email: see " + ", ".join(
            str(p) if p in Email.model_fields else "a field unknown" for p in places
        )
    return str(error) if isinstance(error, RefusedError | LedgerError) else type(error).__name__


# By the decorator, not by register_task: that would read the configuration at import.
send_email: SendEmail = app.task(base=SendEmail, bind=True, name=SEND_EMAIL, ignore_result=True)(_accept_foreign)


class DrainError(Exception):
    """A drain ended by a mistake of ours. The text tells which and where, and quotes nothing."""


@app.task(name=DRAIN, ignore_result=True)
def drain(lane: str) -> None:
    """Answer a bell: work the lane until it is empty or the slice is over."""
    with app.draining():
        try:
            settled = app.workshop.drain(lane).run()
        except LedgerError:
            raise
        except Exception as error:  # noqa: BLE001 - Celery logs its text and its cause, and those could quote a mail
            raise DrainError(described(error)) from None
        tell(lane, _TELL_SECONDS)
    logger.debug("drained %d mails of lane %s", settled, lane)


@app.task(name=TELL, ignore_result=True)
def tell_ends(lane: str) -> None:
    """Tell the ends of a lane's mails that a dead worker left untold."""
    with app.draining():
        tell(lane, _TELL_SECONDS)
