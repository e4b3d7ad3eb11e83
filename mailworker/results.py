"""What became of a mail, as Celery's AsyncResult: read from the ledger, which is the result.

Law: nothing is stored here. Any process that reaches the ledger can ask by id.
"""

import dataclasses
from typing import Any

from celery import states
from celery.app.base import Celery
from celery.app.control import Control
from celery.backends.base import BaseBackend
from celery.exceptions import TimeoutError as CeleryTimeoutError
from celery.result import AsyncResult
from celery.utils.functional import maybe_list

from mailworker.celery import app as mail_app
from mailworker.options import RefusedError
from mailworker.report import MailReport

_CELERY_STATES = {
    "scheduled": states.PENDING,
    "ready": states.PENDING,
    "sending": states.STARTED,
    "deferred": states.RETRY,
    "sent": states.SUCCESS,
    "partial": states.FAILURE,
    "dead": states.FAILURE,
    "in_doubt": states.FAILURE,
    "expired": states.FAILURE,
    "cancelled": states.REVOKED,
    "quarantined": states.FAILURE,
}


class MailFailedError(Exception):
    """A mail ended without reaching all its recipients; `state` is the ledger's word for how."""

    def __init__(self, mail_id: str, state: str, error: str = "") -> None:
        """Keep plain values in args, for pickle."""
        super().__init__(mail_id, state, error)
        self.mail_id = mail_id
        self.state = state
        self.error = error

    def __str__(self) -> str:
        return f"mail {self.mail_id} is {self.state}" + (f": {self.error}" if self.error else "")


class MailResult(AsyncResult[Any]):
    """An accepted mail. `id`, `state` (Celery's word), `status`, `get(timeout=)`; `report()` tells everything.

    `MailResult(id)` asks for a mail by its id, in any process that has the same settings.
    """

    def __init__(self, id: str, *args: Any, **kwargs: Any) -> None:  # noqa: A002 - Celery's name
        super().__init__(id, *args, **{**kwargs, "app": kwargs.get("app") or getattr(self, "app", None) or mail_app})

    def report(self) -> MailReport | None:
        """Read all that is known of the mail; None if the ledger does not know it (any more)."""
        report: MailReport | None = self.app.runtime.report(self.id)  # type: ignore[attr-defined]
        return report

    def revoke(self, *_: Any, **__: Any) -> None:
        """Cancel the mail, unless it is being sent or has ended; then nothing happens. `state` tells."""
        self.app.cancel(self.id)  # type: ignore[attr-defined]

    def __reduce__(self) -> Any:
        """The id is all there is."""
        return MailResult, (self.id,)

    def __repr__(self) -> str:
        return f"<MailResult {self.id}>"


class MailControl(Control):
    """Celery's remote control. What it revokes by a mail's id is cancelled in the ledger."""

    app: Any

    def revoke(self, task_id: Any, *args: Any, **kwargs: Any) -> Any:
        """Cancel mails, as `MailResult.revoke` does, and revoke tasks. What is being sent cannot be called back."""
        tasks = []
        for one in maybe_list(task_id) or ():
            try:
                self.app.cancel(one)
            except ValueError:  # no mail's id
                tasks.append(one)
        return super().revoke(tasks, *args, **kwargs) if tasks else None


class LedgerBackend(BaseBackend):
    """A Celery result backend that reads the ledger and writes nothing."""

    app: Any

    supports_native_join = False
    persistent = True

    def __init__(self, app: Celery, **kwargs: Any) -> None:
        super().__init__(app, **kwargs)

    def _get_task_meta_for(self, task_id: str) -> dict[str, Any]:
        return _meta(task_id, self._report(task_id))

    def _report(self, task_id: str) -> MailReport | None:
        try:
            report: MailReport | None = self.app.runtime.report(task_id)
        except ValueError:  # another task's id, not a mail's
            return None
        return report

    def wait_for(
        self,
        task_id: str,
        timeout: float | None = None,
        interval: float = 0.5,
        no_ack: bool = True,  # noqa: FBT001, FBT002 - Celery's signature
        on_interval: Any = None,
    ) -> dict[str, Any]:
        """Sleep until the ledger says that the mail has ended. Raises Celery's TimeoutError."""
        del interval, no_ack
        if on_interval:
            on_interval()
        try:
            report = self.app.runtime.wait_ended(task_id, timeout)
        except ValueError:
            raise ValueError(f"{task_id!r} is no id of a mail: only mails have results here") from None
        if report is None:
            raise CeleryTimeoutError("The operation timed out.")
        return _meta(task_id, report)

    def store_result(
        self, task_id: str, result: Any, state: str, traceback: str | None = None, request: Any = None, **kwargs: Any
    ) -> Any:
        """Keep nothing: the ledger has it already."""
        del task_id, state, traceback, request, kwargs
        return result

    def apply_chord(self, header_result_args: Any, body: Any, **kwargs: Any) -> None:
        """Note in the chord's body how many mails it waits for; the mails themselves will count."""
        del kwargs
        _, results = header_result_args
        if not all(isinstance(result, MailResult) for result in results):
            raise RefusedError("a chord of mails has mails only in its header, and no groups or other tasks")
        body["mailworker_chord_size"] = len(results)

    def forget(self, task_id: str) -> None:
        """Forget nothing: a mail's record lives as long as retention says."""
        del task_id

    def exception_to_python(self, exc: Any) -> Any:
        """Hand on what `_get_task_meta_for` made."""
        return exc


def _meta(mail_id: str, report: MailReport | None) -> dict[str, Any]:
    """Put a report into Celery's terms."""
    if report is None:
        return {"status": states.PENDING, "result": None, "task_id": mail_id}
    state = _CELERY_STATES[report.state]
    failed = state in {states.FAILURE, states.REVOKED}
    return {
        "task_id": mail_id,
        "status": state,
        "result": MailFailedError(mail_id, report.state, report.error) if failed else dataclasses.asdict(report),
        "traceback": None,
        "children": [],
    }
