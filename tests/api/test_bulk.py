"""`many`: ten thousand mails in one call, and what is known when not all of them could be accepted."""

import pickle

import pytest

from mailworker import BulkError, Email, LedgerUnavailableError, RefusedError, app, send_email


def email(n=0) -> Email:
    return Email(from_="shop@example.com", to="ann@example.org", subject=f"Number {n}", text_body="Hi.")


def test_ten_thousand_mails_are_one_call_that_tells_how_far_it_is(ledger):
    heard = []
    results = send_email.many([email()] * 10_000, progress=lambda done, total: heard.append((done, total)))
    assert len({result.id for result in results}) == ledger.stats("default").ready == 10_000
    assert heard == [(done, 10_000) for done in range(100, 10_001, 100)]


def test_the_length_of_a_generator_is_not_known(ledger):
    heard = []
    send_email.many((email(n) for n in range(150)), progress=lambda *told: heard.append(told))
    assert heard == [(100, None), (150, None)]


def test_an_email_that_is_refused_is_named_and_those_before_it_are_told(ledger):
    emails = [email(n) for n in range(250)]
    emails[230] = {"from": "nobody", "to": []}
    with pytest.raises(BulkError, match=r"200 emails were accepted, then: email 230: not an Email") as caught:
        send_email.many(emails, idempotency_key="run")
    assert (caught.value.place, len(caught.value.results)) == (230, 200)
    assert ledger.stats("default").ready == 200
    emails[230] = email(230)
    again = send_email.many(emails, idempotency_key="run")
    assert [result.id for result in again[:200]] == [result.id for result in caught.value.results]
    assert ledger.stats("default").ready == 250


def test_a_ledger_that_goes_away_leaves_a_call_that_can_be_repeated(ledger, monkeypatch):
    real, calls = app.runtime.post, []

    def post(emails, options):
        calls.append(len(emails))
        outcomes = real(emails, options)
        if len(calls) == 2:
            raise LedgerUnavailableError("the ledger's server did not answer in time")
        return outcomes

    monkeypatch.setattr(app.runtime, "post", post)
    emails = [email(n) for n in range(300)]
    with pytest.raises(BulkError, match="100 emails were accepted, then: the ledger's server") as caught:
        send_email.many(emails, idempotency_key="run")
    assert isinstance(caught.value.__cause__, LedgerUnavailableError)
    assert caught.value.place is None
    assert len(send_email.many(emails, idempotency_key="run")) == ledger.stats("default").ready == 300


def test_a_source_of_emails_that_breaks_is_told_with_what_was_accepted(ledger):
    def emails():
        yield from (email(n) for n in range(100))
        raise OSError("the file is gone")

    with pytest.raises(BulkError, match="100 emails were accepted, then: OSError") as caught:
        send_email.many(emails())
    again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - our own
    assert ([result.id for result in again.results], str(again)) == (
        [result.id for result in caught.value.results],
        str(caught.value),
    )


def test_wrong_options_are_refused_before_any_email(ledger):
    with pytest.raises(RefusedError, match="idempotency_key"):
        send_email.many([email()], task_id="default-01JD3S00000000000000000000")
    with pytest.raises(RefusedError, match="priority"):
        send_email.many([email()], priority=10)


def test_the_first_result_is_returned_for_as_long_as_its_key_lives(ledger, monkeypatch):
    monkeypatch.setenv("MAILWORKER_RETENTION__KEY_SECONDS", "1")
    app.forget_runtime()
    first = send_email.apply_async((email(),), idempotency_key="order-17")
    assert send_email.apply_async((email(1),), idempotency_key="order-17").id == first.id
    (key,) = app.runtime.redis.keys("mw:{default}:key:*")
    assert 0 < app.runtime.redis.pttl(key) <= 1000
    app.runtime.redis.delete(key)
    assert send_email.apply_async((email(),), idempotency_key="order-17").id != first.id
