"""What callers call and what workers run: `send_email`, whose every door leads to the ledger, and `drain`.

Law: no Celery message of ours carries an email. The one exception is a foreign app's, which has only Celery to speak
with.
"""

import dataclasses
import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from celery import Task
from pydantic import ValidationError

from mailworker.celery import DRAIN, FOREIGN_QUEUE, SEND_EMAIL, app
from mailworker.ledger import LedgerError
from mailworker.log import logger
from mailworker.options import Options, RefusedError
from mailworker.results import MailResult
from smtp_transport.message import AnyMessage, Email

_OPTIONS = tuple(option.name for option in dataclasses.fields(Options))
# One script call must not keep the ledger from others for long.
_CHUNK = 100
_INSIST_SECONDS = 10.0


class SendEmail(Task[Any, Any]):
    """`send_email`: records an email in the ledger and returns at once.

    When a call has returned, the mail is in the ledger and will be delivered, or its failure recorded. When it has
    raised LedgerError, the mail may or may not be there: repeat the call with the same `idempotency_key`.
    """

    # Celery's events would show the arguments of foreign messages, which are mails.
    send_events = False

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
        """Accept one email, with `countdown`, `eta`, `expires`, `priority`, `idempotency_key` and `lane`.

        `max_attempts`, `max_age` and `in_doubt` replace the lane's; `mailworker.options.Options` tells of all.

        Raises RefusedError or ValidationError for what cannot be accepted, LedgerError when the ledger did not answer.
        """
        if isinstance(args, Email | Mapping | str | bytes):
            raise RefusedError("apply_async takes a tuple of arguments: send_email.apply_async((email,), ...)")
        emails = [*(args or ()), *(kwargs or {}).values()]
        if len(emails) != 1:
            raise RefusedError(f"send_email takes one email, not {len(emails)}; send_email.many takes several")
        (outcome,) = app.runtime.post(emails, [_options(options)])
        return MailResult(outcome.id, app=app)

    def many(self, emails: Iterable[AnyMessage | Mapping[str, Any]], **options: Any) -> list[MailResult]:
        """Accept many emails, a script call for each hundred, with the options of `apply_async` for all of them.

        An `idempotency_key` is completed by each email's place (`key:0`, `key:1`, …), so a repeated call makes no
        second mails. All emails of a hundred are refused together if one of them is.
        """
        common = _options(options)
        results: list[MailResult] = []
        source = iter(emails)
        while chunk := list(islice(source, _CHUNK)):
            each = [_numbered(common, len(results) + place) for place in range(len(chunk))]
            results += [MailResult(outcome.id, app=app) for outcome in app.runtime.post(chunk, each)]
        return results


def _options(options: Mapping[str, Any]) -> Options:
    unknown = [name for name, value in options.items() if name not in _OPTIONS and value is not None]
    if unknown:
        raise RefusedError(f"send_email does not take {', '.join(sorted(unknown))}; it takes {', '.join(_OPTIONS)}")
    return Options(**{name: value for name, value in options.items() if value is not None})


def _numbered(common: Options, place: int) -> Options:
    if common.idempotency_key is None:
        return common
    return dataclasses.replace(common, idempotency_key=f"{common.idempotency_key}:{place}")


def _accept_foreign(self: SendEmail, *args: Any, **kwargs: Any) -> str | None:
    """Accept an email that a foreign app sent as a dict by `send_task`, once for each Celery message id.

    Takes the email, and `lane` and `idempotency_key` as keywords. What cannot be accepted is put aside whole, and what
    the ledger cannot take now goes back into the queue: the message is all there is of the mail.
    """
    try:
        return _insist(*args, default_key=f"celery:{self.request.id}", **kwargs)
    except LedgerError:
        queue = (self.request.delivery_info or {}).get("routing_key")
        app.send_task(SEND_EMAIL, args, kwargs, queue=queue, task_id=self.request.id)
        logger.warning("message %s waits in its queue for the ledger", self.request.id)
    except (ValueError, TypeError, LookupError) as error:
        app.send_task(SEND_EMAIL, args, kwargs, queue=FOREIGN_QUEUE, task_id=self.request.id)
        logger.error("message %s put aside in queue %s: %s", self.request.id, FOREIGN_QUEUE, _tell(error))
    return None


def _insist(
    email: Mapping[str, Any], lane: str = "default", idempotency_key: str | None = None, *, default_key: str
) -> str:
    until = time.monotonic() + _INSIST_SECONDS
    while True:
        try:
            (outcome,) = app.runtime.post([email], [Options(lane=lane, idempotency_key=idempotency_key or default_key)])
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
    return str(error) if isinstance(error, RefusedError) else type(error).__name__


# By the decorator, not by register_task: that would read the configuration at import.
send_email: SendEmail = app.task(base=SendEmail, bind=True, name=SEND_EMAIL, ignore_result=True)(_accept_foreign)


@app.task(name=DRAIN, ignore_result=True)
def drain(lane: str) -> None:
    """Answer a bell: work the lane until it is empty or the slice is over."""
    with app.undisturbed():
        settled = app.workshop.drain(lane).run()
    logger.debug("drained %d mails of lane %s", settled, lane)
