from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import pytest

from mailworker.keys import new_mail_id
from mailworker.ledger import Accepted, LedgerPolicy, NewMail
from mailworker.ledger.book import MOST_AT_ONCE

if TYPE_CHECKING:
    from tests.redis.conftest import Rig

LANE = "news"
KEY = "ab" * 32
FAR = 9_999_999_999_999


def test_an_accepted_mail_is_in_line_with_all_it_was_given(rig: Rig) -> None:
    mail = rig.new(recipients=3, priority=4, expires_ms=FAR)
    assert rig.accept_outcome(mail) == Accepted(mail.id, "accepted")
    record = rig.ledger.read(mail.id)
    assert record is not None
    assert (record.state, record.recipients, record.priority, record.expires_ms) == ("ready", "ppp", 4, FAR)
    assert (record.envelope, record.payload_bytes) == (mail.envelope, len(mail.payload))
    assert rig.homes(mail.id) == ["ready"]
    assert rig.counts() == {"accepted": 1}


def test_a_repeated_accept_changes_nothing(rig: Rig) -> None:
    mail = rig.new()
    rig.accept_outcome(mail)
    before = rig.ledger.read(mail.id)
    assert rig.accept_outcome(mail) == Accepted(mail.id, "already")
    assert rig.ledger.read(mail.id) == before
    assert rig.counts() == {"accepted": 1}


def test_a_repeated_accept_does_not_send_a_mail_again(rig: Rig) -> None:
    mail = rig.new()
    rig.accept_outcome(mail)
    rig.settle(rig.claim(), "d")
    assert rig.accept_outcome(mail) == Accepted(mail.id, "already")
    assert rig.state(mail.id) == "sent"
    assert rig.homes(mail.id) == []


def test_the_same_idempotency_key_names_the_first_mail(rig: Rig) -> None:
    first, second = rig.new(key=KEY), rig.new(key=KEY)
    rig.accept_outcome(first)
    assert rig.accept_outcome(second) == Accepted(first.id, "duplicate")
    assert rig.accept_outcome(first) == Accepted(first.id, "already")
    assert rig.ledger.read(second.id) is None


def test_the_same_idempotency_key_within_one_call_makes_one_mail(rig: Rig) -> None:
    first, second = rig.new(key=KEY), rig.new(key=KEY)
    outcomes = rig.ledger.accept(LANE, [first, second]).outcomes
    assert outcomes == (Accepted(first.id, "accepted"), Accepted(first.id, "duplicate"))


def test_a_key_is_forgotten_after_its_time_and_not_before(rig: Rig) -> None:
    rig.accept(key=KEY)
    key = rig.keys.idempotency(KEY)
    assert 86_300_000 < rig.redis.pttl(key) <= 86_400_000
    rig.redis.delete(key)
    rig.accept(key=KEY)


def test_a_key_never_outlives_the_mail_it_names() -> None:
    with pytest.raises(ValueError, match="longer than the record"):
        LedgerPolicy(sent_ms=1000, key_ms=1001)


def test_keys_of_two_lanes_do_not_meet(rig: Rig) -> None:
    rig.accept(key=KEY)
    other = NewMail(new_mail_id("bulk", 0, bytes(10)), b"p", b"e", key=KEY)
    assert rig.ledger.accept("bulk", [other]).outcomes == (Accepted(other.id, "accepted"),)


def test_a_bulk_answers_for_every_mail_in_its_order(rig: Rig) -> None:
    known, keyed = rig.new(), rig.new(key=KEY)
    rig.ledger.accept(LANE, [known, keyed])
    fresh, again = rig.new(), rig.new(key=KEY)
    outcomes = rig.ledger.accept(LANE, [fresh, known, again, fresh]).outcomes
    assert outcomes == (
        Accepted(fresh.id, "accepted"),
        Accepted(known.id, "already"),
        Accepted(keyed.id, "duplicate"),
        Accepted(fresh.id, "already"),
    )


def test_a_bulk_stays_in_its_order(rig: Rig) -> None:
    mails = [rig.new() for _ in range(200)]
    rig.ledger.accept(LANE, mails)
    assert [claim.id for claim in rig.batch(limit=200).mails] == [mail.id for mail in mails]


@pytest.mark.parametrize("when", [{"delay_ms": 60_000}, {"due_ms": FAR}])
def test_a_mail_with_a_time_waits_on_the_schedule(rig: Rig, when: dict[str, int]) -> None:
    mail_id = rig.accept(**when)
    assert rig.state(mail_id) == "scheduled"
    assert rig.homes(mail_id) == ["due"]
    assert rig.batch().mails == ()


@pytest.mark.parametrize("when", [{"due_ms": 1}, {"due_ms": 0}, {"delay_ms": 0}])
def test_a_time_that_is_past_means_now(rig: Rig, when: dict[str, int]) -> None:
    assert rig.homes(rig.accept(**when)) == ["ready"]


def test_times_count_from_the_servers_clock(rig: Rig) -> None:
    seconds, _ = rig.redis.time()
    mail_id = rig.accept(delay_ms=5_000, expires_in_ms=10_000)
    record = rig.ledger.read(mail_id)
    assert record is not None
    assert seconds * 1000 <= record.accepted_ms
    assert record.due_ms == record.accepted_ms + 5_000
    assert record.expires_ms == record.accepted_ms + 10_000


@pytest.mark.parametrize("delay_ms", [0, 864_000_000])
def test_an_age_limit_counts_from_when_the_mail_is_due(rig: Rig, delay_ms: int) -> None:
    record = rig.ledger.read(rig.accept(delay_ms=delay_ms, max_age_ms=10_000))
    assert record is not None
    assert record.expires_ms == record.accepted_ms + delay_ms + 10_000


def test_a_mail_that_expires_while_scheduled_is_looked_at_then(rig: Rig) -> None:
    mail_id = rig.accept(due_ms=FAR, expires_ms=FAR - 1)
    assert rig.redis.zscore(rig.keys.due, mail_id) == FAR - 1


def test_a_bell_is_due_once_until_it_is_answered(rig: Rig) -> None:
    assert rig.ledger.accept(LANE, [rig.new()]).bell_due
    assert not rig.ledger.accept(LANE, [rig.new()]).bell_due
    rig.batch(answering=True)
    assert rig.ledger.accept(LANE, [rig.new()]).bell_due


def test_an_unanswered_bell_is_given_up(rig: Rig) -> None:
    rig.accept()
    assert 0 < rig.redis.pttl(rig.keys.bell) <= 5000


def test_no_bell_is_due_for_a_mail_that_has_to_wait(rig: Rig) -> None:
    assert not rig.ledger.accept(LANE, [rig.new(delay_ms=1000)]).bell_due


def test_no_bell_is_due_for_a_mail_that_was_there(rig: Rig) -> None:
    mail = rig.new()
    rig.ledger.accept(LANE, [mail])
    rig.redis.delete(rig.keys.bell)
    assert not rig.ledger.accept(LANE, [mail]).bell_due


def test_nothing_to_accept_asks_nothing_of_the_server(rig: Rig) -> None:
    assert rig.ledger.accept(LANE, []).outcomes == ()
    assert rig.redis.dbsize() == 0


def test_a_call_takes_no_more_than_it_may(rig: Rig) -> None:
    mail = rig.new()
    with pytest.raises(ValueError, match="at most"):
        rig.ledger.accept(LANE, [mail] * (MOST_AT_ONCE + 1))
    assert len(rig.ledger.accept(LANE, [mail] * MOST_AT_ONCE).outcomes) == MOST_AT_ONCE


def test_a_mail_of_another_lane_is_refused(rig: Rig) -> None:
    with pytest.raises(ValueError, match="another lane"):
        rig.ledger.accept("bulk", [rig.new()])


@pytest.mark.parametrize(
    "fields",
    [
        {"payload": b""},
        {"recipients": 0},
        {"priority": 10},
        {"priority": -1},
        {"delay_ms": -1},
        {"delay_ms": 1, "due_ms": 1},
        {"expires_in_ms": 1, "expires_ms": 1},
        {"expires_ms": 10**13},
        {"expires_ms": 1, "max_age_ms": 1},
        {"expires_in_ms": 1, "max_age_ms": 1},
        {"max_age_ms": 10**13},
        {"max_attempts": 0},
        {"id": "news"},
    ],
)
def test_a_mail_that_the_ledger_cannot_hold_is_refused(rig: Rig, fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"a mail|a priority|a time|no id"):
        rig.new(**fields)


def test_what_a_mail_says_is_in_no_repr(rig: Rig) -> None:
    rig.accept(payload=b"SECRET", envelope=b"SECRET", key=KEY)
    mail = rig.new(payload=b"SECRET", envelope=b"SECRET", key=KEY)
    claim = rig.claim()
    for shown in (mail, claim, rig.ledger.read(claim.id)):
        assert "SECRET" not in repr(shown)
        assert KEY not in repr(shown)


def test_values_travel_between_processes(rig: Rig) -> None:
    rig.accept()
    batch = rig.batch()
    assert pickle.loads(pickle.dumps(batch)) == batch  # noqa: S301 - our own
