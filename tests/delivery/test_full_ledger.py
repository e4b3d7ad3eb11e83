"""A ledger at its memory limit refuses clearly, and whatever was accepted is there."""

from collections.abc import Iterator

import pytest

from mailworker import Attachment, BulkError, Email, app, send_email
from mailworker.ledger import LedgerFullError

FILE = Attachment("terms.pdf", "application/pdf", b"t" * 100_000)


def email(number: int = 0, **fields: object) -> Email:
    return Email(from_="shop@example.com", to="ann@example.org", subject=f"No. {number}", text_body="Hi.", **fields)


@pytest.fixture
def client(valkey, monkeypatch):
    monkeypatch.setenv("MAILWORKER_REDIS__URL", valkey.url)
    monkeypatch.setattr(app, "ring", lambda lane: True)
    app.forget_runtime()
    with valkey.client() as client:
        client.flushall()
        yield client
        client.config_set("maxmemory", 0)
    app.forget_runtime()


def fill(client) -> None:
    client.config_set("maxmemory", 1)


def test_one_call_raises_and_leaves_nothing(client):
    fill(client)
    for what in (email(), email(attachments=[FILE])):
        with pytest.raises(LedgerFullError, match="memory limit"):
            send_email.delay(what)
    client.config_set("maxmemory", 0)
    assert client.keys("mw:{default}:[mb]:*") == []
    assert app.runtime.ledger.stats("default").ready == 0


def test_many_tell_what_was_accepted_and_a_repetition_does_the_rest(client):
    def emails(*, is_to_fill: bool) -> Iterator[Email]:
        for number in range(250):
            if is_to_fill and number == 150:
                fill(client)
            yield email(number, attachments=[FILE])

    with pytest.raises(BulkError, match="memory limit") as caught:
        send_email.many(emails(is_to_fill=True), idempotency_key="run")
    client.config_set("maxmemory", 0)
    accepted = [result.id for result in caught.value.results]
    assert len(accepted) == app.runtime.ledger.stats("default").ready == 100
    results = [result.id for result in send_email.many(emails(is_to_fill=False), idempotency_key="run")]
    assert results[:100] == accepted
    assert len(set(results)) == app.runtime.ledger.stats("default").ready == 250
    (file,) = client.keys("mw:{default}:b:*")
    assert client.hget(file, "refs") == b"250"
