"""Results: told by a wake-up, in time, one by one and in groups."""

import os
import signal
import time

import pytest
from celery import states
from celery.exceptions import TimeoutError as CeleryTimeoutError
from celery.result import ResultSet

from mailworker import Email, LedgerUnavailableError, MailFailedError, MailResult, app, mails, send_email
from mailworker.record import Claiming, Settlement

pytestmark = pytest.mark.system


def email(to="ann@example.org", **fields) -> Email:
    return Email(from_="shop@example.com", to=to, subject="Your order", text_body="Thank you.", **fields)


def end(letters: str) -> None:
    """Settle the mails in line as a worker would, a letter for each."""
    ledger = app.runtime.ledger
    claims = ledger.claim("default", Claiming(100, 1 << 24, 60_000, 9), answering=True).mails
    ledger.settle("default", [Settlement(c, letter, error="no") for c, letter in zip(claims, letters, strict=True)])


@pytest.mark.parametrize("frozen_at", ["before", "while listening"])
def test_a_ledger_that_stands_still_does_not_hold_who_waits_with_a_timeout(post, environment, frozen_at):
    environment.setenv("MAILWORKER_REDIS__TIMEOUT_SECONDS", "60")
    environment.setenv("MAILWORKER_WORKER__LEASE_SECONDS", "300")
    app.forget_runtime()
    result = send_email.delay(email())
    began = time.monotonic()
    pid = post.server.pid
    if frozen_at == "before":
        os.kill(pid, signal.SIGSTOP)
    else:
        signal.signal(signal.SIGALRM, lambda *_: os.kill(pid, signal.SIGSTOP))
        signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        with pytest.raises((LedgerUnavailableError, CeleryTimeoutError)):
            result.get(timeout=1)
        assert time.monotonic() - began < 10
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_waiter_is_woken_by_the_end_and_not_by_its_clock(post, monkeypatch):
    """With looking again an hour away only the message can have told."""
    monkeypatch.setattr("mailworker.ledger.book._LOOK_AGAIN_SECONDS", 3600.0)
    post.worker("-c", "1")
    assert send_email.apply_async((email(),), countdown=1).get(timeout=60)["state"] == "sent"


def test_a_set_of_results_can_be_joined_and_tells_who_failed(post):
    results = ResultSet([send_email.delay(email()), send_email.delay(email())], app=app)
    end("db")
    with pytest.raises(MailFailedError, match="dead"):
        results.get(timeout=20)
    assert [type(told) for told in results.join(timeout=20, propagate=False)] == [dict, MailFailedError]
    assert (results.ready(), results.failed()) == (True, True)


def test_what_is_no_mail_has_no_result(post):
    assert MailResult("5f0e8ad6-8e7f-4a6c-9c7c-0a6d7a8b9c1d").state == states.PENDING
    with pytest.raises(ValueError, match="no id of a mail"):
        MailResult("5f0e8ad6-8e7f-4a6c-9c7c-0a6d7a8b9c1d").get(timeout=1)


def test_priority_overtakes_on_the_wire_and_a_mail_s_report_tells_all(post):
    waiting = send_email.many([email(to=f"user{n}@example.org") for n in range(120)], priority=9)
    urgent = send_email.apply_async((email(to="now@example.org"),), priority=0)
    post.worker("-c", "1")
    for result in (*waiting, urgent):
        result.get(timeout=40)
    assert post.stored()[0].recipients == ("now@example.org",)
    report = mails.get(urgent.id)
    (recipient,) = report.recipients
    assert (report.state, report.attempts, recipient.address, recipient.code) == ("sent", 1, "n***@example.org", 250)
    assert report.accepted_ms <= report.ended_ms
