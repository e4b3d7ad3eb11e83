"""Signals tell what became of mails, and whoever listens can harm no delivery."""

import json

import pytest

from mailworker import Email, MailFailedError, app, send_email
from mailworker.record import Claiming
from mailworker.signals import mail_accepted
from tests.system.conftest import wait_until

pytestmark = pytest.mark.system

RECEIVERS = ("--include", "tests.system.receivers")


def email(to="ann@example.org", subject="marker-subject") -> Email:
    return Email(from_="shop@example.com", to=to, subject=subject, text_body="marker-body")


def heard(post) -> list[list]:
    with post.redis as client:
        return [json.loads(line) for line in client.lrange("heard", 0, -1)]


def test_each_recipient_s_fate_is_told_masked(post):
    post.worker("-c", "1", *RECEIVERS)
    result = send_email.delay(email(to=["ann@example.org", "refuse@example.org", "later@example.org"]))
    with pytest.raises(MailFailedError):
        result.get(timeout=20)
    wait_until(lambda: len(heard(post)) == 4, "four signals")
    assert heard(post) == [
        ["mail_delivered", result.id, "deferred", 1, [["a***@example.org", "delivered", 250]]],
        ["mail_deferred", result.id, "deferred", 1, [["l***@example.org", "pending", 451]]],
        ["mail_bounced", result.id, "deferred", 1, [["r***@example.org", "bounced", 550]]],
        ["mail_delivered", result.id, "partial", 2, [["l***@example.org", "delivered", 250]]],
    ]


def test_a_mail_that_ends_without_an_attempt_is_told_by_the_watch(post):
    expired = send_email.apply_async((email(),), countdown=1, expires=0.5)
    held = send_email.apply_async((email(),), in_doubt="hold")
    ledger = app.runtime.ledger
    (claim,) = ledger.claim("default", Claiming(1, 1 << 24, 1, 9), answering=True).mails
    ledger.mark_dot("default", [claim], 1)
    post.worker("-c", "1", *RECEIVERS)
    wait_until(lambda: len(heard(post)) == 2, "two signals")
    assert sorted(heard(post)) == [
        ["mail_bounced", expired.id, "expired", 0, [["a***@example.org", "pending", None]]],
        ["mail_in_doubt", held.id, "in_doubt", 1, [["a***@example.org", "in_doubt", None]]],
    ]


def test_a_receiver_that_raises_or_never_returns_harms_no_delivery(post):
    worker = post.worker("-c", "1", *RECEIVERS)
    results = send_email.many([email(subject=f"Number {n}") for n in range(30)], lane="bulk")
    assert {result.get(timeout=30)["state"] for result in results} == {"sent"}
    assert worker.stop() == 0


def test_accepting_is_told_in_the_caller_s_process_once_for_each_mail(post):
    told = []

    def note(sender, mail_id, state, **_):
        told.append((sender, mail_id, state))

    mail_accepted.connect(note)
    try:
        first = send_email.apply_async((email(),), idempotency_key="a", countdown=60)
        send_email.apply_async((email(),), idempotency_key="a", countdown=60)
        second = send_email.delay(email(), lane="bulk")
    finally:
        mail_accepted.disconnect(note)
    assert told == [("default", first.id, "scheduled"), ("bulk", second.id, "ready")]
