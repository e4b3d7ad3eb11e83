"""The outbox for other people's tests: the real door, and nothing behind it."""

import pytest

from mailworker import Email, MailFailedError, RefusedError, app, send_email


def email(to="ann@example.org", **fields) -> Email:
    return Email(from_="shop@example.com", to=to, text_body="Hi.", **{"subject": "Hi", **fields})


@pytest.fixture(autouse=True)
def nowhere(monkeypatch):
    """There is no Redis to be reached by mistake."""
    monkeypatch.setenv("MAILWORKER_REDIS__URL", "redis://127.0.0.1:1/0")


def test_what_was_sent_is_in_the_outbox_and_its_result_tells(mail_outbox):
    result = send_email.apply_async((email(subject="Your order"),), priority=3)
    (mail,) = mail_outbox.mails
    assert (mail.id, mail.email.subject, mail.recipients) == (result.id, "Your order", ("ann@example.org",))
    assert mail.options.priority == 3
    assert (result.state, result.get(timeout=1)["state"]) == ("SUCCESS", "sent")
    assert mail_outbox.to("Ann@Example.org") == [mail]
    mail_outbox.clear()
    assert mail_outbox.mails == []


def test_a_refused_address_fails_as_it_would(mail_outbox):
    mail_outbox.refuse("bob@example.org", 552, "mailbox full")
    partial = send_email.delay(email(to=["ann@example.org", "bob@example.org"]))
    with pytest.raises(MailFailedError, match="partial"):
        partial.get(timeout=1)
    assert [(one.state, one.code) for one in partial.report().recipients] == [("delivered", 250), ("bounced", 552)]
    assert send_email.delay(email(to="bob@example.org")).state == "FAILURE"


def test_what_is_for_later_waits_and_can_be_revoked(mail_outbox):
    result = send_email.apply_async((email(),), countdown=60)
    assert result.state == "PENDING"
    app.control.revoke(result.id)
    assert result.state == "REVOKED"


def test_keys_and_limits_are_the_real_ones(mail_outbox):
    first, second = (send_email.apply_async((email(),), idempotency_key="order-1") for _ in range(2))
    assert (first.id, len(mail_outbox.mails)) == (second.id, 1)
    assert len(send_email.many([email(), email()])) == 2
    with pytest.raises(RefusedError, match="recipients"):
        send_email.delay(email(to=[f"user{n}@example.org" for n in range(60)]))
    with pytest.raises(RefusedError, match="did you mean 'default'"):
        send_email.delay(email(), lane="defualt")


def test_afterwards_everything_is_as_it_was(mail_outbox):
    from mailworker.testing import outbox  # noqa: PLC0415 - as a user's test would, of its own

    with outbox() as inner:
        send_email.delay(email())
    assert (len(inner.mails), mail_outbox.mails) == (1, [])
    send_email.delay(email())
    assert len(mail_outbox.mails) == 1
