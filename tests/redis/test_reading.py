from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from mailworker.keys import new_mail_id
from mailworker.ledger import LedgerError, LedgerUnavailableError, MailRecord, Pause, book

if TYPE_CHECKING:
    from tests.redis.conftest import Rig

LANE = "news"
UNKNOWN = new_mail_id(LANE, 0, bytes(10))


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that must come about."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"


class Waiter(threading.Thread):
    """Somebody who waits for a mail in another thread."""

    def __init__(self, rig: Rig, mail_id: str) -> None:
        super().__init__()
        self.rig, self.mail_id = rig, mail_id
        self.record: MailRecord | None = None

    def run(self) -> None:
        self.record = self.rig.ledger.wait_ended(self.mail_id, timeout=20)

    def listening(self) -> bool:
        channel = self.rig.keys.ended(self.mail_id)
        return dict(self.rig.redis.pubsub_numsub(channel)) == {channel.encode(): 1}


def test_what_is_not_there_is_not_read(rig: Rig) -> None:
    assert rig.ledger.read(UNKNOWN) is None
    assert rig.ledger.wait_ended(UNKNOWN) is None


@pytest.mark.parametrize("mail_id", ["", "b0c1f1e2-7d2a-4a4e-9a7e-0a1b2c3d4e5f", "news-x"])
def test_what_is_no_mails_id_is_refused(rig: Rig, mail_id: str) -> None:
    with pytest.raises(ValueError, match="no id"):
        rig.ledger.read(mail_id)
    with pytest.raises(ValueError, match="no id"):
        rig.ledger.wait_ended(mail_id)


def test_a_record_tells_when_its_mail_was_made(rig: Rig) -> None:
    record = rig.ledger.read(rig.accept())
    assert record is not None
    assert record.created_ms == rig.batch().mails[0].created_ms == 1_700_000_000_000


@pytest.mark.parametrize("field", ["state", "attempts", "accepted", "recipients"])
def test_a_corrupt_record_is_an_error_of_its_own(rig: Rig, field: str) -> None:
    mail_id = rig.accept()
    rig.redis.hset(rig.keys.record(mail_id), field, b"\xff?")
    with pytest.raises(LedgerError, match=mail_id):
        rig.ledger.read(mail_id)


def test_an_empty_lane_has_nothing_to_count(rig: Rig) -> None:
    stats = rig.ledger.stats(LANE)
    assert (stats.ready, stats.due, stats.claims, stats.dead, stats.in_doubt) == (0, 0, 0, 0, 0)
    assert (stats.oldest_ready_age_ms, stats.paused_ms, stats.counts) == (None, 0, {})


def test_a_lane_tells_what_it_holds(rig: Rig) -> None:
    rig.ledger.accept(LANE, [rig.new() for _ in range(6)])
    for letters in ("d", "b", "i", "-"):
        rig.settle(rig.claim(limit=1), letters, delay_ms=60_000)
    rig.claim(limit=1)
    rig.ledger.release(LANE, [], Pause(60_000, 60_000, "relay down"))
    stats = rig.ledger.stats(LANE)
    assert (stats.ready, stats.due, stats.claims, stats.dead, stats.in_doubt) == (1, 1, 1, 1, 1)
    assert (stats.pause_failures, stats.pause_reason) == (1, "relay down")
    assert stats.counts == {"accepted": 6, "delivered": 1, "dead": 1, "in_doubt": 1, "deferred": 1}


@pytest.mark.parametrize("priority", [0, 9])
def test_the_age_of_a_lane_is_that_of_its_oldest_mail_in_line(rig: Rig, priority: int) -> None:
    seconds, _ = rig.redis.time()
    rig.accept(delay_ms=60_000, priority=priority)
    rig.make_due()
    rig.ledger.sweep(LANE)
    rig.accept(priority=5)
    age = rig.ledger.stats(LANE).oldest_ready_age_ms
    assert age is not None
    assert age >= seconds * 1000 - 1_700_000_000_000


def test_waiting_for_a_mail_that_has_ended_takes_no_time(rig: Rig) -> None:
    mail_id = rig.accept()
    rig.settle(rig.claim(), "d")
    record = rig.ledger.wait_ended(mail_id, timeout=0)
    assert record is not None
    assert record.state == "sent"


def test_waiting_for_a_mail_that_does_not_end_ends(rig: Rig) -> None:
    assert rig.ledger.wait_ended(rig.accept(), timeout=0.01) is None


def test_the_end_of_a_mail_is_announced_on_its_channel(rig: Rig) -> None:
    mail_id = rig.accept()
    with rig.redis.pubsub(ignore_subscribe_messages=True) as listener:
        listener.subscribe(rig.keys.ended(mail_id))
        assert listener.get_message(timeout=5) is None
        rig.settle(rig.claim(), "d")
        message = listener.get_message(timeout=5)
    assert message is not None
    assert message["data"] == b"sent"


@pytest.mark.parametrize("letters", ["d", "b", "i"])
def test_whoever_waits_is_woken_when_the_mail_ends(rig: Rig, letters: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(book, "_LOOK_AGAIN_SECONDS", 60.0)
    waiter = Waiter(rig, rig.accept())
    claim = rig.claim()
    waiter.start()
    until(waiter.listening)
    state = rig.settle(claim, letters)
    waiter.join(timeout=10)
    assert waiter.record is not None
    assert waiter.record.state == state


def test_whoever_waits_looks_for_himself_should_the_message_be_lost(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(book, "_LOOK_AGAIN_SECONDS", 0.02)
    waiter = Waiter(rig, rig.accept())
    waiter.start()
    until(waiter.listening)
    rig.redis.hset(rig.keys.record(waiter.mail_id), "state", "sent")
    waiter.join(timeout=10)
    assert waiter.record is not None


def test_whoever_waits_survives_a_lost_connection(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(book, "_LOOK_AGAIN_SECONDS", 60.0)
    monkeypatch.setattr(book, "_RECONNECT_SECONDS", 0.01)
    waiter = Waiter(rig, rig.accept())
    claim = rig.claim()
    waiter.start()
    until(waiter.listening)
    rig.redis.client_kill_filter(_type="pubsub")
    until(waiter.listening)
    assert rig.settle(claim, "d") == "sent"
    waiter.join(timeout=10)
    assert waiter.record is not None


def test_whoever_waits_in_vain_for_the_server_is_told_so(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(book, "_RECONNECT_SECONDS", 0.01)
    mail_id = rig.accept()
    rig.redis.connection_pool.disconnect()
    rig.redis.connection_pool.connection_kwargs["path"] += ".gone"
    with pytest.raises(LedgerUnavailableError, match="reached"):
        rig.ledger.wait_ended(mail_id, timeout=0.05)
