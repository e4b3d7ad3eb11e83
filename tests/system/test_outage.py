"""Redis away, frozen or restarted: callers hear of it in time, and what was accepted is delivered."""

import os
import signal
import subprocess
import sys
import time

import pytest

from mailworker import Email, LedgerUnavailableError, app, send_email
from mailworker.dev.valkey import ValkeyServer
from tests.system.conftest import wait_until

pytestmark = pytest.mark.system

EMAIL = Email(from_="shop@example.com", to="ann@example.org", subject="Your order", text_body="Thank you.")


@pytest.fixture
def valkey(tmp_path):
    """A server of this test's own, to be ill-treated."""
    with ValkeyServer(tmp_path / "valkey") as server:
        yield server


def test_an_unreachable_ledger_raises_in_the_caller_within_the_configured_time(post, environment):
    environment.setenv("MAILWORKER_REDIS__URL", "redis://127.0.0.1:1/0")
    environment.setenv("MAILWORKER_REDIS__TIMEOUT_SECONDS", "0.5")
    app.forget_runtime()
    began = time.monotonic()
    with pytest.raises(LedgerUnavailableError):
        send_email.delay(EMAIL)
    assert time.monotonic() - began < 5


def test_a_frozen_ledger_raises_and_the_repeated_call_makes_one_mail(post, environment):
    environment.setenv("MAILWORKER_REDIS__TIMEOUT_SECONDS", "0.5")
    send_email.apply_async((EMAIL,), idempotency_key="warm")
    os.kill(post.server.pid, signal.SIGSTOP)
    try:
        with pytest.raises(LedgerUnavailableError):
            send_email.apply_async((EMAIL,), idempotency_key="order-17")
    finally:
        os.kill(post.server.pid, signal.SIGCONT)
    again = send_email.apply_async((EMAIL,), idempotency_key="order-17")
    post.worker("-c", "1")
    again.get(timeout=20)
    wait_until(lambda: app.runtime.ledger.stats("default").claims == 0, "no claim is left")
    stats = app.runtime.ledger.stats("default")
    assert stats.counts["accepted"] == 2
    assert len(post.stored()) == 2


def test_a_killed_and_restarted_ledger_loses_no_mail_and_workers_go_on(post):
    """W7 of the durability research: a worker that survives a restart must also consume again."""
    post.worker("-c", "1")
    send_email.delay(EMAIL).get(timeout=20)
    for _ in range(3):
        os.kill(post.server.pid, signal.SIGKILL)
        post.server.stop()
        post.server.start()
        send_email.delay(EMAIL).get(timeout=40)
    assert len(post.stored()) == 4


def test_a_producer_killed_before_its_bell_is_not_waited_for(post):
    """The mail is in the ledger, the bell was never published: the watch rings."""
    script = (
        "import os; from mailworker import Email, app, send_email; app.ring = lambda lane: os.kill(os.getpid(), 9);"
        "send_email.delay(Email(from_='a@example.com', to='b@example.org', subject='s', text_body='t'))"
    )
    killed = subprocess.run([sys.executable, "-c", script], check=False, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert app.runtime.ledger.stats("default").ready == 1
    post.worker("-c", "1")
    wait_until(post.stored, "the mail whose bell was never rung")


def test_a_broker_that_refuses_bells_delays_mails_but_refuses_none(post, environment):
    environment.setenv("MAILWORKER_BROKER__URL", "redis://127.0.0.1:1/0")
    environment.setenv("MAILWORKER_BROKER__TIMEOUT_SECONDS", "0.5")
    script = (
        "from mailworker import Email, send_email;"
        "send_email.delay(Email(from_='a@example.com', to='b@example.org', subject='s', text_body='t'))"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
    environment.delenv("MAILWORKER_BROKER__URL")
    post.worker("-c", "1")
    wait_until(post.stored, "the mail")
