"""An empty ledger on a real server, and this process as the web app."""

import os

import pytest

from mailworker import app
from mailworker.record import Claiming, Settlement


@pytest.fixture
def ledger(valkey, monkeypatch):
    for name in list(os.environ):
        if name.startswith("MAILWORKER_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("MAILWORKER_REDIS__URL", valkey.url)
    monkeypatch.setattr(app, "ring", lambda lane: True)
    with valkey.client() as client:
        client.flushall()
    app.forget_runtime()
    yield app.runtime.ledger
    app.forget_runtime()


@pytest.fixture
def end(ledger):
    """Settle all mails in line as a worker would, with these letters and details."""

    def settle(letters="d", lane="default", **fields):
        batch = ledger.claim(lane, Claiming(1000, 1 << 24, 60_000, 9), answering=True)
        ledger.settle(lane, [Settlement(claim, letters, **fields) for claim in batch.mails])

    return settle
